"""The predictive distribution of jointly Gaussian logits, at any temperature.

Softmax has no closed-form mean under a Gaussian law, so it is integrated by a fixed quadrature of
that law. Mean probabilities, entropy, expected entropy and mutual information all belong to one
distribution:

- Softmax does not change when all logits move alike, so what is integrated are the differences from
  the likeliest class, in the order of the classes' mean logits.
- Of many classes, the `LEADING` likeliest fluctuate each in its own way. The others move together,
  by the mean of their fluctuations, weighted by their probabilities.
- The nodes are `POINTS` points of a Sobol sequence (Sobol, USSR Computational Mathematics and
  Mathematical Physics 1967) in the middle of their cells, through the inverse of the normal
  distribution and made exact in their second moments, times the Cholesky factor of the
  covariance. They are the same for all images: no result depends on a seed or on the batch.

A temperature divides the nodes: the mean logits by τ, and their covariance by τ².
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from .newton import Derivatives
from .predicted import Summary
from .temperature import PASSES, ImageTemperatures, Temperature, derivatives, mean_nll, minimised

LEADING = 10  # classes that fluctuate each in its own way
POINTS = 1024  # a power of two, for which the sequence is balanced
NODE_BYTES = 1 << 25  # of the images whose nodes are there at once
_RIDGE = 1e-9  # of the largest variance: rounding may leave the smallest below 0
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class RankedLogits:
    """The classes of N images from the likeliest to the least likely.

    Attributes:
        order: [N, C] int64, the class of each rank.
        means: [N, C] float64, the mean logit of each rank, descending.
    """

    order: Tensor
    means: Tensor

    @classmethod
    def of(cls, mean: Tensor) -> RankedLogits:
        """From mean logits [N, C]."""
        means, order = mean.double().sort(dim=1, descending=True, stable=True)
        return cls(order, means)

    @property
    def leading(self) -> int:
        """How many classes fluctuate each in its own way; a single one beyond `LEADING` does."""
        classes = self.order.shape[1]
        return classes if classes <= LEADING + 1 else LEADING

    def directions(self) -> Tensor:
        """Float32 [N, D, C], C in the network's order: coefficients of the differences from the
        likeliest class, of each other leading one and of the mean of the rest."""
        images, classes = self.order.shape
        own, rest = self.leading - 1, classes - self.leading
        made = torch.zeros(images, own + bool(rest), classes)
        made[:, :, 0] = -1.0
        made[:, range(own), range(1, self.leading)] = 1.0
        if rest:
            made[:, own, self.leading :] = self.means[:, self.leading :].softmax(1).float()
        return torch.zeros_like(made).scatter_(2, self.order[:, None].expand_as(made), made)


@dataclass(frozen=True, eq=False)
class GaussianLogits:
    """The law of the logits of N images; see `LogitLaw`.

    Attributes:
        ranked: their means.
        covariance: float64 [N, D, D], of the differences in `RankedLogits.directions`.
        certain: nothing is random, so mutual information is not defined.
    """

    ranked: RankedLogits
    covariance: Tensor
    certain: bool = False

    @staticmethod
    def cat(parts: Sequence[GaussianLogits]) -> GaussianLogits:
        """Of the images of all parts."""
        order = torch.cat([one.ranked.order for one in parts])
        means = torch.cat([one.ranked.means for one in parts])
        covariance = torch.cat([one.covariance for one in parts])
        return GaussianLogits(RankedLogits(order, means), covariance, parts[0].certain)

    def take(self, index: Tensor) -> GaussianLogits:
        """See `LogitLaw`."""
        ranked = RankedLogits(self.ranked.order[index], self.ranked.means[index])
        return GaussianLogits(ranked, self.covariance[index], self.certain)

    def nodes(self) -> Iterator[Tensor]:
        """The quadrature's logits, of equal weight, float64 [POINTS, n, C], of some images each."""
        classes = self.ranked.order.shape[1]
        rank = torch.arange(classes).clamp(max=self.ranked.leading)
        diagonal = self.covariance.diagonal(dim1=1, dim2=2)
        ridge = _RIDGE * diagonal.amax(1, keepdim=True).expand_as(diagonal) + _TINY
        factors = torch.linalg.cholesky(self.covariance + torch.diag_embed(ridge))
        size = max(1, NODE_BYTES // (8 * POINTS * classes))
        for index in torch.arange(len(factors)).split(size):
            moved = normal_nodes(factors.shape[1]) @ factors[index].mT
            moved = functional.pad(moved, (1, 0))[:, :, rank]
            logits = self.ranked.means[index, None] + moved
            place = self.ranked.order[index].argsort(1)
            yield logits.gather(2, place[:, None].expand_as(logits)).transpose(0, 1)

    @property
    def forms(self) -> Sequence[str]:
        """See `LogitLaw`: each logit is divided, whatever is integrated over."""
        return (PASSES,)

    def fit(self, labels: Tensor, mc: int = 1, forms: Sequence[str] | None = None) -> Temperature:
        """See `LogitLaw`."""

        def nll(log_tau: float) -> float:
            each = [
                mean_nll(nodes * math.exp(-log_tau), those) * len(those)
                for nodes, those in self._beside(labels)
            ]
            return sum(each) / len(labels)

        return minimised(nll, PASSES, labels)

    def summary(
        self,
        mc: int = 1,
        temperature: Temperature | ImageTemperatures | None = None,
        groups: bool = False,
    ) -> Summary:
        """See `LogitLaw`. T is 1, for no Monte Carlo passes are averaged, and there are no groups
        of them."""
        tau = torch.ones(len(self.covariance)) if temperature is None else temperature.tau
        each = torch.as_tensor(tau, dtype=torch.float64).expand(len(self.covariance))
        parts = [
            _integrated(nodes / those[:, None], self.certain) for nodes, those in self._beside(each)
        ]
        return Summary.cat(parts)

    def derivatives(self, labels: Tensor, temperature: Temperature) -> Derivatives:
        """See `LogitLaw`."""
        parts = [derivatives(*part, temperature) for part in self._beside(labels)]
        return Derivatives.cat(parts)

    def _beside(self, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The nodes of some images each, and their values of [N]."""
        start = 0
        for nodes in self.nodes():
            yield nodes, values[start : (start := start + nodes.shape[1])]


def _integrated(nodes: Tensor, certain: bool) -> Summary:
    """`loop.summarise` of all nodes at once."""
    log_p = nodes.log_softmax(-1)
    expected = -(log_p.exp() * log_p).sum(-1).mean(0)
    # Rounding of the log-sum-exp may end an ulp above log 1.
    log_probs = (log_p.logsumexp(0) - math.log(len(nodes))).clamp_(max=0.0)
    probs = log_probs.exp()
    entropy = -(probs * log_probs).sum(-1)
    # Jensen: never negative but for rounding.
    mutual = None if certain else (entropy - expected).clamp_(min=0.0)
    return Summary(1, probs, log_probs, entropy, expected, mutual)


@lru_cache(maxsize=LEADING)
def normal_nodes(dimensions: int) -> Tensor:
    """Nodes of equal weight for the standard normal distribution, float64 [POINTS, dimensions]."""
    points = torch.quasirandom.SobolEngine(dimensions).draw(POINTS, dtype=torch.float64)
    nodes: Tensor = torch.special.ndtri(points + 0.5 / POINTS)
    root = torch.linalg.cholesky(nodes.mT @ nodes / POINTS)
    return torch.linalg.solve_triangular(root, nodes.mT, upper=False).mT
