"""One long run of Monte Carlo passes, cut into stretches: what T passes say, again and again.

A run of P passes holds ⌊P / T⌋ stretches of T consecutive ones, the first of which is its prefix.
Passes are drawn independently, so each stretch is what another T passes would have said; from one
run come as many draws of every T as its passes allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..machine.torch_state import plain
from .loop import PASSES, batches
from .predicted import Sums

if TYPE_CHECKING:
    from ..backends.base import Passes
    from ..data.splits import Split

#: That an image takes at most for one stretch: NLL and decision.
BYTES = 8


@dataclass(frozen=True, eq=False)
class Stretches:
    """What the R stretches of one T say of N images.

    Attributes:
        nll: [R, N] float32, negative log-likelihood of the label, nats.
        decision: [R, N] int32, the class with the largest mean probability.
    """

    nll: Tensor
    decision: Tensor


def stretches_of(passes: int, mc: Sequence[int]) -> dict[int, int]:
    """How many stretches of each T a run of so many passes holds."""
    return {T: passes // T for T in mc}


@plain
def stretches(
    predictor: Passes,
    split: Split,
    mc: Sequence[int],
    passes: int,
    seed: int,
    *,
    batch: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[int, Stretches]:
    """Cut one run into stretches of each T.

    Args:
        predictor: a loaded model that draws its weights.
        split: images with labels; all of them are used.
        mc: numbers of passes T, each from 1 to `passes`.
        passes: of the run; pass t draws with MC index t.
        seed: of the noise.
        batch: images at a time.
        advance: called with the number of images times that of passes that were computed.
    """
    counts = stretches_of(passes, mc)
    made = {
        T: Stretches(
            torch.empty(count, len(split)), torch.empty(count, len(split), dtype=torch.int32)
        )
        for T, count in counts.items()
    }
    for index in batches(split, batch):
        x, cutter = split.batch(index), _Cutter(made, split.labels[index], index)
        for first in range(0, passes, PASSES):
            chunk = range(first, min(first + PASSES, passes))
            cutter.update(predictor.logits(x, seed, chunk))
            advance(len(x) * len(chunk))
    return made


class _Cutter:
    """Puts what the passes of some images say where it belongs."""

    def __init__(self, made: Mapping[int, Stretches], labels: Tensor, index: slice) -> None:
        self._made, self._labels, self._index = made, labels, index
        self._sums: dict[int, Sums] = {}
        self._passes = 0

    def update(self, logits: Tensor) -> None:
        """Add the next passes, [T', N, C]."""
        for one_pass in logits.to(torch.float64):
            one = Sums.of_pass(one_pass)
            self._passes += 1
            for T, found in self._made.items():
                if T in self._sums:
                    self._sums[T].add(one)
                else:
                    self._sums[T] = one.copy()
                if self._sums[T].passes == T:
                    self._keep(self._sums.pop(T), found, self._passes // T - 1)

    def _keep(self, sums: Sums, found: Stretches, place: int) -> None:
        summary = sums.summary(deterministic=False)
        found.nll[place, self._index] = summary.nll(self._labels).float()
        found.decision[place, self._index] = summary.prediction.int()
