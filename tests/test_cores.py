"""The cores that a process may use: OpenMP's binding, and the quotas of control groups."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from groups import group, proc

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import cores
from sigmabench.harness.machine import describe as machine
from sigmabench.harness.measure import audits, clock, watch

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
several = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores to be bound to one of them")

BINDINGS = (
    {"OMP_PROC_BIND": "close"},
    {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"},
    {"GOMP_CPU_AFFINITY": f"{CORES[0]}-{CORES[-1]}" if CORES else "0"},
)


def test_version_2_the_least_of_all_groups_above(tmp_path: Path) -> None:
    mount = group(tmp_path / "a mount")
    group(mount / "pods", cpu_max="150000 100000\n", cpu_stat="nr_periods 9\nnr_throttled 4\n")
    group(mount / "pods/one", cpu_max="max 100000\n", cpu_stat="nr_periods 9\nnr_throttled 0\n")
    group(mount / "pods/one/in", cpu_max="200000 100000\n", cpu_stat="nr_throttled 3\n")
    group(mount / "other", cpu_max="1000 100000\n", cpu_stat="nr_throttled 99\n")
    mine = proc(tmp_path, "0::/pods/one/in\n", ("/", mount, "cgroup2", "rw"))
    assert cores.quota(mine) == 1.5
    assert cores.throttled(mine) == 7


def test_version_1_by_the_controller_of_its_name(tmp_path: Path) -> None:
    mount, sets = group(tmp_path / "cpu,cpuacct"), group(tmp_path / "cpuset")
    limit = {"cpu_cfs_quota_us": "60000\n", "cpu_cfs_period_us": "100000\n"}
    free = {"cpu_cfs_quota_us": "-1\n", "cpu_cfs_period_us": "100000\n"}
    group(mount, **free)
    group(mount / "docker", **free)
    group(mount / "docker/abc", **limit, cpu_stat="nr_periods 5\nnr_throttled 2\n")
    mine = proc(
        tmp_path,
        "5:cpuset:/docker/abc\n4:cpuacct,cpu:/docker/abc\n0::/\n",
        ("/", sets, "cgroup", "rw,cpuset"),
        ("/", mount, "cgroup", "rw,cpuacct,cpu"),
    )
    assert cores.quota(mine) == pytest.approx(0.6)
    assert cores.throttled(mine) == 2


@pytest.mark.parametrize("path", ["/docker/abc", "/../elsewhere"])
def test_a_container_that_sees_its_own_group_as_the_mount(tmp_path: Path, path: str) -> None:
    """The mount's root is the group; a path that is not below it is read there too."""
    mount = group(tmp_path / "cpu", cpu_max="50000 100000\n", cpu_stat="nr_throttled 6\n")
    mine = proc(tmp_path, f"0::{path}\n", ("/docker/abc", mount, "cgroup2", "rw"))
    assert cores.quota(mine) == 0.5
    assert cores.throttled(mine) == 6


def test_no_groups_no_quota(tmp_path: Path) -> None:
    assert cores.quota(tmp_path) is None
    assert cores.throttled(tmp_path) == 0
    bare = proc(tmp_path, "0::/\n", ("/", group(tmp_path / "root"), "cgroup2", "rw"))
    assert cores.quota(bare) is None


@pytest.mark.parametrize(
    ("quota", "usable"), [(None, 4), (0.6, 1), (1.0, 1), (1.9, 1), (3.0, 3), (64.0, 4)]
)
def test_a_quota_caps_threads_and_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, usable: int
) -> None:
    monkeypatch.setattr(cores, "allowed", lambda: [0, 1, 2, 3])
    for module in (cores, machine):
        monkeypatch.setattr(module, "quota", lambda: quota)
    assert cores.usable_cores() == usable
    assert cores.cores_for(None) == usable
    seen = machine.fingerprint()
    assert (seen.cores, seen.cpu_quota) == (usable, quota)
    told = machine.describe()
    assert told["cores"]["usable"] == usable
    shown = f"{quota:g} core{'s' * (quota != 1)}" if quota else "none"
    assert told["cpu_quota"] == shown
    if usable < 4:
        with pytest.raises(UserError, match=f"may use {usable} core.*CPU quota.*{shown}"):
            cores.cores_for(4)


def test_a_quota_is_a_finding_and_throttling_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter([5, 5, 8, 8])
    monkeypatch.setattr(watch, "quota", lambda: 0.6)
    monkeypatch.setattr(watch, "throttled", lambda: next(count))
    seen = watch.CoreWatch()
    assert seen.findings() == ("the CPU quota allows 0.6 cores",)
    assert seen.audits()["not throttled"] == audits.PASS
    assert "0.6 cores stopped the process in 3 periods" in seen.audits()["not throttled"]
    assert len(seen.told()) == 2
    monkeypatch.setattr(watch, "quota", lambda: None)
    assert audits.not_throttled(0, None).startswith("not applicable")
    assert audits.not_throttled(1, None).startswith("fail")  # the quota was lifted since
    assert seen.findings() == ()


