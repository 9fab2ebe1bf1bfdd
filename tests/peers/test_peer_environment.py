"""Peers' environments: found, or one sentence with the command that builds them."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from peer_fakes import fake_peer

from sigmabench.harness.cli.commands import diagnosis
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.peers import environment, workers
from sigmabench.harness.peers.environment import (
    BAYESIAN_TORCH,
    INDUCTOR,
    IPEX,
    OPENVINO,
    PEERS,
    Peer,
    chosen,
    find,
)
from sigmabench.harness.race import networks
from sigmabench.harness.race.networks import NETWORKS

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def with_pins(peer: Peer, pins: dict[str, str]) -> Peer:
    return Peer(peer.name, peer.title, peer.worker, pins, (), peer.formats)


@pytest.mark.parametrize("name", PEERS.names())
def test_pins_are_those_of_the_requirements(name):
    peer = PEERS.get(name)
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    listed = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert listed == {name: pin for name, pin in peer.pins.items() if name not in peer.bare}


def test_a_missing_environment_says_how_to_build_it(tmp_path):
    """By a command that needs no file of this repository."""
    for peer in (IPEX, BAYESIAN_TORCH, INDUCTOR, OPENVINO):
        told = find(peer, tmp_path).unavailable
        assert f"build it with `python3 -m venv {tmp_path / peer.name} && " in told
        words = told.split("`")[1].split()
        assert {f"{name}=={pin}" for name, pin in peer.pins.items()} <= set(words)
        assert "requirements" not in told
    assert BAYESIAN_TORCH.build_command(Path("my peers")) == (
        "python3 -m venv 'my peers/bayesian-torch' && "
        "'my peers/bayesian-torch/bin/pip' install torch==2.14.1 torchvision==0.29.1 timm==1.0.31 "
        "&& 'my peers/bayesian-torch/bin/pip' install --no-deps bayesian-torch==0.5.0"
    )


def test_versions_are_read_and_held_against_the_pins(tmp_path):
    peer = fake_peer(tmp_path)
    assert find(peer, tmp_path).unavailable == ""
    import torch

    version = torch.__version__.split("+")[0]
    found = find(with_pins(peer, {"torch": version}), tmp_path)
    assert not found.unavailable
    assert found.versions["torch"].split("+")[0] == version
    other = find(with_pins(peer, {"torch": "0.4.1"}), tmp_path).unavailable
    assert f"holds torch {found.versions['torch']}, not 0.4.1; build it with" in other
    lacking = find(with_pins(peer, {"no-such-package-at-all": "1"}), tmp_path).unavailable
    assert "lacks no-such-package-at-all 1; build it with" in lacking


def test_an_interpreter_that_does_not_run(tmp_path):
    peer = fake_peer(tmp_path)
    python = tmp_path / "fake" / "bin" / "python"
    build = "build it with `" + peer.build_command(tmp_path) + "`."
    for script, why in (
        ("echo first >&2; echo no such library >&2; exit 3", "status 3: no such library"),
        ("exit 3", "status 3"),
        ("echo '[]'", "ValueError: it answered b'[]\\n'"),
        ("echo '{\"torch\": 2}'", "ValueError: it answered b'{\"torch\": 2}\\n'"),
    ):
        python.write_text(f"#!/bin/sh\n{script}\n")
        assert find(peer, tmp_path).unavailable == f"{python} does not run ({why}); {build}"


def test_doctor_looks_where_it_is_told(tmp_path):
    (folder := tmp_path / "ipex" / "bin").mkdir(parents=True)
    (folder / "python").write_text("#!/bin/sh\nexit 9\n")
    (folder / "python").chmod(0o755)
    command = ["doctor", "--json", "--seconds", "0.01", "--environments", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    told = json.loads(done.stdout)["peers"]
    assert told["ipex"].startswith(f"{folder / 'python'} does not run (status 9)")
    for name in ("inductor", "openvino"):
        assert told[name].startswith(f"There is no environment {tmp_path / name}")


def test_chosen():
    assert chosen(("none",)) == []
    assert chosen(("ipex", "ipex")) == [IPEX]
    with pytest.raises(UserError, match="did you mean ipex"):
        chosen(("ipx",))
    with pytest.raises(UserError, match="none and others"):
        chosen(("ipex", "none"))


def test_what_runs_elsewhere_imports_nothing_of_ours():
    folder = Path(workers.__file__).parent
    sources = [NETWORKS.get(name).source().rpartition(":")[0] for name in NETWORKS]
    files = [*folder.glob("*.py"), *(Path(source) for source in sources if source.endswith(".py"))]
    assert len(files) == 11
    beside = {file.stem for file in folder.glob("*.py")}
    libraries = {"torch", "numpy", "bayesian_torch", "intel_extension_for_pytorch", "torchao"}
    libraries |= {"openvino", "nncf"}
    allowed = {*sys.stdlib_module_names, *libraries, *beside}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, file
                names = [node.module or ""]
            else:
                continue
            assert {n.partition(".")[0] for n in names} <= allowed, file


def test_formats_of_peers_are_told_in_our_words():
    known = set(FORMATS.names()) | {"DNN_BF16"}
    for name in PEERS:
        assert set(PEERS.get(name).formats.values()) <= known
    assert networks.RESNET50.source() == "torchvision.models:resnet50"


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        ({"torch": "2.14.1"}, None),
        ({"intel-extension-for-pytorch": "2.8.0", "torch": "2.8.1+cpu"}, "they fit"),
        (
            {"intel-extension-for-pytorch": "2.8.0", "torch": "2.14.1"},
            "2.8.0 is installed beside torch 2.14.1 but runs with torch 2.8 alone",
        ),
        ({"intel-extension-for-pytorch": "2.8.0"}, "beside torch None"),
    ],
)
def test_an_extension_beside_another_torch_is_told_without_importing_it(
    monkeypatch, installed, says
):
    monkeypatch.setattr(environment, "_installed", installed.get)
    monkeypatch.setitem(sys.modules, "intel_extension_for_pytorch", None)  # its import would raise
    told = environment.beside()
    if says is None:
        assert told is None
    else:
        assert says in told
        assert "\n" not in told
        assert diagnosis(0.01)["peers"]["ipex, in this environment"] == told
