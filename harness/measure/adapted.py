"""From predictions at full and adaptive T, and timed queries, to the record's `Adaptive`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from ..metrics.metric import METRICS, score
from ..records.run_record import Adaptive
from .query import Rounds, image_passes, passes

if TYPE_CHECKING:
    from torch import Tensor

    from ..predict.adaptive import Evaluated, StoppingRule
    from .clock import Samples


def adaptive(
    found: Mapping[int, Evaluated],
    labels: Tensor,
    rule: StoppingRule,
    rounds: Sequence[Rounds],
    samples: Samples,
) -> Adaptive:
    """What adaptive T spent and changed.

    Args:
        found: predictions of one split, by seed.
        labels: int64 [N].
        rule: when images stopped.
        rounds: what each timed query computed.
        samples: of those queries.
    """
    looks = (*rule.looks, rule.limit)
    runs = list(found.values())
    fulls = [run.full[rule.limit] for run in runs]
    return Adaptive(
        confidence=rule.confidence,
        limit=rule.limit,
        looks=looks,
        images=tuple(tuple(int((run.spent == t).sum()) for t in looks) for run in runs),
        mean_passes=tuple(float(run.spent.double().mean()) for run in runs),
        median_passes=tuple(float(run.spent.double().quantile(0.5)) for run in runs),
        agreement=tuple(
            float((run.adaptive.prediction == full.prediction).double().mean())
            for run, full in zip(runs, fulls, strict=True)
        ),
        differences=_differences(runs, labels, rule.limit),
        query_passes=fmean(map(passes, rounds)),
        query_image_passes=fmean(map(image_passes, rounds)),
        mean_latency_ns=fmean(samples.latency_ns),
    )


def _differences(
    runs: Sequence[Evaluated], labels: Tensor, limit: int
) -> dict[str, tuple[float | None, ...]]:
    """Metric name to adaptive minus full, one per run."""
    names = [name for name in METRICS.usable() if name != "ece_floor"]
    pairs = [
        (score(run.adaptive, labels, names), score(run.full[limit], labels, names)) for run in runs
    ]

    def less(name: str) -> tuple[float | None, ...]:
        return tuple(
            None if a is None or b is None else a - b
            for a, b in ((at[name], full[name]) for at, full in pairs)
        )

    return {name: less(name) for name in names}
