"""Would quantization change who is referred?

At one coverage every format refers the images it is least sure of. A quantized format is held
against the float one image by image, both with the same noise (seed by seed), so that what differs
is the format. The yardstick is the *luck of the draw*: how many images change sides where the float
format itself is given other noise, all pairs of its seeds. Both sides refer equally many, so as
many images are newly kept as are newly referred.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..shift.bootstrap import Array
from ..significance import holm
from .ranking import Ranked, once
from .sample import RESAMPLES, SEED, Interval, Sample
from .selection import Choices, joined

ALPHA = 0.05
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
class Comparison:
    """One quantized format's agreement with its float one, beside the luck of the draw.

    Attributes:
        found: with the same noise.
        luck: of the float format with itself and other noise; None where it has one seed, or draws
            nothing.
        excess: `switched` of `found` less that of `luck`, images.
        p: hypothesis (`more`: quantization switches more than luck, `less`) to its p-value.
        p_holm: the same after Holm over the formats and splits of a study.
        verdict: `more` or `less` where that is shown after Holm, else `undecided`; empty without
            luck.
    """

    found: Agreement
    luck: Agreement | None
    excess: Interval | None
    p: dict[str, float]
    p_holm: dict[str, float]
    verdict: str


def comparisons(
    samples: Sequence[Sample],
    choices: Choices,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    alpha: float = ALPHA,
) -> list[Comparison]:
    """Every format that has its float one, split by split.

    Args:
        samples: one a split.
        choices: the score and the coverage.
        resamples: of the sources of the images.
        seed: of the resampling.
        alpha: level of the verdicts.
    """
    raw = [c for sample in samples for c in _compared(sample, choices, resamples, seed)]
    judged = [c for c in raw if c.p]
    adjusted = {h: holm([c.p[h] for c in judged]) for h in (MORE, LESS)}
    places = {id(c): i for i, c in enumerate(judged)}
    found = []
    for one in raw:
        if one.p:
            p_holm = {h: adjusted[h][places[id(one)]] for h in adjusted}
            shown = [h for h in (MORE, LESS) if p_holm[h] <= alpha]
            one = replace(one, p_holm=p_holm, verdict=shown[0] if shown else UNDECIDED)
        found.append(one)
    return found


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Runs of two formats that are compared with each other."""

    variant: str
    reference: str
    runs: tuple[tuple[Ranked, Ranked], ...]

    def figures(self, counts: Array, share: float) -> dict[str, Array]:
        """Name to [B] means over pairs, from counts [B, N]."""
        each = [_agreement(mine, other, counts, share) for mine, other in self.runs]
        return {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}


def _agreement(mine: Ranked, other: Ranked, counts: Array, share: float) -> dict[str, Array]:
    kept, others = mine.kept(counts, share), other.kept(counts, share)
    total = counts.sum(axis=1)
    both_kept = np.minimum(kept, others)
    referred = total - kept.sum(axis=1)
    switched = kept.sum(axis=1) - both_kept.sum(axis=1)
    same = referred - switched
    observed = 1 - 2 * switched / total
    rate = referred / total
    chance = rate**2 + (1 - rate) ** 2
    nothing = np.ones(len(counts))  # where nobody is referred, all agree
    return {
        "referred": referred,
        "overlap": 100 * np.divide(same, referred, out=nothing.copy(), where=referred > 0),
        "jaccard": np.divide(
            same, referred + switched, out=nothing.copy(), where=referred + switched > 0
        ),
        "kappa": np.divide(observed - chance, 1 - chance, out=nothing, where=chance < 1),
        "switched": switched,
        "wrong": (kept - both_kept) @ mine.wrong,
    }


def _compared(sample: Sample, choices: Choices, resamples: int, seed: int) -> list[Comparison]:
    wanted = {v: r for v, r in sample.references.items() if v in sample.outputs}
    ranked = {
        variant: {one.seed: one.ranked(choices.by) for one in runs}
        for variant, runs in sample.outputs.items()
    }
    pairs = {
        v: _Pairs(v, r, tuple((ranked[v][s], ranked[r][s]) for s in ranked[v] if s in ranked[r]))
        for v, r in wanted.items()
    }
    pairs = {v: one for v, one in pairs.items() if one.runs}
    lucks = {
        r: _Pairs(r, r, tuple(itertools.permutations(ranked[r].values(), 2)))
        for r in dict.fromkeys(wanted.values())
        if len(ranked[r]) > 1
    }
    shown = {("", v): one for v, one in pairs.items()} | {("luck", r): o for r, o in lucks.items()}
    drawn: dict[tuple[str, str], list[dict[str, Array]]] = {key: [] for key in shown}
    for counts in sample.draws(resamples, seed):
        for key, one in shown.items():
            drawn[key].append(one.figures(counts, choices.coverage))
    draws = {key: joined(parts) for key, parts in drawn.items()}
    here = {k: one.figures(once(sample.images), choices.coverage) for k, one in shown.items()}
    made = {k: _made(sample, one, here[k], draws[k]) for k, one in shown.items()}
    return [
        _comparison(made["", v], made.get(("luck", r)), draws["", v], draws.get(("luck", r)))
        for v, r in wanted.items()
        if v in pairs
    ]


def _made(
    sample: Sample, pairs: _Pairs, here: dict[str, Array], draws: dict[str, Array]
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
    found: Agreement,
    luck: Agreement | None,
    draws: dict[str, Array],
    luck_draws: dict[str, Array] | None,
) -> Comparison:
    if luck is None or luck_draws is None:
        return Comparison(found, None, None, {}, {}, "")
    excess = draws["switched"] - luck_draws["switched"]
    p = {
        MORE: (1 + int((excess <= 0).sum())) / (len(excess) + 1),
        LESS: (1 + int((excess >= 0).sum())) / (len(excess) + 1),
    }
    value = found.switched.value - luck.switched.value
    return Comparison(found, luck, Interval.of(value, excess), p, {}, "")
