"""All that is published: every record of every kind, and the tables of before."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sigmabench.harness.core.contents import superseded as superseded_images
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.units import Units
from sigmabench.harness.records.kind import Kind
from sigmabench.harness.records.peers_record import COMPARISONS
from sigmabench.harness.records.record_file import kind_of, read_record
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.runtime_record import MEMORY, RACES, SAMPLER
from sigmabench.harness.records.shift_record import SHIFT_RECORDS, ShiftRecord
from sigmabench.harness.workload.workload import resolve_workload

RESULTS = Path(__file__).parents[1]
#: Before the verdicts were divided, machines had an identity and races a name.
BEFORE = "195119e"
STUDIES = ("shift", "selective")
_FOLDER = re.compile(r"[0-9a-f]{8}")
_KINDS: dict[str, Kind[Any]] = {
    kind.name: kind for kind in (RUN_RECORDS, SHIFT_RECORDS, COMPARISONS, RACES, MEMORY, SAMPLER)
}


@dataclass(frozen=True, eq=False)
class Published:
    """One record.

    Attributes:
        path: below the results.
        record: of its kind.
    """

    path: Path
    record: Any

    @property
    def folder(self) -> str:
        """Of its workload or network, without that of its fingerprint."""
        return self.path.parent.parent.as_posix()

    @property
    def study(self) -> str:
        """`run`, or the folder of another kind of record."""
        top = self.path.parts[0]
        return top if top in (*STUDIES, "peers", "runtime") else "run"

    @cached_property
    def superseded(self) -> str:
        """Why it can be shown and never be current, whatever the machine; empty where it can."""
        if self.study == "runtime":
            return ""
        asked = self.record.subject
        told = superseded_images(asked.data, self.record.fingerprint.machine)
        told = told.removeprefix("superseded: ")
        version = resolve_workload(asked.workload).version
        if asked.workload_version != version:
            told = f"version {asked.workload_version} of the workload, which is at {version}"
        return told


def published(results: Path = RESULTS) -> Iterator[Published]:
    """Every record of a kind that there was before, by path: others are of today's rules.

    Raises:
        UserError: one cannot be read.
    """
    for path in sorted(results.glob("**/*.json")):
        if _FOLDER.fullmatch(path.parent.name):
            data = path.read_bytes()
            kind = _KINDS.get(str(kind_of(data)))
            if kind is not None:
                yield Published(path.relative_to(results), read_record(path, kind, data))


def units_of(found: list[Published]) -> dict[tuple[str, str], Units]:
    """What is independent among the images of a workload's split, where records of a study hold
    what each was cut from."""
    told: dict[tuple[str, str], Units] = {}
    for one in found:
        record = one.record
        if isinstance(record, ShiftRecord) and "source" in record.arrays:
            told[record.subject.workload, record.subject.split] = record.units
    return told


def rows_before(path: Path) -> list[Mapping[str, str]]:
    """Rows of a table below the results as it was published before.

    Raises:
        UserError: the checkout does not hold that commit.
    """
    shown = subprocess.run(
        ["git", "show", f"{BEFORE}:results/{path.as_posix()}"],
        cwd=RESULTS,
        capture_output=True,
        text=True,
    )
    if shown.returncode:
        raise UserError(
            f"{path} as of commit {BEFORE} is not here ({shown.stderr.strip()}); use a checkout "
            "with its whole history."
        )
    return list(csv.DictReader(io.StringIO(shown.stdout)))


def rows_now(path: Path) -> list[Mapping[str, str]]:
    """Rows of the same table as results/render.sh left it."""
    return list(csv.DictReader(io.StringIO((RESULTS / path).read_text())))
