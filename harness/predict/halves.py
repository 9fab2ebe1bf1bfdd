"""What balanced halves of the Monte Carlo passes say, from which the luck of the draw is told.

The passes fall into G groups, which are halved in G − 1 ways, those of Paley's Hadamard matrix
(J. Math. Phys. 1933): with q = G − 1 prime, q ≡ 3 mod 4, half h holds the group q and the groups
r + h mod q of all squares r mod q. Each half has G / 2 groups, and the contrasts of halves and
complements are orthogonal. So for what is linear in the passes the mean square of half of their
difference is exactly the jackknife's variance of the mean of the groups, with G − 1 degrees of
freedom (balanced half-sampling; McCarthy, Rev. Int. Stat. Inst. 1969). What is quadratic in the
passes cancels in the difference of a half and its complement.

NLL is smooth but curved where passes are few: a half of 20 passes is another prediction than all of
them, and its luck more than √2 times theirs. So NLL is scored without one group at a time, and
`jackknifed` gives it the contrasts of what is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GROUPS = (4, 8, 12, 20)


def groups_of(passes: int) -> int:
    """G for so many passes: the largest of `GROUPS` that leaves none empty; 0 where none does."""
    return max((groups for groups in GROUPS if groups <= passes), default=0)


def halvings(groups: int) -> NDArray[np.bool_]:
    """[G − 1, G] which of the groups each half holds; `groups` is one of `GROUPS`."""
    prime = groups - 1
    square = np.zeros(groups, bool)
    square[[r * r % prime for r in range(1, prime)]] = True
    square[prime] = True
    shift = (np.arange(prime) - np.arange(prime)[:, None]) % prime
    return square[np.concatenate([shift, np.full((prime, 1), prime)], axis=1)]


def jackknifed(without_one: NDArray[np.float64]) -> NDArray[np.float64]:
    """[…, G − 1] contrasts of a score, [..., G] by all groups but one: half the difference of each
    half and its complement, were the score the mean of the groups. Their mean square is the
    jackknife's variance.
    """
    groups = without_one.shape[-1]
    signs = np.where(halvings(groups), 1.0, -1.0)
    found: NDArray[np.float64] = without_one @ signs.T * (1 - groups) / groups
    return found


@dataclass(frozen=True, eq=False)
class Halves:
    """Of N images, what the mean prediction of each half is, and of its complement.

    Attributes:
        confidence: [2, H, N] float32, the largest mean probability; halves, then complements.
        correct: [2, H, N] bool, whether the likeliest class is the label.
        nll: [G, N] float32, negative log-likelihood of the label by all groups but one, nats.
    """

    confidence: Tensor
    correct: Tensor
    nll: Tensor

    @classmethod
    def cat(cls, parts: Sequence[Halves]) -> Halves:
        """Join those of consecutive batches of images: at least one."""
        names = ("confidence", "correct", "nll")
        return cls(*(torch.cat([getattr(p, name) for p in parts], dim=-1) for name in names))


@dataclass(frozen=True, eq=False)
class Groups:
    """Sums over each of G groups of passes.

    Attributes:
        probs: G of [N, C] float64, Σ p_t.
        log_probs: G of [N, C] float64, log Σ p_t.
        passes: G numbers of passes.
        tau: temperature of what is averaged, one or [N, 1] of each image (`temperature`).
    """

    probs: Sequence[Tensor]
    log_probs: Sequence[Tensor]
    passes: Sequence[int]
    tau: float | Tensor = 1.0

    def halves(self, labels: Tensor) -> Halves:
        """Args:
        labels: [N] integer class indices.
        """
        which = halvings(len(self.passes))
        found = [self._half(half, labels) for half in (*which, *~which)]
        confidence, correct = (
            torch.stack(each).unflatten(0, (2, -1)) for each in zip(*found, strict=True)
        )
        return Halves(confidence, correct, self._without_one(labels))

    def _without_one(self, labels: Tensor) -> Tensor:
        """[G, N] negative log-likelihood by all groups but one."""
        index = labels.long()[:, None]
        own = [log.gather(1, index).flatten() for log in self.log_probs]
        found = []
        for group, passes in enumerate(self.passes):
            if self._tempered:
                average = self._average([g for g in range(len(self.passes)) if g != group])
                found.append(-average.gather(1, index).flatten())
                continue
            others = torch.stack([*own[:group], *own[group + 1 :]])
            found.append(np.log(sum(self.passes) - passes) - torch.logsumexp(others, dim=0))
        return torch.stack(found).clamp_(min=0.0).float()

    def _half(self, half: NDArray[np.bool_], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Confidence and correctness, [N] each."""
        chosen = np.flatnonzero(half).tolist()
        if self._tempered:
            average = self._average(chosen)
            return average.amax(dim=-1).exp().float(), average.argmax(dim=-1) == labels
        passes = sum(self.passes[g] for g in chosen)
        probs = self.probs[chosen[0]].clone()
        for group in chosen[1:]:
            probs += self.probs[group]
        return (probs.amax(dim=-1) / passes).float(), probs.argmax(dim=-1) == labels

    @property
    def _tempered(self) -> bool:
        return isinstance(self.tau, Tensor) or self.tau != 1.0

    def _average(self, chosen: Sequence[int]) -> Tensor:
        """[N, C] log of the average of some groups, tempered; what all classes share falls out."""
        total = torch.logsumexp(torch.stack([self.log_probs[g] for g in chosen]), dim=0)
        return torch.log_softmax(total / self.tau, dim=-1)
