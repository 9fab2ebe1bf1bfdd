"""Would quantization change who is referred?

At one coverage every format refers the images it is least sure of. A quantized format is held
against the float one image by image, both with the same noise (seed by seed), so that what differs
is the format. The yardstick is the *luck of the draw*: how many images change sides where the float
format itself is given other noise, all pairs of its seeds. Both sides refer equally many, so as
many images are newly kept as are newly referred.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...data.units import ALPHA
from ...stats.bootstrap import Array, Luck, luck_draws
from ...stats.ranking import Ranked, once
from ...stats.significance import holm
from .referral import Choices, joined
from .sample import RESAMPLES, SEED, Interval, SplitSample

SEEDS = 3
"""Of the MC draw that a verdict takes: their own variation is told by leaving one out, and one must
be left to pair with."""
MORE, LESS, UNDECIDED = "more", "less", "undecided"


@dataclass(frozen=True)
class Agreement:
    """Whom one format refers, against whom another does; means over pairs of runs.

    Attributes:
        split: its name.
        variant: of the format; of a yardstick the float one.
        reference: the float one.
        pairs: of runs that were compared.
        images: how many.
        referred: how many either refers.
        overlap: share of the images that one refers which the other refers too, %.
        jaccard: images that both refer over those that either does, in 0 … 1.
        kappa: Cohen's κ of the two decisions.
        switched: images newly kept; as many are newly referred.
        wrong: of those newly kept, the ones that are predicted wrongly: errors that a person would
            have seen.
    """

    split: str
    variant: str
    reference: str
    pairs: int
    images: int
    referred: float
    overlap: Interval
    jaccard: Interval
    kappa: Interval
    switched: Interval
    wrong: Interval


@dataclass(frozen=True)
class FormatAgreement:
    """One quantized format's agreement with its float one, beside the luck of the draw.

    Attributes:
        found: with the same noise.
        luck: of the float format with itself and other noise; None where it has one seed, or draws
            nothing.
        excess: `switched` of `found` less that of `luck`, images; its interval has the variation of
            images and of seeds. None below `SEEDS` seeds.
        p: hypothesis (`more`: quantization switches more than luck, `less`) to its p-value; empty
            where nothing is judged.
        p_holm: the same after Holm over both hypotheses, the formats and the splits of a study.
        verdict: `more` or `less` where that is shown after Holm, else `undecided`; empty where
            nothing is judged.
        unjudged: what is too little to judge by, in words; empty where there is a verdict or no
            luck.
    """

    found: Agreement
    luck: Agreement | None
    excess: Interval | None
    p: dict[str, float]
    p_holm: dict[str, float]
    verdict: str
    unjudged: str = ""


def comparisons(
    samples: Sequence[SplitSample],
    choices: Choices,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    alpha: float = ALPHA,
    advance: Callable[[int], None] | None = None,
) -> list[FormatAgreement]:
    """Every format that has its float one, split by split.

    Args:
        samples: one per split.
        choices: the score and the coverage.
        resamples: of the sources of the images.
        seed: of the resampling.
        alpha: level of the verdicts.
        advance: told now and then how many more resamples there are.
    """
    raw = [c for sample in samples for c in _compared(sample, choices, resamples, seed, advance)]
    judged = [c for c in raw if c.p]
    adjusted = iter(holm([p for c in judged for p in c.p.values()]))
    found = []
    for one in raw:
        if one.p:
            p_holm = {h: next(adjusted) for h in one.p}
            shown = [h for h in (MORE, LESS) if p_holm[h] <= alpha]
            one = replace(one, p_holm=p_holm, verdict=shown[0] if shown else UNDECIDED)
        found.append(one)
    return found


_Run = tuple[str, int]
"""Variant and seed."""


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Runs of two formats that are compared with each other."""

    variant: str
    reference: str
    runs: tuple[tuple[_Run, _Run], ...]


def _compared(
    sample: SplitSample,
    choices: Choices,
    resamples: int,
    seed: int,
    advance: Callable[[int], None] | None,
) -> list[FormatAgreement]:
    """Every format on one split; not judged yet."""
    ranked = {
        (variant, one.seed): one.ranked(choices.by)
        for variant, runs in sample.outputs.items()
        for one in runs
    }
    pairs, lucks = _pairs(sample), _lucks(sample)
    drawn: dict[_Pairs, list[dict[str, Array]]] = {one: [] for one in (*pairs, *lucks)}
    for counts in sample.draws(resamples, seed):
        for one, figures in _figures(drawn, ranked, counts, choices).items():
            drawn[one].append(figures)
        if advance:
            advance(len(counts))
    draws = {one: joined(parts) for one, parts in drawn.items()}
    here = _figures(drawn, ranked, once(sample.images), choices)
    made = {one: _made(sample, one, here[one], draws[one]) for one in drawn}
    luck = {one.reference: one for one in lucks}
    found = []
    for one in pairs:
        by = luck.get(one.reference)
        if by is None:
            found.append(FormatAgreement(made[one], None, None, {}, {}, ""))
            continue
        excess = _excess(one, by, ranked, choices)
        moved = draws[one]["switched"] - draws[by]["switched"]
        moved = moved + luck_draws(excess.seeds, len(moved), [seed, 3])
        found.append(_comparison(sample, made[one], made[by], excess, moved))
    return found


