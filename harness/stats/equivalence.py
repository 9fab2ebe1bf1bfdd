"""Does quantization hurt? Equivalence against margins that were fixed beforehand.

Of each quantized variant, severity and metric the *effect* is the mean over corruption types of
(quantized − float), on the same images; the *harm* is the effect with the sign that makes a loss
positive. θ is the expected harm over images of the same kind, δ the margin of the metric
(`Metric.margin`). Three hypotheses are tested, all at the level α:

    equivalent   H₀: |θ| ≥ δ, by two one-sided tests (TOST; Schuirmann, J. Pharmacokinet.
                 Biopharm. 1987); the larger of their p-values counts
    worse        H₀: θ ≤ δ
    improved     H₀: θ ≥ −δ

Draws of θ come from a bootstrap clustered by unit (`units.Units`: what images were cut from, else
the image): a resample draws as many units as there are with replacement, each with all its images
and types in both formats, because an image that is hard is hard in all of them. A one-sided p-value
is (1 + draws on the side of H₀) / (resamples + 1). Fewer than `LEAST_UNITS` units judge nothing.

ECE is drawn by halves of the units (`pairs.PairedValues`). It is biased upwards, so θ is what
N images show on average, not infinitely many: near its noise floor the ECE of N images hardly
changes where that of infinitely many would. There (`near_floor`) "equivalent" is about the figure,
not about the calibration, and NLL, which has no floor, is the one to read.

NLL's draws are studentized (`Means.studentized`): few images make most of a loss. Images on which
two formats disagree may be so few that none is in the sample, and no resample can then show one. So
draws of accuracy have half a pseudo-unit more that is right in one format alone, and half a one in
the other (`pseudo_units`).

Holm's correction covers severities and the variants of a kind (`Results.kind`), of which each claim
is made, within a metric and a hypothesis; these are not corrected for one another. A verdict is

    equivalent     TOST rejected after Holm
    worse          H₀ of `worse` rejected after Holm
    inconclusive   neither: too few images to tell, or an improvement beyond the margin
    not judged     fewer than `LEAST_UNITS` units

Images are what is random here, and the MC draw; the network, its training and the corruption types
are as given. Seeds of the MC draw are averaged first: values per image, and for ECE the scores. A
pass has the same weights for all images, so no resample of the images shows its luck. Halves of the
passes do, and what they tell of all images alike is added to the draws (`Luck`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..data.units import ALPHA, too_few
from ..metrics.metric import Metric, judged_metrics
from .bootstrap import Array, Luck, luck_draws
from .pairs import Pair, PairedValues, pairs_at
from .shifted import Results
from .significance import holm

RESAMPLES = 10_000
SEED = 0
EQUIVALENT, WORSE, INCONCLUSIVE = "equivalent", "worse", "inconclusive"
NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Outcome:
    """What the tests say of one quantized variant, severity and metric.

    Attributes:
        variant: the quantized one (`Results.formats`).
        reference: the float one.
        kind: `Results.kind` of the variant.
        metric: a name of `judged_metrics`; `effect`, `low` and `high` are in its unit (points
            of %, nats).
        severity: 0 (clean) to 5.
        images: how many both were scored on.
        units: how many independent ones they come from (`units.Units`).
        types: corruption types that both were scored on.
        luck: whether the luck of the MC draw is in the interval; not where there are too few passes
            to tell, nor for deterministic networks, which have none.
        apart: of that luck, whether what all images share was told apart from each image's own part
            (`Luck`); else it is an upper bound, and the interval is wider than it need be.
        effect: mean over types of (quantized − float).
        low: of its 95 % interval; None from one unit, which tells no error.
        high: of its 95 % interval; None likewise.
        p: hypothesis (`equivalent`, `worse`, `improved`) to its p-value; empty where nothing is
            judged.
        p_holm: the same after Holm.
        verdict: `equivalent`, `worse`, `inconclusive` or `not judged`.
        improved: an improvement beyond the margin is shown, after Holm.
        near_floor: of ECE: the reference's, over types, is less than `NEAR` times its noise floor.
        drawn: whether another draw would change either.
    """

    variant: str
    reference: str
    kind: str
    metric: str
    severity: int
    images: int
    units: int
    types: tuple[str, ...]
    luck: bool
    apart: bool
    effect: float
    low: float | None
    high: float | None
    p: dict[str, float]
    p_holm: dict[str, float] = field(default_factory=dict)
    verdict: str = INCONCLUSIVE
    improved: bool = False
    near_floor: bool = False
    drawn: bool = True


def equivalence(
    results: Results,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    alpha: float = ALPHA,
    pairing: Callable[[Results, int], list[Pair]] = pairs_at,
) -> list[Outcome]:
    """Test every variant that has its reference, at every severity it shares.

    Args:
        results: of one study; what is missing of it is left out.
        resamples: of the images, at least 1.
        seed: of the resampling; every variant and severity has the same draws, so that no interval
            depends on which others there are.
        alpha: level of the tests.
        pairing: what is compared with what at a severity: quantized variants with their floats, or
            methods with the mean network (`pairs.rivals_at`).

    Returns:
        By variant, metric (in the order of `judged_metrics`) and severity.
    """
    raw = []
    for severity in results.severities:
        pairs = pairing(results, severity)
        if pairs:
            raw += _tested(PairedValues(results, severity, pairs), resamples, seed)
    order, metrics = list(results.formats), list(judged_metrics())
    raw.sort(key=lambda o: (order.index(o.variant), metrics.index(o.metric), o.severity))
    return _corrected(raw, alpha)


def _tested(sample: PairedValues, resamples: int, seed: int) -> list[Outcome]:
    effects, units = sample.effects(), sample.units.count
    if units < 2:
        return [
            _outcome(sample, pair, metric, float(effects[metric][column]), None)
            for metric in effects
            for column, pair in enumerate(sample.pairs)
        ]
    draws = sample.draws(resamples, seed)
    found = []
    for metric in effects:
        for column, pair in enumerate(sample.pairs):
            luck = sample.luck(pair, metric)
            moved = draws[metric][:, column] + luck_draws(luck, resamples, [seed, 2])
            found.append(
                _outcome(sample, pair, metric, float(effects[metric][column]), moved, luck)
            )
    return found


def _outcome(
    sample: PairedValues,
    pair: Pair,
    metric: str,
    effect: float,
    draws: Array | None,
    luck: Sequence[Luck] = (),
) -> Outcome:
    judged, low, high = judged_metrics()[metric], None, None
    if draws is not None:
        most = judged.most or np.inf
        low, high = np.clip(np.quantile(draws, [0.025, 0.975]), -most, most).tolist()
    enough = draws is not None and not too_few(sample.units.count)
    return Outcome(
        variant=pair.variant,
        reference=pair.reference,
        kind=pair.kind,
        metric=metric,
        severity=sample.severity,
        images=sample.images,
        units=sample.units.count,
        types=pair.types,
        luck=bool(luck),
        apart=all(one.apart for one in luck),
        effect=effect,
        low=low,
        high=high,
        p=_p_values(judged, draws) if enough and draws is not None else {},
        verdict=INCONCLUSIVE if enough else NOT_JUDGED,
        near_floor=metric == "ece" and sample.near_floor(pair),
        drawn=sample.drawn(pair),
    )


def _p_values(metric: Metric, draws: Array) -> dict[str, float]:
    """Of the three hypotheses, from draws of the effect."""
    harm, margin = metric.harm * draws, metric.margin or 0.0

    def share(on_the_side_of_h0: NDArray[np.bool_]) -> float:
        return (1 + int(on_the_side_of_h0.sum())) / (len(harm) + 1)

    return {
        "equivalent": max(share(harm >= margin), share(harm <= -margin)),
        "worse": share(harm <= margin),
        "improved": share(harm >= -margin),
    }


def _corrected(raw: Sequence[Outcome], alpha: float) -> list[Outcome]:
    """With Holm over severities and the variants of a kind, within each metric and hypothesis, and
    verdicts. Kinds apart, so that the correction does not depend on what else a report holds."""
    adjusted: dict[int, dict[str, float]] = {index: {} for index in range(len(raw))}
    families: dict[tuple[str, str], list[int]] = {}
    for index, outcome in enumerate(raw):
        if not outcome.p:
            continue
        families.setdefault((outcome.kind, outcome.metric), []).append(index)
    for which in families.values():
        for hypothesis in ("equivalent", "worse", "improved"):
            values = holm([raw[i].p[hypothesis] for i in which])
            for i, value in zip(which, values, strict=True):
                adjusted[i][hypothesis] = value
    return [_judged(o, adjusted[i], alpha) if o.p else o for i, o in enumerate(raw)]


def _judged(outcome: Outcome, p_holm: dict[str, float], alpha: float) -> Outcome:
    shown = [v for v in (EQUIVALENT, WORSE) if p_holm[v] <= alpha]
    return replace(
        outcome,
        p_holm=p_holm,
        verdict=shown[0] if shown else INCONCLUSIVE,
        improved=p_holm["improved"] <= alpha,
    )
