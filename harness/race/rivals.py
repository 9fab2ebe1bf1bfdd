"""Our INT8 pass held against the fastest deterministic INT8 pass of a peer, within one race."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ..core.words import apart
from ..measure.audits import noise_bounded
from ..records.runtime_record import OURS, Contender
from ..records.verdict import PASS
from ..stats.latency import Ratio, median_ci95, ratio_of_medians
from ..stats.samples import median, run_noise

BASE = "INT8"  # our format whose pass is the unit
RIVAL = "DNN_INT8"  # of peers


def base_of(contenders: Iterable[Contender]) -> Contender | None:
    """Our INT8 Monte Carlo pass, if it was measured."""
    return next((c for c in contenders if c.by == OURS and c.format == BASE and c.latency_ns), None)


def fastest_peer(contenders: Iterable[Contender], format: str = RIVAL) -> Contender | None:
    """Of the peers' contenders in a format, in all the ways they run it, the one whose pass has
    the least median; None where none was measured.

    Args:
        contenders: of one race.
        format: as `Contender.format`; by default deterministic INT8.
    """
    timed = [c for c in contenders if c.by != OURS and c.format == format and c.latency_ns]
    return min(timed, key=_pass_ns, default=None)


def pass_ms(contender: Contender) -> tuple[float, float, float]:
    """Median milliseconds per pass, and its 95 % interval."""
    low, high = median_ci95(contender.latency_ns, contender.slices, processes=contender.processes)
    scale = 1 / (1e6 * contender.mc)
    return _pass_ns(contender) / 1e6, low * scale, high * scale


def _pass_ns(contender: Contender) -> float:
    return median(contender.latency_ns, contender.slices, contender.processes) / contender.mc


def noisy(contender: Contender) -> bool:
    """Whether its noise is more than the audit of runs allows; False where it was not timed."""
    if not contender.latency_ns:
        return False
    noise = run_noise(contender.latency_ns, contender.slices, contender.processes)
    return noise_bounded(noise) != PASS


def pass_ratio(contender: Contender, base: Contender) -> Ratio:
    """What its pass costs, in passes of `base` in the same race, with the 95 % interval."""
    found = ratio_of_medians(
        (contender.latency_ns, base.latency_ns),
        (contender.slices, base.slices),
        processes=(contender.processes, base.processes),
    )
    scale = base.mc / contender.mc
    return Ratio(found.value * scale, found.low * scale, found.high * scale)


def over_fastest_peer(contenders: Iterable[Contender]) -> tuple[Contender, Ratio] | None:
    """The fastest deterministic INT8 contender of a peer, and what our INT8 pass costs in passes
    of it; None where one of the two was not measured.

    Args:
        contenders: of one race.
    """
    raced = list(contenders)
    ours, peer = base_of(raced), fastest_peer(raced)
    return None if ours is None or peer is None else (peer, pass_ratio(ours, peer))


def headline_numbers(contenders: Iterable[Contender]) -> dict[str, Any]:
    """The same for a script; empty where there is nothing to say."""
    found = over_fastest_peer(contenders)
    return {"int8_over_fastest_peer": {"peer": found[0].name, **asdict(found[1])}} if found else {}


def headline(contenders: Iterable[Contender]) -> list[str]:
    """The same as one sentence, or none.

    Args:
        contenders: of one race.
    """
    raced = list(contenders)
    found = over_fastest_peer(raced)
    if found is None:
        return []
    peer, ratio = found
    told = (
        f"Our {BASE} pass takes {apart(ratio.value, 1.0)} (95 % interval "
        f"{apart(ratio.low, 1.0)}–{apart(ratio.high, 1.0)}) times the time of the fastest "
        f"deterministic INT8 pass of a peer, {peer.name}"
    )
    loud = [one.name for one in (base_of(raced), peer) if one is not None and noisy(one)]
    if loud:
        told += f"; do not rely on it: {' and '.join(loud)} had more noise than an audit allows"
    return [f"{told}."]
