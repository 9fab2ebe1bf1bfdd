"""Whether the parts of a record fit one another: what types alone do not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .reference_times import check_references, check_slices
from .run_record import Paired, Quality, RunRecord

#: Of each curve what belongs to one point.
_CURVES = {
    "reliability": ("count", "confidence", "accuracy"),
    "accuracy_vs_confidence": ("threshold", "accuracy", "share"),
    "risk_coverage": ("coverage", "risk"),
}
_COMPARED = ("accuracy_percent", "nll_nats")


def check_record(record: RunRecord) -> None:
    """Refuse a record that no run writes, and no table or figure could show.

    Raises:
        ValueError: what is wrong, with the name of the field.
    """
    _check_quality(record.body.quality)
    timing = record.body.timing
    check_slices("timing", timing.latency_ns, timing.slices, timing.processes)
    check_references(record.body.references)
    if record.body.paired is not None:
        _check_paired(record.body.paired)


def _check_quality(quality: Quality) -> None:
    for field, names in _CURVES.items():
        curve: Mapping[str, Sequence[Any]] = getattr(quality, field)
        if not curve:  # it was not made
            continue
        _demand(f"quality.{field}", curve, names)
        if len({len(curve[name]) for name in names}) > 1:
            lengths = ", ".join(f"{len(curve[name])} of {name}" for name in names)
            raise ValueError(f"quality.{field} has values of different number ({lengths})")
    for name, values in quality.scores.items():
        if len(values) != len(quality.seeds):
            raise ValueError(
                f"quality.scores.{name} has {len(values)} values, and there are "
                f"{len(quality.seeds)} seeds"
            )


def _check_paired(paired: Paired) -> None:
    for field in ("differences", "intervals"):
        _demand(f"paired.{field}", getattr(paired, field), _COMPARED)


def _demand(field: str, found: Mapping[str, Any], names: Sequence[str]) -> None:
    lacking = [name for name in names if name not in found]
    if lacking:
        raise ValueError(f"{field} has no {' and no '.join(lacking)}")
