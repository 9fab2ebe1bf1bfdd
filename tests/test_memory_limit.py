"""The memory that a process may take: what is free, and what control groups leave."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import psutil
import pytest
from groups import group, proc

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import memory_limit
from sigmabench.harness.machine.memory_limit import GIB, limit, require, set_limit

Memory = namedtuple("Memory", "available")


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 GiB are free, and nothing is set."""
    monkeypatch.setenv(memory_limit.VARIABLE, "")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(10 * GIB))


def test_80_percent_of_what_is_free_without_a_group(tmp_path: Path) -> None:
    assert limit(tmp_path) == 8 * GIB


def test_version_2_the_least_that_any_group_above_leaves(tmp_path: Path) -> None:
    mount = group(tmp_path / "cg")
    group(mount / "pods", memory_max=f"{6 * GIB}\n", memory_stat=f"anon {GIB}\nfile {4 * GIB}\n")
    group(mount / "pods/one", memory_max="max\n", memory_stat=f"anon {GIB}\n")
    group(mount / "other", memory_max="1000\n")
    mine = proc(tmp_path, "0::/pods/one\n", ("/", mount, "cgroup2", "rw"))
    assert limit(mine) == 4 * GIB  # 80 % of 6 - 1: read files can be taken back


def test_version_1_by_its_own_names(tmp_path: Path) -> None:
    cpu, mount = group(tmp_path / "cpu"), group(tmp_path / "memory")
    group(mount, memory_limit_in_bytes=f"{2**63 - 4096}\n", memory_stat=f"total_rss {9 * GIB}\n")
    stat = f"rss {GIB}\ntotal_rss {2 * GIB}\n"
    group(mount / "a", memory_limit_in_bytes=f"{4 * GIB}\n", memory_stat=stat)
    group(cpu / "b", memory_limit_in_bytes="1\n")
    mine = proc(
        tmp_path,
        "4:cpu:/b\n3:memory:/a\n",
        ("/", cpu, "cgroup", "rw,cpu"),
        ("/", mount, "cgroup", "rw,memory"),
    )
    assert limit(mine) == int(0.8 * 2 * GIB)


def test_what_is_free_counts_where_groups_allow_more(tmp_path: Path) -> None:
    mount = group(tmp_path / "cg", memory_max=f"{64 * GIB}\n")
    mine = proc(tmp_path, "0::/\n", ("/", mount, "cgroup2", "rw"))
    assert limit(mine) == 8 * GIB


def test_what_is_set_holds_whatever_is_free() -> None:
    set_limit(12.5)
    assert limit() == int(12.5 * GIB)
    require("It", 12 * GIB)
    with pytest.raises(UserError, match=r"^It needs about 13 GiB of memory, and 12\.5 GiB may be "):
        require("It", 13 * GIB)
    set_limit(0.001)
    with pytest.raises(UserError, match=r"and 0\.001 GiB may be taken.*--memory GiB"):
        require("It", 2 << 20)


@pytest.mark.parametrize("gib", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_limit_is_refused(gib: float) -> None:
    with pytest.raises(UserError, match="--memory is"):
        set_limit(gib)
