"""Adaptive T: an image stops drawing once its prediction is settled at a stated confidence.

After t of at most T passes, class a leads in mean probability. The margin of a in pass s is

    d_s = p_s(a) − max_{b ≠ a} p_s(b)   in [−1, 1],

and if Σ_{s ≤ T} d_s > 0 then a leads every rival after T passes as well: Σ_s p_s(a) − Σ_s p_s(b) is
at least Σ_s d_s for each b. So one number a pass decides, however many classes there are. With
R = T − t passes to come, D = Σ_{s ≤ t} d_s and d̄ = D / t, the image is settled if

    D > R                                             exactly: each d_s to come is at least −1; or
    d̄ √(t T / R) > q_t s                              at the stated confidence,
    s² = (1 + Σ_{s ≤ t} (d_s − d̄)²) / t.

The second is the prediction of a sum yet to come from the sample before it: for independent normal
d_s, (Σ_{s > t} d_s − R d̄) / (s √(R T / t)) follows Student's t (Hahn and Meeker, "Statistical
Intervals", 1991, section 4.7; for a population of T passes, not an infinite one, hence no error at
t = T). Margins are not normal, and a few that are equal say nothing of a rare pass that differs, so
s² counts one more pass of variance 1, the largest that a number in [−1, 1] can have; the degrees of
freedom are then t. q_t is the upper α/K quantile, α = 1 − confidence and K the number of looks
before T: the chance that any of the looks misleads is at most the sum of theirs (Bonferroni).

What the confidence means, and how often decisions agree in fact: docs/adaptive.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.stopping import StoppingRule
from ..data.given import as_tensor
from ..machine.torch_state import plain
from .loop import BATCH, PASSES, batches
from .predicted import Outcomes, Predictive, Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..backends.base import Predictor
    from ..data.given import Given
    from ..data.splits import Split

LADDER = 4  # batch sizes that a shrinking batch goes through
#: More than the rounding of a sum of margins, so that what counts as exact is.
_ROUNDING = 1e-9


class Margins:
    """Sums over the passes so far, for every image and class; memory does not grow with T.

    NumPy, because a small batch has little else to wait for than calls of small operators.

    Args:
        rule: what says when an image is settled.

    Attributes:
        passes: how many were added.
    """

    def __init__(self, rule: StoppingRule) -> None:
        self.rule = rule
        self.passes = 0
        self._sums = np.zeros((3, 0, 0))  # [3, N, C]: p, margin of each class, its square

    def update(self, logits: Tensor) -> None:
        """Add the next passes, in the order of the MC index: [T', N, C], C ≥ 2.

        Every pass is added by itself, so that the sums are the same bit for bit however passes and
        images are divided among calls, and p̄ is that of `Predictive`.
        """
        added = np.empty((len(logits), 3, *logits.shape[1:]))
        p, margin, square = added[:, 0], added[:, 1], added[:, 2]
        p[:] = torch.log_softmax(logits.to(torch.float64), dim=-1).exp_().numpy()
        top = np.partition(p, -2, axis=-1)[..., -2:]
        second, first = top[..., :1], top[..., 1:]
        np.subtract(p, first, out=margin)
        np.copyto(margin, first - second, where=margin == 0)  # of a tie: 0, as it was
        np.multiply(margin, margin, out=square)
        for one_pass in added:
            self._sums = self._sums + one_pass if self.passes else one_pass
            self.passes += 1

    def probs(self) -> NDArray[np.float64]:
        """[N, C], p̄ of the passes so far."""
        return self._sums[0] / self.passes

    def settled(self) -> NDArray[np.bool_]:
        """[N]: whether an image needs no more passes. After `limit` none does."""
        rule, t = self.rule, self.passes
        left, images = rule.limit - t, np.arange(self._sums.shape[1])
        if left <= 0:
            return np.ones(len(images), np.bool_)
        _, lead, squares = self._sums[:, images, self._sums[0].argmax(-1)]
        mean = lead / t
        deviations = np.maximum(squares - lead * mean, 0.0) + rule.prior_std**2
        s = np.sqrt(deviations / (t if rule.prior_std else t - 1))
        likely = mean * math.sqrt(t * rule.limit / left) > rule.critical[t] * s
        settled: NDArray[np.bool_] = likely | (lead > left + _ROUNDING)
        return settled

    def keep(self, images: NDArray[np.bool_]) -> None:
        """Go on with the images that the mask [N] marks."""
        self._sums = self._sums[:, images]


@dataclass(frozen=True, eq=False)
class Adapted:
    """An adaptive prediction of one batch of N images.

    Attributes:
        probs: float64 [N, C], p̄ over the passes that each image had.
        spent: int64 [N], how many those were.
        rounds: what was computed: (images in the batch, repeats that fill it up included; passes).
        opening: float32, logits of the passes before the first look, [T', N, C].
    """

    probs: Tensor
    spent: Tensor
    rounds: tuple[tuple[int, int], ...]
    opening: Tensor


def ladder(images: int, left: int) -> int:
    """Size of the batch that computes what is left: the smallest of N, N/4, N/16, N/64 to hold it.

    Few sizes, because a backend plans each one anew and keeps only some plans.
    """
    sizes = [-(-images // 4**step) for step in range(LADDER)]
    return min(size for size in sizes if size >= left)


@plain
def predict_adaptive(predictor: Predictor, x: Given, rule: StoppingRule, seed: int = 0) -> Adapted:
    """Predict a batch with as many passes as each image needs.

    An image's result is that of its first `spent` passes, bit for bit on a backend whose logits do
    not depend on the batch (int8), whatever it shares the batch with.

    Args:
        predictor: a loaded model.
        x: images, float32 [N, C, H, W], normalised; a tensor or a NumPy array.
        rule: when to stop.
        seed: of the noise; pass t draws with MC index t.
    """
    x = as_tensor(x, "The images", "a torch.Tensor or a NumPy array, float32 [N, C, H, W]")
    margins, batch, rounds = Margins(rule), x, []
    rows, opening = np.arange(len(x)), torch.empty(0)
    probs, spent = np.empty((0, 0)), np.full(len(x), rule.limit)
    for start, stop in rule.rounds:
        for first in range(start, stop, PASSES):
            logits = predictor.logits(batch, seed, range(first, min(first + PASSES, stop)))
            margins.update(logits[:, : len(rows)])
            opening = opening if first else logits
        rounds.append((len(batch), stop - start))
        settled, now = margins.settled(), margins.probs()
        if not start:
            probs = np.empty_like(now)
        probs[rows[settled]], spent[rows[settled]] = now[settled], stop
        if settled.all():
            break
        if settled.any():
            margins.keep(~settled)
            rows = rows[~settled]
            repeats = np.resize(rows, ladder(len(x), len(rows)))
            batch = x[torch.from_numpy(repeats)]
    return Adapted(torch.from_numpy(probs), torch.from_numpy(spent), tuple(rounds), opening)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A split at full and at adaptive T, from the same passes.

    Attributes:
        full: by T.
        adaptive: of each image, the prediction at the T it spent; `T` is the limit.
        spent: int64 [N], passes of each image.
    """

    full: dict[int, Outcomes]
    adaptive: Outcomes
    spent: Tensor


@plain
def evaluate_adaptive(
    predictor: Predictor,
    split: Split,
    mc: Sequence[int],
    rule: StoppingRule,
    seed: int = 0,
    *,
    whole: bool = False,
    opening: int = 0,
    batch: int = BATCH,
    advance: Callable[[int], None] | None = None,
) -> Evaluated:
    """The predictive distribution of a split at every T in `mc` and at the T each image needs.

    All passes are computed for all images, so that both come from the same draws.

    Args:
        predictor: a loaded model that draws its weights.
        split: images; all of them are used.
        mc: numbers of passes; the rule's limit is added.
        rule: when to stop.
        seed: of the noise.
        whole: as of `outcomes`, and so are `opening`, `batch` and `advance`.
    """
    counts = sorted({*mc, rule.limit})
    full: dict[int, list[Outcomes]] = {T: [] for T in counts}
    adaptive, spent = [], []
    for index in batches(split, batch):
        x, labels, first = split.batch(index), split.labels[index], max(0, opening - index.start)
        by_passes, needed = _batch(predictor, x, counts, rule, seed)
        for T in counts:
            full[T].append(by_passes[T].outcomes(labels, whole, first))
        adaptive.append(_at(by_passes, needed, rule).outcomes(labels, whole, first))
        spent.append(needed)
        if advance:
            advance(len(x))
    joined = {T: Outcomes.cat(parts) for T, parts in full.items()}
    return Evaluated(joined, Outcomes.cat(adaptive), torch.cat(spent))


def _batch(
    predictor: Predictor, x: Tensor, counts: Sequence[int], rule: StoppingRule, seed: int
) -> tuple[dict[int, Summary], Tensor]:
    """Summaries at all counts and looks, and the passes each image needs."""
    total, margins = Predictive((*counts, *rule.looks)), Margins(rule)
    spent = torch.full((len(x),), rule.limit)
    last = max(counts)
    edges = sorted({0, *rule.looks, *range(0, last, PASSES), rule.limit, last})
    for first, stop in pairwise(edges):
        logits = predictor.logits(x, seed, range(first, stop))
        total.update(logits)
        margins.update(logits)
        if stop in rule.looks:
            spent[torch.from_numpy(margins.settled()) & (spent == rule.limit)] = stop
    return total.summaries(), spent


def _at(by_passes: dict[int, Summary], spent: Tensor, rule: StoppingRule) -> Summary:
    """Of each image the row of the summary at its own T."""

    def rows(name: str) -> Tensor:
        found = torch.empty_like(getattr(by_passes[rule.limit], name))
        for T in (*rule.looks, rule.limit):
            found[spent == T] = getattr(by_passes[T], name)[spent == T]
        return found

    return Summary(
        T=rule.limit,
        probs=rows("probs"),
        log_probs=rows("log_probs"),
        entropy=rows("entropy"),
        expected_entropy=rows("expected_entropy"),
        mutual_information=rows("mutual_information"),
    )
