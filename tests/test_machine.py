"""The fingerprint: honest, complete, and different where code or machine differ."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from sigmabench.harness.machine import describe as machine
from sigmabench.harness.measure.watch import WITHOUT_AVX2, CoreWatch


def test_fingerprint_of_this_machine() -> None:
    seen = machine.fingerprint()
    assert seen == machine.fingerprint()
    assert seen.cpu
    assert set(seen.isa) <= set(machine.ISAS)
    assert 1 <= seen.cores <= (os.cpu_count() or 1)
    assert seen.numa_nodes >= 1
    assert seen.memory_bytes == psutil.virtual_memory().total
    assert {"sigmabench", "torch", "numpy", "torch-onednn"} <= set(seen.packages)
    assert seen.python == ".".join(map(str, sys.version_info[:3]))


def test_description_is_json_and_never_a_silent_nothing() -> None:
    told = machine.describe()
    assert json.loads(json.dumps(told)) == told
    for key in ("caches", "numa", "governor", "turbo", "commit", "hardware_counters", "energy"):
        assert told[key] not in (None, "", 0, {}), key
        if isinstance(told[key], str) and told[key].startswith("unavailable"):
            assert len(told[key]) > len("unavailable: ")


def test_processor_without_proc_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"brand_raw": "A Xeon", "flags": ["avx2", "avx512vbmi", "amx_int8", "sse"]}
    fake = SimpleNamespace(get_cpu_info=lambda: told)
    monkeypatch.setitem(sys.modules, "cpuinfo", fake)
    monkeypatch.setattr(machine, "_read", lambda path: None)
    assert machine._processor() == ("A Xeon", ("avx2", "avx512_vbmi", "amx_int8"))


def test_isa_of_proc_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "processor\t: 0\nmodel name\t: Intel X\nflags\t\t: fpu avx2 avx512vbmi avx_vnni amx_tile\n"
    )
    monkeypatch.setattr(machine, "_read", lambda path: text)
    assert machine._processor() == ("Intel X", ("avx2", "avx_vnni", "avx512_vbmi", "amx_tile"))


@pytest.mark.parametrize(
    ("machine_name", "flags", "told"),
    [
        ("x86_64", "fpu sse4_2 aes", (WITHOUT_AVX2,)),
        ("x86_64", "fpu sse4_2 aes avx2", ()),
        ("aarch64", "asimd", ()),
    ],
)
def test_a_processor_without_avx2_is_a_finding(
    machine_name: str, flags: str, told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"processor\t: 0\nmodel name\t: Any\nflags\t\t: {flags}\n"
    monkeypatch.setattr(machine, "_read", lambda path: text)
    monkeypatch.setattr(platform, "machine", lambda: machine_name)
    monkeypatch.setattr("sigmabench.harness.measure.watch.quota", lambda: None)
    monkeypatch.setattr("sigmabench.harness.native.unavailable", lambda: None)
    assert CoreWatch().findings() == told


def test_environment_holds_what_changes_speed_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {})
    for name in ("OMP_NUM_THREADS", "KMP_AFFINITY", "MALLOC_ARENA_MAX", "LD_PRELOAD", "HOME"):
        os.environ[name] = "1"
    os.environ["SIGMABENCH_DATA"] = "/private"
    assert machine._environment() == {
        "KMP_AFFINITY": "1",
        "LD_PRELOAD": "1",
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout of a project called sigmabench, with one commit."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "a.py").write_text("a = 1\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "sigmabench"\n')
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "one")):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(machine, "_PACKAGE", tmp_path / "harness")
    return tmp_path


def test_commit_of_a_checkout(checkout: Path) -> None:
    clean = machine._commit(checkout)
    assert clean is not None
    assert len(clean) == 40
    assert machine._commit(checkout / "harness") == clean
    (checkout / "results").mkdir()
    (checkout / "results" / "r.json").write_text("{}")
    assert machine._commit(checkout) == clean, "saving a record does not change the code"


def test_every_edit_is_another_fingerprint(checkout: Path) -> None:
    clean = machine._commit(checkout)
    seen = {clean}
    for name, text in (("a.py", "a = 2\n"), ("a.py", "a = 3\n"), ("b.py", "1"), ("b.py", "2")):
        (checkout / "harness" / name).write_text(text)
        dirty = machine._commit(checkout)
        assert dirty is not None
        assert dirty.startswith(f"{clean}+dirty.")
        assert dirty not in seen
        seen.add(dirty)


def test_commit_of_a_checkout_that_is_not_what_runs_is_not_told(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "a.py").write_text("a = 0\n")
    monkeypatch.setattr(machine, "_PACKAGE", installed)
    assert machine._commit(checkout) is None
    (installed / "a.py").write_text("a = 1\n")
    assert machine._commit(checkout) is not None


def test_what_is_edited_while_a_process_runs_is_not_what_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = machine.fingerprint()
    monkeypatch.setattr(machine, "_commit", lambda folder: "edited since")
    monkeypatch.setattr(machine, "_modules", lambda package: {"edited.py": b"since"})
    assert machine.fingerprint() == started


def test_only_an_edit_of_what_computes_makes_records_stale(tmp_path: Path) -> None:
    package = tmp_path / "harness"
    shutil.copytree(
        machine._PACKAGE, package, ignore=shutil.ignore_patterns("*.so", "*.cpp", "*.hpp")
    )
    shutil.copytree(machine._PACKAGE.parent / "workloads", tmp_path / "workloads",
                    ignore=shutil.ignore_patterns("*.safetensors"))  # fmt: skip
    was = machine._hash_of_computing(package)
    assert was == machine._hash_of_computing(machine._PACKAGE)
    for told in ("report/sheets.py", "cli/main.py", "studies/shift/shift_sheets.py",
                 "measure/audits.py", "records/store.py", "stats/equivalence.py"):  # fmt: skip
        (package / told).write_text((package / told).read_text() + "# edited\n")
    (tmp_path / "README.md").write_text("edited")
    assert machine._hash_of_computing(package) == was
    for computes in ("quantize/noise.py", "../workloads/lenet_digits.py", "measure/clock.py",
                     "studies/run/scoring.py", "predict/cache.py", "studies/scored.py",
                     "studies/peers/judge.py", "stats/paired.py", "stats/blocks.py",
                     "stats/latency.py", "core/formats.py"):  # fmt: skip
        (package / computes).write_text((package / computes).read_text() + "# edited\n")
        before, was = was, machine._hash_of_computing(package)
        assert was != before, computes
    (package / "quantize" / "not_there_before.py").write_text("")
    assert machine._hash_of_computing(package) != was


def test_each_pattern_of_what_only_tells_names_something() -> None:
    modules = [path.relative_to(machine._PACKAGE) for path in machine._PACKAGE.rglob("*.py")]
    for pattern in machine._TELLING:
        assert any(fnmatch(path.as_posix(), pattern) for path in modules), pattern


def test_another_compiled_part_is_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    was = machine._hash_of_computing(machine._PACKAGE)
    monkeypatch.setattr(machine, "_extension", lambda: b"another sampler")
    assert machine._hash_of_computing(machine._PACKAGE) != was


def test_commit_of_another_project_is_not_ours(checkout: Path, tmp_path: Path) -> None:
    (checkout / "pyproject.toml").write_text('[project]\nname = "sigmabench-plugin"\n')
    assert machine._commit(checkout) is None


def test_no_checkout_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine._commit(Path("/")) is None
    monkeypatch.setenv("PATH", "")
    assert machine._commit(Path.cwd()) is None


def test_last_level_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CPUS", tmp_path)
    assert machine.last_level_cache_bytes() is None
    for index, size in enumerate(("48K", "2M", "480M\n", "?")):
        folder = tmp_path / "cpu0" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(size)
    assert machine.last_level_cache_bytes() == 480 * 2**20


def test_what_scikit_learn_sets_when_it_is_imported_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "import os; a = set(os.environ); import sklearn; print(*(set(os.environ) - a))"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KMP_")}
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=clean)
    assert set(ran.stdout.decode().split()) <= set(machine._BY_SKLEARN)
    monkeypatch.setattr(os, "environ", dict(machine._BY_SKLEARN))
    assert machine._environment() == {}
    os.environ["KMP_INIT_AT_FORK"] = "TRUE"  # a user's
    assert machine._environment() == {"KMP_INIT_AT_FORK": "TRUE"}
