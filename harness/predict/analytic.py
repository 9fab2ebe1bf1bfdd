"""The analytic pass: a predictive distribution from the moments of the logits, without draws.

`linearised` gives the logits' means and covariance; with them the logits are taken as jointly
Gaussian, and `gaussian` integrates softmax.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..backends.base import check_call, check_finite
from ..backends.divided import torch_threads
from ..core.errors import UserError
from ..machine.torch_state import plain
from .gaussian import LEADING, GaussianLogits, RankedLogits
from .linearised import MomentNetwork
from .predicted import Summary

if TYPE_CHECKING:
    from ..data.given import Given
    from ..quantize.fold import FloatModel

CHUNK_BYTES = 1 << 24  # of the largest tensors of the images that are computed at once


class AnalyticPredictor:
    """See `Summarizer` and the module. Moments are float32, their quadrature is float64.

    T of its summaries is 1, since no Monte Carlo
    passes are averaged; mutual information, that of the label and the Gaussian logits, is defined
    all the same, and None only where the network has no σ at all.

    Args:
        model: the folded posterior. Layers without a σ are allowed.
        threads: that PyTorch may use.

    Raises:
        UserError: an operation has no closed-form moments, and the message names it; or the network
            has fewer than two classes.
    """

    def __init__(self, model: FloatModel, threads: int = 1) -> None:
        self.graph, self.threads = model.graph, threads
        self._network = MomentNetwork(model)
        if math.prod(model.graph.activations[model.graph.output].shape) < 2:
            raise UserError(
                "The network has one output; a predictive distribution needs at least two classes."
            )
        largest = max(math.prod(one.shape) for one in model.graph.activations.values())
        self._images = max(1, CHUNK_BYTES // (4 * LEADING * largest))

    def summary(self, x: Given) -> Summary:
        """See `Summarizer`.

        Raises:
            UserError: as `law`.
        """
        return self.law(x).summary()

    @plain
    @torch.no_grad()
    def law(self, x: Given) -> GaussianLogits:
        """See `Summarizer`.

        Raises:
            UserError: the images do not fit the network, or a mean or a variance is not finite.
        """
        images = check_call(x, self.graph, 0, range(1))
        check_finite(images)
        with torch_threads(self.threads):
            return GaussianLogits.cat([self._part(one) for one in images.split(self._images)])

    @plain
    @torch.no_grad()
    def logit_moments(self, x: Given) -> tuple[Tensor, Tensor]:
        """Mean, float32 [N, C], and covariance, float64 [N, C, C], of the logits of C classes. The
        cost grows with C, and memory with C · N.

        Raises:
            UserError: the images do not fit the network.
        """
        images = check_call(x, self.graph, 0, range(1))
        found = self._network.forward(images)
        mean = found.logits.mean.detach().flatten(1)
        directions = torch.eye(mean.shape[1]).expand(len(images), -1, -1)
        return mean, self._network.covariance(found, directions)

    def _part(self, x: Tensor) -> GaussianLogits:
        found = self._network.forward(x)
        ranked = RankedLogits.of(found.logits.mean.detach().flatten(1))
        covariance = self._network.covariance(found, ranked.directions())
        for what, values in (("mean", ranked.means), ("variance", covariance)):
            if not bool(torch.isfinite(values).all()):
                raise UserError(
                    f"The analytic pass gave a logit a {what} that is NaN or infinite; check the "
                    "posterior for values that are not finite or are too large."
                )
        return GaussianLogits(ranked, covariance, self._network.certain)
