"""From timed queries to the record's `Timing`."""

from __future__ import annotations

from ..record import Timing
from . import statistics
from .clock import Samples

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def timing(
    samples: Samples, *, batch: int, inputs: int, interleaved_with: tuple[str, ...] = ()
) -> Timing:
    """Summarise the queries of one cell.

    Args:
        samples: of the cell.
        batch: images a query holds.
        inputs: different input batches the queries went round.
        interleaved_with: keys of the cells measured in turns with this one.
    """
    latency = samples.latency_ns
    return Timing(
        latency_ns=latency,
        slices=samples.slices,
        warmup_queries=samples.warmup,
        inputs=inputs,
        interleaved_with=interleaved_with,
        percentiles_ns={n: statistics.percentile(latency, p) for n, p in _PERCENTILES.items()},
        p50_ci95_ns=statistics.median_ci95(latency, samples.slices),
        images_per_second=batch * 1e9 / samples.median_ns,
        noise=statistics.run_noise(latency, samples.slices),
    )
