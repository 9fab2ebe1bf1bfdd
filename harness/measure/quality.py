"""From predictive distributions to the record's `Quality`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..data.units import Units
from ..metrics.calibration import reliability_diagram
from ..metrics.metric import METRICS, score
from ..metrics.risk_coverage import accuracy_against_confidence, risk_coverage
from ..records.run_record import Quality

if TYPE_CHECKING:
    from ..data.splits import Split
    from ..predict.predicted import Predicted

RISK_POINTS = 101


def quality(summaries: Sequence[Predicted], split: Split, seeds: Sequence[int]) -> Quality:
    """Score the same images under several seeds of the MC draw.

    Args:
        summaries: one per seed.
        split: the images.
        seeds: of the summaries, in order.
    """
    labels = split.labels
    names = [name for name in METRICS.usable() if name != "ece_floor"]
    scored = [score(summary, labels, names) for summary in summaries]
    floors = [score(summary, labels, ["ece_floor"])["ece_floor"] for summary in summaries]
    first = summaries[0]
    reliability = reliability_diagram(first, labels)
    confident = accuracy_against_confidence(first, labels)
    curve = risk_coverage(first, labels).thin(RISK_POINTS)
    return Quality(
        images=len(split),
        seeds=tuple(seeds),
        scores={name: tuple(one[name] for one in scored) for name in names},
        ece_floor_percent=tuple(floor for floor in floors if floor is not None),
        reliability={
            "count": tuple(float(count) for count in reliability.count),
            "confidence": reliability.confidence,
            "accuracy": reliability.accuracy,
        },
        accuracy_vs_confidence={
            "threshold": confident.threshold,
            "accuracy": tuple(None if a is None else a / 100 for a in confident.accuracy),
            "share": tuple(share / 100 for share in confident.share),
        },
        risk_coverage={
            "coverage": tuple(curve.coverage.tolist()),
            "risk": tuple(curve.risk.tolist()),
        },
        skipped=split.skipped,
        units=Units.of(len(split), split.sources).count,
    )


def joined(qualities: Sequence[Quality]) -> Quality:
    """Of several seeds, from those of one seed each, on the same images."""
    first = qualities[0]
    return replace(
        first,
        seeds=tuple(seed for one in qualities for seed in one.seeds),
        scores={
            name: tuple(value for one in qualities for value in one.scores[name])
            for name in first.scores
        },
        ece_floor_percent=tuple(f for one in qualities for f in one.ece_floor_percent),
    )
