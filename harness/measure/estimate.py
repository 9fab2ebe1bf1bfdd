"""About how long a run will take, from one measured pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..predict.loop import batch_of
from .clock import MIN_SAMPLES, expected_seconds, of_each_process, passes_per_query

if TYPE_CHECKING:
    from torch import Tensor

    from ..backends.base import Passes, Predictor
    from ..data.splits import Split
    from ..quantize.artefact import Artefact
    from ..workload.cell import Cell
    from ..workload.plan import Plan


def run_seconds(
    plan: Plan,
    split: Split,
    artefact: Artefact,
    predictor: Predictor,
    cells: Sequence[Cell],
    formats: int,
) -> float:
    """Seconds to score and time cells, as if every format were as fast as the one measured.

    Args:
        plan: seeds and timed seconds.
        split: what is scored.
        artefact: the first format.
        predictor: loaded from it.
        cells: to time.
        formats: to score.
    """
    each = image_pass_seconds(split, predictor, plan.seed, batch_of(artefact.graph))
    passes = max(cell.mc for cell in cells)
    scoring = formats * plan.seeds * len(split) * passes * each
    least = of_each_process(MIN_SAMPLES, plan.processes)
    queries = [
        each * cell.batch * passes_per_query(each * cell.batch, cell.mc, cell.threads)
        for cell in cells
        for _ in range(2 - cell.adaptive)
    ]
    return scoring + sum(expected_seconds(query, plan.seconds, least) for query in queries)


def image_pass_seconds(split: Split, predictor: Passes, seed: int, images: int) -> float:
    """Seconds of one pass on one image of so many at a time."""
    return seconds_of(lambda x: predictor.logits(x, seed, range(1)), split.limit(images))


def seconds_of(call: Callable[[Tensor], object], images: Split) -> float:
    """Seconds for each of some images that are given at once."""
    x = images.batch(slice(None))
    call(x)  # plans and buffers are made here
    start = time.perf_counter()
    call(x)
    return (time.perf_counter() - start) / len(x)
