"""From timed queries to the record's `Timing`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from statistics import fmean

from ..records.run_record import Timing
from ..stats import samples as statistics
from ..stats.latency import median_ci95
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
    passes: int = 0,
    mc: int = 1,
    processes: tuple[int, ...] = (),
) -> Timing:
    """Summarise the queries of one cell.

    Args:
        samples: of the cell.
        batch: images that a query holds.
        inputs: different input batches the queries went round.
        interleaved_with: keys of the cells measured in turns with this one.
        work: passes times images of each timed query, where T is adaptive: queries do not take the
            same time then, so throughput goes by the mean, and noise is that of latency per work.
        race: name of the one measurement in turns.
        passes: of a query; 0 where it had all T.
        mc: T.
        processes: how many slices each process had; empty where there was one process.
    """
    latency = samples.latency_ns
    middle = statistics.median(latency, samples.slices, processes)
    typical, alike = middle, list(latency)
    if work is not None:
        typical = fmean(latency)
        alike = [round(ns / count) for ns, count in zip(latency, work, strict=True)]
    found = {n: statistics.percentile(latency, p) for n, p in _PERCENTILES.items()}
    if found["p50"] is not None:
        found["p50"] = middle
    return Timing(
        latency_ns=latency,
        slices=samples.slices,
        warmup_queries=samples.warmup,
        inputs=inputs,
        interleaved_with=interleaved_with,
        percentiles_ns=found,
        p50_ci95_ns=median_ci95(latency, samples.slices, processes=processes),
        images_per_second=batch * 1e9 / typical * ((passes / mc) if passes else 1.0),
        noise=statistics.run_noise(alike, samples.slices, processes),
        race=race,
        passes=passes,
        processes=processes,
    )


def joined(parts: Sequence[Timing], batch: int, mc: int, adaptive: bool) -> Timing:
    """The queries of several processes as one.

    Args:
        parts: of each process, in which a query had the same passes.
        batch: images that a query holds.
        mc: T.
        adaptive: whether T is, so that throughput goes by the mean.
    """
    first = parts[0]
    latency = tuple(chain.from_iterable(one.latency_ns for one in parts))
    slices = tuple(chain.from_iterable(one.slices for one in parts))
    made = timing(
        Samples(latency, slices, sum(one.warmup_queries for one in parts)),
        batch=batch,
        inputs=first.inputs,
        interleaved_with=first.interleaved_with,
        race="-".join(one.race for one in parts),
        passes=first.passes,
        mc=mc,
        processes=tuple(len(one.slices) for one in parts),
    )
    return replace(made, images_per_second=batch * 1e9 / fmean(latency)) if adaptive else made
