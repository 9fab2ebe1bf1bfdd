"""Whether a comparison compares: everyone ran the same networks, and the clock was quiet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median

from ..measure.audits import PASS, noise_bounded, outputs_match
from ..measure.audits import verdict as verdict_of
from ..measure.statistics import run_noise
from ..record import Verdict
from ..uncertainty.predictive import Summary
from .record import Row

STD_TOLERANCE = 0.02  # of what float32 draws keep of σ, median layer
LOST = 0.5  # of σ, any layer


def verdict(rows: Sequence[Row], summaries: Mapping[str, Summary], mc: int) -> Verdict:
    """The audits of a comparison.

    Args:
        rows: all of it.
        summaries: predictive distributions, by contender.
        mc: passes of Bayesian contenders, T.
    """
    found = {
        "same deterministic network": same_network(
            {n: summaries[n] for n in _names(rows, "DNN_FP32") if n in summaries}
        ),
        "same Bayesian network": same_posterior(
            {n: summaries[n] for n in _names(rows, "FP32") if n in summaries}, mc
        ),
        "same σ": same_std([row for row in rows if row.contender.format == "FP32"]),
        "noise": quiet(rows),
    }
    return verdict_of(found, findings(rows))


def _names(rows: Sequence[Row], format: str) -> list[str]:
    return [row.contender.name for row in rows if row.contender.format == format]


def same_network(summaries: Mapping[str, Summary]) -> str:
    """Deterministic networks in float32 agree in every probability, within 10^-4."""
    for (one, first), (other, second) in combinations(summaries.items(), 2):
        result = outputs_match(first.probs, second.probs, exact=False)
        if result != PASS:
            return f"fail: {one} and {other}: {result.removeprefix('fail: ')}"
    return PASS if len(summaries) > 1 else "not applicable: nobody to agree with"


def same_posterior(summaries: Mapping[str, Summary], mc: int) -> str:
    """Mean probabilities of T passes in float32 agree as far as chance allows.

    A probability varies between passes by a standard deviation of at most 1/2, so that two means of
    T differ by less than 1/2·√(2/T) rms; the mean over images of the largest difference of any
    class must stay below that.
    """
    bound = 0.5 * math.sqrt(2 / mc)
    for (one, first), (other, second) in combinations(summaries.items(), 2):
        apart = float((first.probs - second.probs).abs().amax(1).mean())
        if apart > bound:
            return f"fail: {one} and {other}: probabilities {apart:.2g} apart, {bound:.2g} allowed"
    return PASS if len(summaries) > 1 else "not applicable: nobody to agree with"


def same_std(rows: Sequence[Row]) -> str:
    """What float32 draws keep of σ is 1 within 2 %, in the median layer."""
    measured = [row for row in rows if row.std_ratio]
    for row in measured:
        kept = median(row.std_ratio.values())
        if abs(kept - 1) > STD_TOLERANCE:
            return f"fail: {row.contender.name} draws {kept:.3f} of σ in float32"
    return PASS if measured else "not applicable: nobody draws in float32"


def quiet(rows: Sequence[Row]) -> str:
    """Run-to-run noise of every contender is below the bound; the noisiest is named."""
    timed = [row.contender for row in rows if row.contender.latency_ns]
    noises = {c.name: run_noise(c.latency_ns, c.slices) for c in timed}
    if not noises:
        return "not applicable: nothing was timed"
    worst = max(noises, key=noises.__getitem__)
    result = noise_bounded(noises[worst])
    return result if result == PASS else result.replace("fail: ", f"fail: {worst}: ", 1)


def findings(rows: Sequence[Row]) -> tuple[str, ...]:
    """Whose draws lost the posterior, with the layer that lost most."""
    found = []
    for row in rows:
        layer = min(row.std_ratio, key=row.std_ratio.__getitem__, default="")
        if layer and row.std_ratio[layer] < LOST:
            kept = row.std_ratio[layer]
            found.append(f"{row.contender.name}: POSTERIOR LOST in {layer}: {kept:.2f} of σ kept.")
    return tuple(found)
