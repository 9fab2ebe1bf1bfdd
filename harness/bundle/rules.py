"""The closed division (docs/rules.md): fixed posterior and images, so that only speed, size and
what quantization does can differ. All else is open."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ..core.formats import FORMATS
from ..core.words import plural
from ..posterior.content import content_hash_of
from ..records.envelope import Record
from ..records.run_record import RunRecord
from ..records.verdict import ABOUT, KINDS
from ..workload.workload import WORKLOADS
from .shipped_labels import images_of

PROCESSES, SEEDS, QUERIES = 3, 3, 20
#: Audits that every run makes.
REQUIRED = (
    "moments", "activations in range", "draws differ", "scored the timed path",
    "every timed pass drew", "timed passes differ", "inputs not cached", "instruction set",
    "noise", "cores free", "not throttled",
)  # fmt: skip


def why_open(record: Record[Any, Any]) -> Iterator[str]:
    """Why a record is not in the closed division, one sentence each; none where it is."""
    if not isinstance(record, RunRecord):
        yield "Only runs have a closed division."
        return
    yield from _subject(record)
    timing, quality = record.body.timing, record.body.quality
    if max(1, len(timing.processes)) < PROCESSES:
        yield f"It was timed in fewer than {plural(PROCESSES, 'process', 'processes')}."
    if len(timing.latency_ns) < QUERIES:
        yield f"It has fewer than {QUERIES} timed queries."
    if record.body.fidelity and len(quality.seeds) < SEEDS:
        yield f"It was scored with fewer than {SEEDS} seeds."
    if lacking := [name for name in REQUIRED if name not in record.verdict.audits]:
        yield f"It lacks the audits {', '.join(lacking)}."
    for kind in KINDS:
        if kind in record.verdict.invalid:
            failed = [
                name
                for name, result in getattr(record.verdict, kind).audits.items()
                if result.startswith("fail") and kind in ABOUT.get(name, KINDS)
            ]
            yield f"Its {kind} is invalid ({', '.join(failed)})."


def _subject(record: RunRecord) -> Iterator[str]:
    cell = record.subject
    workload = WORKLOADS.built_in(cell.workload)
    if workload is None:
        yield f"{cell.workload} does not ship."
        return
    if cell.workload_version != workload.version:
        yield f"It is of version {cell.workload_version} of {cell.workload}."
    known = cell.format in FORMATS
    ours = _posteriors(cell.workload, not known or FORMATS.get(cell.format).bayesian)
    if cell.posterior not in ours:
        yield "Its posterior is not the one that ships."
    if (cell.split, cell.corruption, cell.limit) != ("test", "none", 0):
        yield "It was not scored on the whole test split."
    elif record.body.quality.images != images_of(cell) and images_of(cell) is not None:
        yield "Images are left out of it."
    if cell.adaptive:
        yield "Its T is adaptive."


@lru_cache(maxsize=32)
def _posteriors(name: str, bayesian: bool) -> tuple[str, ...]:
    """How the hashes begin of what a workload's formats may be made of."""
    workload = WORKLOADS.get(name)
    files = [workload.posterior] if bayesian else [workload.posterior, workload.twin]
    hashes = (content_hash_of(file) for file in files if file is not None)
    return tuple(one[:16] for one in hashes if one)
