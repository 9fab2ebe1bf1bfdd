"""What needs no network loads no PyTorch: told by the modules of a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from studied import studied

from sigmabench.harness import native
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import installed
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.posterior import Posterior, save
from sigmabench.harness.posterior.content import content_hash_of
from sigmabench.harness.records.store import Policy
from sigmabench.harness.workload.hashes import identity_of
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import load_networks
from sigmabench.harness.workload.workload import WORKLOADS

HEAVY = ("torch", "torchvision", "scipy", "scipy.stats", "sklearn", "matplotlib")
CELLS = ("--mc", "1,2", "--batch", "1", "--seeds", "1", "--limit", "40", "--threads", "1")
RUN = ["run", "lenet-digits", "--formats", "FP32,INT8,DNN_INT8", "--seconds", "0.01", *CELLS]
_SCRIPT = f"""
import json, sys
from sigmabench.harness.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
sys.stderr.write(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""


def loaded(arguments: list[str], cache: Path, folder: Path) -> list[str]:
    """Which of `HEAVY` a command loads."""
    ran = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )
    assert ran.returncode == 0, ran.stderr
    found: list[str] = json.loads(ran.stderr.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which an installation's answers are: asked for by one process that loads torch."""
    folder = tmp_path_factory.mktemp("cache")
    code = (
        "from sigmabench.harness import native; native.unavailable(); "
        "from sigmabench.harness.machine import describe; describe.fingerprint()"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
    )
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder with the records of `RUN`."""
    folder = tmp_path_factory.mktemp("results")
    assert "torch" in loaded(RUN, cache, folder)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["list"], ["list", "--json"]],
    ids=" ".join,
)
def test_listing_loads_nothing_heavy(arguments: list[str], cache: Path, tmp_path: Path) -> None:
    assert loaded(arguments, cache, tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "least"),
    [
        (RUN, ["scipy"]),  # for intervals: its special functions, in a third of a second
        ([*RUN, "--policy", "never", "--json"], ["scipy"]),
        (["report"], []),
        (["report", "--format", "csv"], []),
    ],
    ids=("stored run", "never", "report", "csv"),
)
@pytest.mark.thorough
def test_what_is_stored_is_read_without_torch(
    arguments: list[str], least: list[str], cache: Path, results: Path
) -> None:
    assert loaded(arguments, cache, results) == least


SHIPPED = ("histology-colorectal", "lenet-digits", "lenet5-mnist", "resnet20-cifar10")
_IDENTIFIED = """
import sys
from sigmabench.harness.workload.hashes import _from_files
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.workload import WORKLOADS
for name in sys.argv[1:]:
    plan = Plan(WORKLOADS.get(name))
    assert _from_files(plan) is not None, name
assert "torch" not in sys.modules
"""


def test_cells_of_every_workload_with_a_posterior_of_its_own_are_told_without_torch() -> None:
    ships = {name for name in WORKLOADS if WORKLOADS.get(name).posterior is not None}
    assert ships == set(SHIPPED)
    subprocess.run([sys.executable, "-c", _IDENTIFIED, *SHIPPED], check=True)


@pytest.mark.thorough
def test_what_is_not_stored_is_measured(cache: Path, results: Path) -> None:
    assert "torch" in loaded([*RUN, "--formats", "BF16", "--mc", "1"], cache, results)


@pytest.mark.parametrize(
    "name", ["lenet-digits", "lenet5-mnist", "resnet20-cifar10", "histology-colorectal"]
)
def test_the_hash_of_a_file_is_that_of_the_posterior(name: str) -> None:
    workload = WORKLOADS.get(name)
    networks = load_networks(Plan(workload))
    assert workload.posterior is not None
    assert content_hash_of(workload.posterior) == networks.posterior_hash
    if workload.twin is not None:
        assert content_hash_of(workload.twin) == networks.twin_hash


def test_types_and_shapes_are_in_the_hash_of_a_file(tmp_path: Path) -> None:
    posterior = Posterior(
        {"b.weight": torch.randn(2, 3), "a": torch.randn(1)},
        {"b.weight": torch.randn(2, 3), "a": torch.randn(1)},
        {"steps": torch.tensor(7), "flag": torch.tensor([True])},
    )
    path = tmp_path / "one.safetensors"
    assert save(posterior, path) == content_hash_of(path)


def test_a_file_that_is_no_posterior_has_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"not a posterior")
    assert content_hash_of(path) is None
    assert content_hash_of(tmp_path / "absent") is None


def test_stored_and_measured_records_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(
        WORKLOADS.get("lenet-digits"),
        formats=("FP32", "DNN_FP32"),
        mc=(2,),
        batches=(1,),
        limit=40,
        seeds=1,
        seconds=0.01,
    )
    with pytest.raises(UserError, match="holds no record of this study"):
        studied("run", plan, tmp_path, policy=Policy.NEVER)
    measured = studied("run", plan, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("sigmabench.harness.studies.run.measure.measurer", None)
        assert studied("run", plan, tmp_path) == measured
        assert studied("run", plan, tmp_path, policy=Policy.NEVER) == measured
    again = studied("run", plan, tmp_path, policy=Policy.ALWAYS)
    assert {one.created for one in again}.isdisjoint(one.created for one in measured)
    assert plan.cells(identity_of(plan)) == plan.cells(load_networks(plan))


def test_an_installation_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[str] = []

    def ask(answer: str | None) -> str | None:
        asked.append(str(answer))
        return answer

    def told(version: str, answer: str | None) -> str | None:
        return installed.told_once("question", [version], lambda: ask(answer))

    assert told("1", None) is None  # is not kept
    assert [told("1", "a"), told("1", "b"), told("2", "c"), told("1", "d")] == ["a", "a", "c", "a"]
    assert asked == ["None", "a", "c"]
    (file,) = (tmp_path / "sigmabench" / "installed").iterdir()
    file.write_text(file.read_text().replace('"a"', '"x"'))
    assert told("1", "e") == "e"  # damaged: asked anew


def test_the_cached_onednn_is_torchs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert f"v{fingerprint().packages['torch-onednn']} " in torch.__config__.show()


def test_another_torch_or_extension_is_asked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "module.so"
    absent = installed.file_stamp(module)
    module.write_bytes(b"one")
    first = installed.file_stamp(module)
    module.unlink()
    module.write_bytes(b"another")
    assert len({absent, first, installed.file_stamp(module)}) == 3
    assert installed.torch_installed()[2:3] == (torch.__file__,)


@pytest.mark.skipif(native.unavailable() is not None, reason="nothing is compiled")
def test_a_kept_answer_is_not_believed_where_torch_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "_paths", lambda: ("avx512",))
    monkeypatch.setattr(native, "_attempt", lambda: "it cannot be loaded.")
    assert native.unavailable() == "it cannot be loaded."
