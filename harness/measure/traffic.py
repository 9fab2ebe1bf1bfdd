"""From what passes move to the record's `Bandwidth`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..records.run_record import Bandwidth
from .query import Rounds

if TYPE_CHECKING:
    from ..backends.base import Predictor
    from ..quantize.artefact import Artefact

FP32_WEIGHT_BYTES = 16  # an FP32 sampler reads μ and σ and writes and reads w, 4 bytes each


def bandwidth(
    artefact: Artefact,
    predictor: Predictor,
    batch: int,
    mc: int | None,
    rounds: Sequence[Rounds],
    queries_per_second: float,
    copy: float,
) -> Bandwidth:
    """Bytes moved by a cell's queries, against a plain copy.

    Args:
        artefact: the model.
        predictor: loaded from it.
        batch: images that a query holds.
        mc: passes T of a query; None where it draws no weights or T is adaptive.
        rounds: what each timed query computed.
        queries_per_second: of those queries.
        copy: bandwidth of a large copy (10^9 bytes/s).
    """
    moved = predictor.traffic(batch)
    achieved = _mean_bytes(predictor, rounds) * queries_per_second / 1e9
    weights = moved.mean + moved.std + moved.sampled
    stochastic = artefact.format.bayesian
    return Bandwidth(
        mean_bytes=moved.mean,
        std_bytes=moved.std,
        sampled_bytes=moved.sampled,
        activation_bytes=moved.activations,
        pass_bytes=moved.total,
        achieved_gb_per_s=achieved,
        copy_gb_per_s=copy,
        share_of_copy=achieved / copy,
        weight_traffic_ratio=FP32_WEIGHT_BYTES * artefact.weights / weights if stochastic else None,
        paper_ratio=None if mc is None or not artefact.format.quantized else 4.0 * mc,
    )


def _mean_bytes(predictor: Predictor, queries: Sequence[Rounds]) -> float:
    """Bytes that a query moved, on average: those of each pass at its batch size."""
    total: Counter[int] = Counter()
    for rounds in queries:
        for images, count in rounds:
            total[images] += count
    moved = sum(predictor.traffic(images).total * count for images, count in total.items())
    return moved / len(queries)
