"""One record of a cell from those of the fresh processes that timed it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median, stdev

from ...measure.audits import noise_bounded, processes_agree
from ...measure.timing import joined as joined_timing
from ...race.together import references
from ...records.run_record import Adaptive, Bandwidth, RunBody, RunRecord
from ...records.verdict import together
from ...workload.cell import Cell
from ..study import Measured


def joined(parts: Sequence[RunRecord]) -> Measured[Cell]:
    """The times of all processes with the scores of the first, which the others must have too.

    Args:
        parts: one of each process.
    """
    first = parts[0]
    bodies = [one.body for one in parts]
    cell = first.subject
    timing = joined_timing([one.timing for one in bodies], cell.batch, cell.mc, cell.adaptive)
    body = replace(
        bodies[0],
        timing=timing,
        bandwidth=_bandwidth(bodies, timing.images_per_second),
        peak_memory_bytes=max(one.peak_memory_bytes for one in bodies),
        references=references([one.references for one in bodies]),
    )
    if body.adaptive is not None:
        spent = [one.adaptive for one in bodies if one.adaptive is not None]
        timing = replace(timing, noise=_noise_per_work(spent))
        body = replace(body, timing=timing, adaptive=_spent(spent))
    same = processes_agree([(one.artefact, one.quality, one.dispatched_isa) for one in bodies])
    judged = {"noise": noise_bounded(timing.noise), "processes agree": same}
    verdict = together([one.verdict for one in parts], judged)
    return Measured(cell, body, verdict, first.arrays)


def _spent(parts: Sequence[Adaptive]) -> Adaptive:
    """What the first says of the scores, and means over all processes of what queries took: how
    many a process timed decides which images they held."""
    return replace(
        parts[0],
        mean_latency_ns=fmean(one.mean_latency_ns for one in parts),
        query_passes=fmean(one.query_passes for one in parts),
        query_image_passes=fmean(one.query_image_passes for one in parts),
    )


def _noise_per_work(parts: Sequence[Adaptive]) -> float:
    """Between the processes, of the time per pass and image: their queries held other images."""
    return stdev(math.log(one.mean_latency_ns / one.query_image_passes) for one in parts)


def _bandwidth(bodies: Sequence[RunBody], images_per_second: float) -> Bandwidth:
    """The first one's, at the speed of all processes."""
    first = bodies[0].bandwidth
    faster = images_per_second / bodies[0].timing.images_per_second
    copy = median(one.bandwidth.copy_gb_per_s for one in bodies)
    achieved = first.achieved_gb_per_s * faster
    return replace(
        first,
        achieved_gb_per_s=achieved,
        copy_gb_per_s=copy,
        share_of_copy=achieved / copy,
    )
