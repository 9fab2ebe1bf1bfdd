"""All that is published: every record of every kind, and the tables of before."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sigmabench.harness.core.contents import superseded as superseded_images
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.units import Units
from sigmabench.harness.records.shift_record import ShiftRecord
from sigmabench.harness.workload.workload import resolve_workload

from .. import published as stored

RESULTS = stored.RESULTS
#: Before the verdicts were divided, machines had an identity and races a name.
BEFORE = "195119e"
STUDIES = ("shift", "selective")
_KINDS = ("run", "shift", "peers", "passes", "memory", "sampler")


@dataclass(frozen=True, eq=False)
class Published(stored.Published):
    """One record, and what is said of it."""

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
    for one in stored.published(results):
        if one.kind in _KINDS:
            yield Published(one.path, one.kind, one.record)


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
