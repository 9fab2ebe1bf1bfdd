"""What `sigmabench report` costs on a large store of made-up records:

    PYTHONPATH=tests python tests/report/large_store.py FOLDER [--one-machine] [ARGUMENT ...]

fills FOLDER/results with 5,040 valid records where it is empty, runs the command on them with the
arguments, and prints its processor time and largest resident set.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import factory
import numpy as np

from sigmabench.harness.machine.fingerprint import Machine
from sigmabench.harness.records.record_file import to_json
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store

#: Of the 36 cells of a race: workloads, machines and posteriors that each are measured on.
SPREAD = (4, 5, 7)
ONE_MACHINE = (1, 1, 140)
#: Queries a cell, as published records have in the mean.
SLICES, QUERIES = 12, 50

#: `ru_maxrss` would count this process, which had its child's memory before it became another.
_MEASURED = """
import atexit, re, resource, sys
def told():
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
    print(f"{used.ru_utime:.1f} s user, {used.ru_stime:.1f} s system, {peak} MiB", file=sys.stderr)
atexit.register(told)
from sigmabench.harness.cli.main import main
main()
"""


def large(workloads: int, machines: int, posteriors: int, **sizes: int) -> Iterator[RunRecord]:
    """Records of so many races, each of the default grid."""
    places = product(range(workloads), range(machines), range(posteriors))
    for race, (workload, machine, posterior) in enumerate(places):
        changes = {"workload": f"synthetic-{workload}", "posterior": f"{posterior:016x}"}
        made = factory.fingerprint(machine=_machine(machine), computing="c0dec0dec0dec0de")
        rng = np.random.default_rng(race)
        records = factory.grid(rng=rng, machine=made, **{**sizes, **changes})
        yield from factory.one_race(records, f"{race:016x}")


def _machine(stepping: int) -> Machine:
    caches = {"L1 data": "48K", "L1 instruction": "32K", "L2": "2048K", "L3": "268800K"}
    isa = ("avx2", "avx512f")
    return Machine("Synthetic", "CPU", "6", "173", str(stepping), isa, 2, 4, caches, "kvm")


def fill(results: Path, spread: tuple[int, int, int]) -> None:
    """Write them as they are stored, without waiting for the disk."""
    store = Store(results, RUN_RECORDS)
    for record in large(*spread, slices=SLICES, queries=QUERIES):
        path = store.file(record.subject, record.fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(RUN_RECORDS, record), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--one-machine", action="store_true", help="All records in one table.")
    chosen, arguments = parser.parse_known_args()
    results = chosen.folder / "results"
    if not results.exists():
        fill(results, ONE_MACHINE if chosen.one_machine else SPREAD)
    report = [sys.executable, "-c", _MEASURED, "report", "--results", str(results), *arguments]
    subprocess.run(report, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
