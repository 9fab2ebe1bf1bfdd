"""What was found out once about a user's files counts while they are as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sigmabench.harness.workload import remembered as module
from sigmabench.harness.workload.remembered import remembered
from sigmabench.harness.workload.workload import WORKLOADS, Workload

DATA = os.environ.get("SIGMABENCH_DATA", "")
OLD = 1_600_000_000


class Asked:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"answer {self.count}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files that were settled long ago, as far as can be told: the times of change are now."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_SETTLED_NS", -(10**12))
    home = tmp_path / "images"
    (home / "class").mkdir(parents=True)
    for name in ("class/a", "class/b"):
        (home / name).write_text("old")
        os.utime(home / name, (OLD, OLD))
    return home


@pytest.fixture
def workload(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Workload:
    monkeypatch.setattr(Workload, "ships", True)
    return replace(WORKLOADS.get("lenet-digits"), files=lambda root: [folder])


def test_it_is_asked_once(workload: Workload) -> None:
    ask = Asked()
    told = [remembered(workload, None, "question", [1], ask) for _ in range(3)]
    assert told == ["answer 1"] * 3
    assert remembered(workload, None, "question", [2], ask) == "answer 2"


@pytest.mark.parametrize(
    "change",
    [
        lambda home: (home / "class/a").write_text("other"),
        lambda home: (home / "class/a").unlink(),
        lambda home: (home / "class/c").write_text("more"),
        lambda home: (home / "class/a").rename(home / "class/z"),
    ],
)
def test_it_is_asked_again_where_a_file_has_changed(workload, folder, change) -> None:
    ask = Asked()
    remembered(workload, None, "question", [], ask)
    change(folder)
    assert remembered(workload, None, "question", [], ask) == "answer 2"


def test_it_is_asked_again_where_code_has_changed(workload, monkeypatch) -> None:
    ask = Asked()
    remembered(workload, None, "question", [], ask)
    monkeypatch.setattr(module, "computing_hash", lambda: "another")
    assert remembered(workload, None, "question", [], ask) == "answer 2"


def test_files_that_may_still_be_written_are_not_trusted(workload, monkeypatch) -> None:
    ask = Asked()
    monkeypatch.setattr(module, "_SETTLED_NS", 10**12)
    for _ in range(2):
        remembered(workload, None, "question", [], ask)
    assert ask.count == 2


def test_too_many_files_are_not_looked_at(workload, monkeypatch) -> None:
    ask = Asked()
    monkeypatch.setattr(module, "MOST_FILES", 2)
    for _ in range(2):
        remembered(workload, None, "question", [], ask)
    assert ask.count == 2


_CELLS = """
import sys
from sigmabench.harness.studies.run.plan import plan, tasks
made, _ = plan("resnet50-imagenet", scoring=True, limit=50)
print([cell.key for task in tasks(made, True) for cell in task.subjects], "torch" in sys.modules)
"""


@pytest.mark.skipif(
    not (Path(DATA) / "imagenet").is_dir()
    or not (Path(DATA) / "weights/resnet50.safetensors").is_file(),
    reason="SIGMABENCH_DATA has no imagenet, or no weights of ResNet-50",
)
@pytest.mark.thorough
def test_cells_of_imagenet_are_told_without_torch_the_second_time(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", _CELLS], env=env, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    assert first == second.replace("False", "True")
    assert first != second
