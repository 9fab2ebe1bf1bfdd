"""From timed queries to the record's `Timing`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ..records.run_record import Timing
from ..stats import latency as statistics
from .clock import Samples

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def timing(
    samples: Samples,
    *,
    batch: int,
    inputs: int,
    interleaved_with: tuple[str, ...] = (),
    work: Sequence[int] | None = None,
    race: str = "",
) -> Timing:
    """Summarise the queries of one cell.

    Args:
        samples: of the cell.
        batch: images a query holds.
        inputs: different input batches the queries went round.
        interleaved_with: keys of the cells measured in turns with this one.
        work: passes times images of each timed query, where T is adaptive: queries do not take the
            same time then, so throughput goes by the mean, and noise is that of latency per work.
        race: name of the one measurement in turns.
    """
    latency = samples.latency_ns
    typical, alike = samples.median_ns, list(latency)
    if work is not None:
        typical = fmean(latency)
        alike = [round(ns / count) for ns, count in zip(latency, work, strict=True)]
    return Timing(
        latency_ns=latency,
        slices=samples.slices,
        warmup_queries=samples.warmup,
        inputs=inputs,
        interleaved_with=interleaved_with,
        percentiles_ns={n: statistics.percentile(latency, p) for n, p in _PERCENTILES.items()},
        p50_ci95_ns=statistics.median_ci95(latency, samples.slices),
        images_per_second=batch * 1e9 / typical,
        noise=statistics.run_noise(alike, samples.slices),
        race=race,
    )
