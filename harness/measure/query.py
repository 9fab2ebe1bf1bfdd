"""Timed queries: what runs under the clock, and what it leaves for the audits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..core.stopping import StoppingRule
from ..predict.adaptive import ladder, predict_adaptive
from .clock import passes_per_query

if TYPE_CHECKING:
    from torch import Tensor

    from ..backends.base import Predictor
    from ..data.splits import Split
    from ..workload.cell import Cell

RING = 8  # different input batches a timed cell goes round
#: Images that a cell of adaptive T goes round, because how many passes one needs is its own; fewer
#: where they are large.
ADAPTIVE_IMAGES = 512
_ADAPTIVE_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Kept:
    """What a timed query gave.

    Attributes:
        logits: of single passes, [T', N, C].
        probs: p̄ where the query ended in it, else None: it is that of `logits`.
        spent: passes of each image where they may differ, else None.
    """

    logits: Tensor
    probs: Tensor | None = None
    spent: Tensor | None = None


#: What a query computed, in order: (images in the batch, passes).
Rounds = tuple[tuple[int, int], ...]


class Query:
    """A timed task: goes round its inputs, with a seed of its own for every query.

    Query i < seeds has a seed and images that were scored too; what it gives is kept.

    Attributes:
        passes: of a query; all T unless it was `cut`.
        rounds: of every query since `warm`, what it computed.
        kept: what is kept, by index of the query.
    """

    def __init__(
        self, predictor: Predictor, ring: Sequence[Tensor], cell: Cell, rule: StoppingRule | None
    ) -> None:
        self.predictor, self.ring, self.cell = predictor, ring, cell
        self.rule = rule if cell.adaptive else None
        self.passes = range(cell.mc)
        self.rounds: list[Rounds] = []
        self.kept: dict[int, Kept] = {}
        self._fixed = ((cell.batch, cell.mc),)

    @property
    def whole(self) -> bool:
        """Whether a query has all T passes."""
        return len(self.passes) == self.cell.mc

    def cut(self, passes: int) -> None:
        """Let a query have so many passes instead of T."""
        self.passes = range(passes)
        self._fixed = ((self.cell.batch, passes),)

    def short(self) -> None:
        """Cut it where T passes would take longer than a query may; one of adaptive T ends by its
        rule."""
        if self.rule is not None:
            return
        few = range(min(self.cell.threads, self.cell.mc))
        for _ in range(2):  # plans and buffers are made in the first
            start = time.perf_counter()
            self.predictor.logits(self.ring[0], self.cell.seed, few)
            seconds = time.perf_counter() - start
        self.cut(passes_per_query(seconds / len(few), self.cell.mc, self.cell.threads))

    def __call__(self, index: int) -> None:
        x, seed = self.ring[index % len(self.ring)], self.cell.seed + index
        if self.rule is None:
            kept = Kept(self.predictor.logits(x, seed, self.passes))
            self.rounds.append(self._fixed)
        else:
            found = predict_adaptive(self.predictor, x, self.rule, seed)
            kept = Kept(found.opening, found.probs, found.spent)
            self.rounds.append(found.rounds)
        if index < self.cell.seeds:
            self.kept[index] = kept

    def warm(self) -> None:
        """Make the plans and buffers of all batches that may come, then forget about it."""
        self(0)
        if self.rule is not None:
            sizes = {ladder(self.cell.batch, left) for left in range(1, self.cell.batch + 1)}
            for size in sorted(sizes) * 2:  # a backend may try ways first, and plan the best then
                for first, stop in self.rule.rounds[:2]:
                    self.predictor.logits(self.ring[0][:size], self.cell.seed, range(first, stop))
        self.rounds.clear()

    def again(self) -> None:
        """The passes with which every query starts, so that what ran last is this cell's batch."""
        passes = self.passes if self.rule is None else range(self.rule.looks[0])
        self.predictor.logits(self.ring[0], self.cell.seed, passes)

    def images(self, index: int, images: int) -> Tensor:
        """Which images of a split of so many query `index` had."""
        first = index % len(self.ring) * self.cell.batch
        return torch.arange(first, first + self.cell.batch) % images


def passes(rounds: Rounds) -> int:
    """Passes of a query, of whatever images were left."""
    return sum(count for _, count in rounds)


def image_passes(rounds: Rounds) -> int:
    """Passes of a query, counted once for each image in the batch."""
    return sum(images * count for images, count in rounds)


def ring(split: Split, cell: Cell) -> list[Tensor]:
    """Batches one after the other, the split repeated where it is too small, touched ahead."""
    batches = RING
    if cell.adaptive:
        size = split.batch(slice(0, 1)).nbytes * cell.batch
        batches = max(RING, min(ADAPTIVE_IMAGES // cell.batch, _ADAPTIVE_BYTES // size))
    index = torch.arange(batches * cell.batch) % len(split)
    return [split.batch(part) for part in index.split(cell.batch)]