@pytest.mark.parametrize(
    ("given", "binds"),
    [
        ({}, set()),
        ({"OMP_PROC_BIND": "false"}, set()),
        ({"OMP_PROC_BIND": "FALSE", "OMP_PLACES": "cores", "GOMP_CPU_AFFINITY": "0"}, set()),
        ({"OMP_PROC_BIND": "spread"}, {"OMP_PROC_BIND"}),
        ({"OMP_PLACES": "cores"}, {"OMP_PLACES"}),
        ({"GOMP_CPU_AFFINITY": "0-1"}, {"GOMP_CPU_AFFINITY"}),
        ({"KMP_AFFINITY": "granularity=fine,compact,1,0"}, {"KMP_AFFINITY"}),
        ({"KMP_AFFINITY": "verbose,none"}, set()),
        ({"KMP_AFFINITY": "disabled", "OMP_NUM_THREADS": "2"}, set()),
    ],
)
def test_which_variables_bind(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], binds: set[str]
) -> None:
    for name in ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert set(cores.binding()) == binds


@several
def test_cores_that_a_user_chose_himself_stay_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"):
        monkeypatch.delenv(name, raising=False)
    os.sched_setaffinity(0, CORES[:1])
    try:
        cores.give_back()
        assert sorted(os.sched_getaffinity(0)) == CORES[:1]
        assert cores.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, CORES)


@several
def test_the_clock_gives_the_measuring_thread_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    seen: list[list[int]] = []
    os.sched_setaffinity(0, CORES[:1])  # what OpenMP's runtime does
    try:
        clock.interleave([lambda _: seen.append(sorted(os.sched_getaffinity(0)))], 0.001)
    finally:
        os.sched_setaffinity(0, CORES)
    assert seen
    assert all(one == cores._STARTED for one in seen)


def child(script: str, **environment: str) -> dict[str, object]:
    """What a fresh process says, in JSON on its last line."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


OURS_FIRST = """
import json, os
from sigmabench.harness.machine import cores
import torch
bound = sorted(os.sched_getaffinity(0))
from sigmabench.harness.measure.watch import CoreWatch
watch = CoreWatch()
torch.ones(1 << 20).sum()
print(json.dumps([bound, sorted(os.sched_getaffinity(0)), cores.cores_for(None), watch.audits()]))
"""
TORCH_FIRST = "import torch\n" + OURS_FIRST


@several
@pytest.mark.parametrize(
    "environment",
    [BINDINGS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in BINDINGS[1:])],
    ids=lambda e: " ".join(e),
)
def test_cores_that_openmp_takes_are_given_back(environment: dict[str, str]) -> None:
    bound, given, threads, audited = child(OURS_FIRST, **environment)
    assert len(bound) == 1, "torch binds no thread any more: the mend has no object"
    assert given == CORES
    assert threads == len(CORES)
    assert audited["cores free"] == "pass"


@several
@pytest.mark.thorough
def test_what_cannot_be_given_back_is_named() -> None:
    bound, given, threads, audited = child(TORCH_FIRST, OMP_PROC_BIND="close")
    assert (len(bound), len(given), threads) == (1, 1, 1)
    assert audited["cores free"].startswith(
        "fail: OMP_PROC_BIND=close bound this process to 1 core"
    )
    _, given, _, audited = child(TORCH_FIRST)
    assert given == CORES
    assert audited["cores free"].startswith("not applicable")


RUN = """
import json, glob, re, os, sys
from sigmabench.harness.cli.main import main
from sigmabench.harness.records import store
main(["run", "lenet-digits", "--formats", "FP32,INT8", "--limit", "60", "--mc", "2", "--batch", "1",
      "--seconds", "0.05", "--seeds", "1", "--results", sys.argv[1]], standalone_mode=False)
lists = [re.search(r"Cpus_allowed_list:\\s*(\\S+)", open(f).read())[1]
         for f in glob.glob("/proc/self/task/*/status")]
records = store.Store(sys.argv[1], store.RUN_RECORDS).records()
print(json.dumps([lists, [[r.fingerprint.cores, r.cell.threads, r.verdict.audits["cores free"]]
                          for r in records]]))
"""


@several
@pytest.mark.slow
@pytest.mark.parametrize("environment", BINDINGS, ids=lambda e: " ".join(e))
def test_a_run_uses_all_cores_whatever_openmp_binds(
    environment: dict[str, str], tmp_path: Path
) -> None:
    script = RUN.replace("sys.argv[1]", repr(str(tmp_path)))
    lists, records = child(script, **environment)
    assert len(records) == 2
    assert all(record == [len(CORES), len(CORES), "pass"] for record in records)
    whole = subprocess.run(
        [sys.executable, "-c", "import re; print(re.search(r'Cpus_allowed_list:\\s*(\\S+)', "
         "open('/proc/self/status').read())[1])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    bound = [one for one in lists if one != whole]
    assert len(bound) < len(lists) / 2, lists  # OpenMP's own workers alone keep their places
    assert len(set(bound)) == len(bound), lists