@dataclass(frozen=True)
class _Excess:
    """Of switches over luck, on the images as they are: the value, and what the seeds add."""

    value: float
    seeds: tuple[Luck, ...]


def _excess(
    pairs: _Pairs, luck: _Pairs, ranked: Mapping[_Run, Ranked], choices: Choices
) -> _Excess:
    """With the jackknife over seeds (Efron and Stein, Annals of Statistics 1981): a seed is left
    out of the format and of the yardstick together, for its draw is in many of the pairs of both.
    No variance where fewer than `SEEDS` seeds are in the pairs."""
    counts = once(len(next(iter(ranked.values())).wrong))
    shared = [run[1] for _, run in pairs.runs]
    everyone = list(dict.fromkeys(run[1] for run, _ in luck.runs))
    left_out = [
        (_without(pairs, seed), _without(luck, seed)) for seed in everyone if len(shared) >= SEEDS
    ]
    wanted = itertools.chain((pairs, luck), *left_out)
    switched = {k: v["switched"][0] for k, v in _figures(wanted, ranked, counts, choices).items()}
    value = float(switched[pairs] - switched[luck])
    if not left_out:
        return _Excess(value, ())
    values = np.array([switched[a] - switched[b] for a, b in left_out])
    freedom = len(values) - 1
    return _Excess(value, (Luck(freedom * float(np.var(values)), freedom),))


def _without(pairs: _Pairs, seed: int) -> _Pairs:
    return replace(
        pairs, runs=tuple(run for run in pairs.runs if seed not in (run[0][1], run[1][1]))
    )


def _pairs(sample: SplitSample) -> list[_Pairs]:
    """Of every format with its float one, seed by seed."""
    found = []
    for variant, reference in sample.references.items():
        if variant in sample.methods:
            continue  # the question is about formats as they are
        there = {one.seed for one in sample.outputs[reference]}
        seeds = [one.seed for one in sample.outputs[variant] if one.seed in there]
        if seeds:
            runs = tuple(((variant, seed), (reference, seed)) for seed in seeds)
            found.append(_Pairs(variant, reference, runs))
    return found


def _lucks(sample: SplitSample) -> list[_Pairs]:
    """Of every float one with itself, where it has more seeds than one."""
    found = []
    names = (name for v, name in sample.references.items() if v not in sample.methods)
    for name in dict.fromkeys(names):
        runs = [(name, one.seed) for one in sample.outputs[name]]
        if len(runs) > 1:
            found.append(_Pairs(name, name, tuple(itertools.permutations(runs, 2))))
    return found


def _figures(
    wanted: Iterable[_Pairs], ranked: Mapping[_Run, Ranked], counts: Array, choices: Choices
) -> dict[_Pairs, dict[str, Array]]:
    """Name to [B] means over pairs of runs, from counts [B, N]."""
    kept = {run: one.kept(counts, choices.coverage) for run, one in ranked.items()}
    found = {}
    for one in wanted:
        each = [_agreement(kept[a], kept[b], ranked[a].wrong, counts) for a, b in one.runs]
        found[one] = {
            name: np.mean([figures[name] for figures in each], axis=0) for name in each[0]
        }
    return found


def _agreement(kept: Array, others: Array, wrong: Array, counts: Array) -> dict[str, Array]:
    """Of two runs: what they keep, [B, N], and what the first predicts wrongly, [N]."""
    total = counts.sum(axis=1)
    newly = kept - np.minimum(kept, others)
    referred, switched = total - kept.sum(axis=1), newly.sum(axis=1)
    same = referred - switched
    rate = referred / total
    agreed, chance = 1 - 2 * switched / total, rate**2 + (1 - rate) ** 2
    return {
        "referred": referred,
        "overlap": 100 * _share(same, referred),
        "jaccard": _share(same, referred + switched),
        "kappa": _share(agreed - chance, 1 - chance),
        "switched": switched,
        "wrong": newly @ wrong,
    }


def _share(part: Array, whole: Array) -> Array:
    """1 where nobody is referred: all agree."""
    return np.divide(part, whole, out=np.ones(len(part)), where=whole > 0)


def _made(
    sample: SplitSample, pairs: _Pairs, here: dict[str, Array], draws: dict[str, Array]
) -> Agreement:
    found = {name: Interval.of(float(here[name][0]), draws[name]) for name in here}
    referred = found.pop("referred").value
    return Agreement(
        sample.split,
        pairs.variant,
        pairs.reference,
        len(pairs.runs),
        sample.images,
        referred,
        **found,
    )


def _comparison(
    sample: SplitSample, found: Agreement, luck: Agreement, excess: _Excess, draws: Array
) -> FormatAgreement:
    """Judged where there are seeds and sources enough, but for Holm."""
    if not excess.seeds:
        few = f"fewer than {SEEDS} seeds of the draw"
        return FormatAgreement(found, luck, None, {}, {}, "", few)
    interval = Interval.of(excess.value, draws)
    if sample.too_few:
        return FormatAgreement(found, luck, interval, {}, {}, "", sample.too_few)
    p = {
        MORE: (1 + int((draws <= 0).sum())) / (len(draws) + 1),
        LESS: (1 + int((draws >= 0).sum())) / (len(draws) + 1),
    }
    return FormatAgreement(found, luck, interval, p, {}, "")
