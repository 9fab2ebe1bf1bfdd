"""Whether a comparison compares: everyone ran the same networks, and the clock was quiet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ...measure.audits import FLOAT_TOLERANCE, noise_bounded
from ...measure.watch import CoreWatch
from ...metrics.metric import NO_INFORMATION
from ...predict.predicted import Summary
from ...records.peers_record import PeerRow
from ...records.verdict import PASS, Verdict
from ...records.verdict import verdict as verdict_of
from ...stats.samples import run_noise

STD_TOLERANCE = 0.02  # of what float32 draws keep of σ
ERRORS = 6.0  # standard errors beside it that a layer of few weights is allowed
NEVER_ALIKE = 3.0  # times the rms of chance at its largest
LOST = 0.5  # of σ, any layer
INFLATED = 1.5  # times σ, any layer


def verdict(
    rows: Sequence[PeerRow],
    summaries: Mapping[str, Summary],
    mc: int,
    weights: Mapping[str, float],
    draws: int,
    watch: CoreWatch,
) -> Verdict:
    """The audits of a comparison.

    Args:
        rows: all of it.
        summaries: predictive distributions, by contender.
        mc: passes of Bayesian contenders, T.
        weights: by layer, how many weights its rms σ is of (`effective`).
        draws: passes that `std_ratio` comes from.
        watch: of the cores, made before they were timed.
    """
    bayesian = [r.contender.name for r in rows if not r.contender.format.startswith("DNN_")]
    found = {
        "same deterministic network": same_network(
            {n: summaries[n] for n in _names(rows, "DNN_FP32") if n in summaries}
        ),
        "same Bayesian network": same_posterior(
            {n: summaries[n] for n in _names(rows, "FP32") if n in summaries}, mc
        ),
        "same σ": same_std([row for row in rows if row.contender.format == "FP32"], weights, draws),
        "draws": passes_differ({n: summaries[n] for n in bayesian if n in summaries}, mc),
        "noise": quiet(rows),
        **watch.audits(),
    }
    return verdict_of(found, (*findings(rows), *watch.findings()))


def _names(rows: Sequence[PeerRow], format: str) -> list[str]:
    return [row.contender.name for row in rows if row.contender.format == format]


def same_network(summaries: Mapping[str, Summary]) -> str:
    """Deterministic networks in float32 agree in every probability, within 10^-4."""
    for (one, first), (other, second) in combinations(summaries.items(), 2):
        apart = float((first.probs - second.probs).abs().max())
        if not apart <= FLOAT_TOLERANCE:
            return (
                f"fail: {one} and {other}: probabilities differ by {apart:.3g}, "
                f"{FLOAT_TOLERANCE:g} allowed"
            )
    return PASS if len(summaries) > 1 else "not applicable: nobody to agree with"


def same_posterior(summaries: Mapping[str, Summary], mc: int) -> str:
    """Mean probabilities of T passes in float32 agree as far as chance allows.

    A probability lies in 0 … 1, so that between passes its variance is at most p (1 − p), and two
    means of T differ by √((p (1 − p) + q (1 − q)) / T) rms at most, of p and q the two means. What
    is judged is the mean over images of the largest difference of any class, against three times
    the mean of the largest of these: a draw is shared by all images, so that in the worst case the
    mean varies as one image does, and beyond three standard deviations once in 370.
    """
    for (one, first), (other, second) in combinations(summaries.items(), 2):
        apart = float((first.probs - second.probs).abs().amax(1).mean())
        p, q = first.probs.clamp(0, 1), second.probs.clamp(0, 1)
        chance = ((p * (1 - p) + q * (1 - q)) / mc).sqrt()
        bound = NEVER_ALIKE * float(chance.amax(1).mean())
        if not apart <= bound + FLOAT_TOLERANCE:
            return f"fail: {one} and {other}: probabilities {apart:.3g} apart, {bound:.3g} allowed"
    return PASS if len(summaries) > 1 else "not applicable: nobody to agree with"


def passes_differ(summaries: Mapping[str, Summary], mc: int) -> str:
    """Passes of Bayesian contenders, which are timed as they are scored, are not all the same: on
    some image they carry mutual information."""
    if mc == 1 or not summaries:
        return "not applicable: no format makes several passes"
    for name, one in summaries.items():
        mutual = one.mutual_information
        if mutual is None or not float(mutual.max()) > NO_INFORMATION:
            return f"fail: {name} draws nothing: its {mc} passes are all the same"
    return PASS


def effective(std: NDArray[np.floating]) -> float:
    """How many equal weights estimate their rms σ as well as these, whose σ differ: (Σσ²)² / Σσ⁴;
    0 where all are fixed."""
    squares = np.square(std, dtype=np.float64)
    fourth = float(np.square(squares).sum())
    return float(squares.sum()) ** 2 / fourth if fourth else 0.0


def same_std(rows: Sequence[PeerRow], weights: Mapping[str, float], draws: int) -> str:
    """What float32 draws keep of σ is 1 within 2 %, in the median layer and, beside six standard
    errors of so many draws of its weights, in every one.

    Args:
        rows: in float32.
        weights: by layer, `effective`; one that is not named is judged as a single weight.
        draws: that the σ was estimated from.
    """
    measured = [row for row in rows if row.std_ratio]
    for row in measured:
        kept = median(row.std_ratio.values())
        if not abs(kept - 1) <= STD_TOLERANCE:
            return f"fail: {row.contender.name} draws {kept:.3f} of σ in float32"
        for layer, kept in row.std_ratio.items():
            error = 1 / math.sqrt(2 * (draws - 1) * max(weights.get(layer, 1.0), 1.0))
            if not abs(kept - 1) <= STD_TOLERANCE + ERRORS * error:
                return f"fail: {row.contender.name} draws {kept:.3f} of σ of {layer} in float32"
    return PASS if measured else "not applicable: nobody draws weights with a σ in float32"


def quiet(rows: Sequence[PeerRow]) -> str:
    """Run-to-run noise of every contender is below the bound; the noisiest is named."""
    timed = [row.contender for row in rows if row.contender.latency_ns]
    noises = {c.name: run_noise(c.latency_ns, c.slices, c.processes) for c in timed}
    if not noises:
        return "not applicable: nothing was timed"
    worst = max(noises, key=noises.__getitem__)
    result = noise_bounded(noises[worst])
    return result if result == PASS else result.replace("fail: ", f"fail: {worst}: ", 1)


def findings(rows: Sequence[PeerRow]) -> tuple[str, ...]:
    """Whose draws lost the posterior or inflated it, with the layer that did so most."""
    found = []
    for row in rows:
        name, kept = row.contender.name, row.std_ratio
        least = min(kept, key=kept.__getitem__, default="")
        if least and kept[least] < LOST:
            found.append(f"{name}: POSTERIOR LOST in {least}: {kept[least]:.2f} of σ kept.")
        most = max(kept, key=kept.__getitem__, default="")
        if most and kept[most] > INFLATED:
            found.append(f"{name}: POSTERIOR INFLATED in {most}: {kept[most]:.2f} times σ drawn.")
    return tuple(found)
