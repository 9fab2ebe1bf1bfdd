"""One temperature for a predictive distribution, fitted on validation images.

A network's logits f divided by τ give softmax(f / τ): τ > 1 makes it less sure, τ < 1 surer, and of
one pass no prediction changes (Guo et al., "On Calibration of Modern Neural Networks", 2017,
equation 9). T passes can be tempered in two places:

    passes     p̄ = (1/T) Σ_t softmax(f_t / τ)
    average    p̄ ∝ ((1/T) Σ_t softmax(f_t))^(1/τ)

Of one pass they are the same. τ minimises the negative log-likelihood (NLL) of the labels, and of
the two the one with the lower NLL is taken. Vector scaling (same paper, section 4.2) has a scale
and a bias for each class instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import UserError
from .loop import summarise
from .newton import MOST, Derivatives
from .predicted import Summary

F64 = NDArray[np.float64]

PASSES, AVERAGE = "passes", "average"
FORMS = (PASSES, AVERAGE)
#: Of log τ.
TOLERANCE = 1e-6
STEPS = 200  # of L-BFGS, for vector scaling


@dataclass(frozen=True)
class Temperature:
    """What logits or averages are divided by.

    Attributes:
        tau: τ, from 1 / `MOST` to `MOST`.
        form: `passes` or `average`.
        nll: mean NLL of the images that it was fitted on, nats.
        nll_without: the same at τ = 1.
        images: that it was fitted on.
    """

    tau: float
    form: str
    nll: float
    nll_without: float
    images: int

    @property
    def divisor(self) -> float:
        """See `ImageTemperatures`."""
        return self.tau


@dataclass(frozen=True, eq=False)
class ImageTemperatures:
    """Temperatures of single images, applied in one place.

    Attributes:
        tau: [N] float64.
        form: as of `Temperature`.
    """

    tau: Tensor
    form: str

    def take(self, index: slice) -> ImageTemperatures:
        """Of some of the images."""
        return ImageTemperatures(self.tau[index], self.form)

    @property
    def divisor(self) -> Tensor:
        """What logits [..., N, C] are divided by."""
        return self.tau[:, None]


@dataclass(frozen=True, eq=False)
class VectorScaling:
    """Logits scale · f + bias, class by class.

    Attributes:
        scale: [C] float64.
        bias: [C] float64, of mean 0: what all classes have in common changes nothing.
        nll: as of `Temperature`.
        images: as of `Temperature`.
    """

    scale: Tensor
    bias: Tensor
    nll: float
    images: int

    def applied(self, logits: Tensor) -> Tensor:
        """Scaled logits, float64, in the shape of `logits`, [..., C]."""
        return logits.double() * self.scale + self.bias


def _given(logits: Tensor, form: str) -> Tensor:
    """What is divided by τ, [T, N, C] float64: every pass, or the log of their average as one."""
    return logits.double() if form == PASSES else _averaged(logits.double())[None]


def _averaged(logits: Tensor) -> Tensor:
    """log p̄, [N, C]."""
    return torch.logsumexp(torch.log_softmax(logits, dim=-1), dim=0) - math.log(len(logits))


def fit_temperature(logits: Tensor, labels: Tensor, forms: Sequence[str] = FORMS) -> Temperature:
    """The temperature, and where it is applied, of the lowest NLL.

    Args:
        logits: [T, N, C] floating point, of validation images.
        labels: [N] integer class indices.
        forms: to choose from; of one pass they are the same, and it is `passes`.

    Raises:
        UserError: there is no image.
    """
    _check(logits, labels)
    if len(logits) == 1:
        forms = (PASSES,)
    found = [_fitted(logits, labels, form) for form in forms]
    return min(found, key=lambda one: one.nll)


def _fitted(logits: Tensor, labels: Tensor, form: str) -> Temperature:
    given = _given(logits, form)
    return minimised(lambda log_tau: mean_nll(given * math.exp(-log_tau), labels), form, labels)


def mean_nll(logits: Tensor, labels: Tensor) -> float:
    """Of the average of passes [T, N, C], nats."""
    return -float(_averaged(logits).gather(1, labels.long()[:, None]).mean())


def minimised(nll: Callable[[float], float], form: str, labels: Tensor) -> Temperature:
    """The temperature of the lowest NLL.

    Args:
        nll: log τ to the mean NLL of all images, nats.
        form: where it is applied.
        labels: of the images.
    """
    from scipy.optimize import minimize_scalar

    end = math.log(MOST)
    best = minimize_scalar(nll, bounds=(-end, end), method="bounded", options={"xatol": TOLERANCE})
    return Temperature(math.exp(best.x), form, float(best.fun), nll(0.0), len(labels))


def tempered(
    logits: Tensor,
    temperature: Temperature | ImageTemperatures,
    deterministic: bool = False,
    groups: bool = False,
) -> Summary:
    """The predictive distribution at a temperature.

    Mutual information and the expected entropy are those of the tempered passes; where the average
    is tempered there are none, so the first is None and the second that of the passes as they were.

    Args:
        logits: [T, N, C] floating point.
        temperature: fitted on other images.
        deterministic: the network draws nothing.
        groups: keep the sums over groups of the passes too (`halves.Groups`).
    """
    tau = temperature.divisor
    if temperature.form == PASSES:
        return summarise(logits.double() / tau, deterministic, groups)
    before = summarise(logits, deterministic, groups)
    found = torch.log_softmax(before.log_probs / tau, dim=-1)
    probs = found.exp()
    return Summary(
        T=before.T,
        probs=probs,
        log_probs=found,
        entropy=-(probs * found).sum(dim=-1),
        expected_entropy=before.expected_entropy,
        mutual_information=None,
        groups=None if before.groups is None else replace(before.groups, tau=tau),
    )


def derivatives(logits: Tensor, labels: Tensor, temperature: Temperature) -> Derivatives:
    """How the NLL of each image changes with s = log τ.

    Logits a = f / τ of a pass have ∂a/∂s = −a. With a_y the label's, E and V mean and variance of a
    over the classes under softmax(a), and m = a_y − E, its log-probability has the derivatives −m
    and m − V; those of the log of an average of passes follow.

    Args:
        logits: [T, N, C] floating point.
        labels: [N] integer class indices.
        temperature: around which.
    """
    given = _given(logits, temperature.form) / temperature.tau
    logs = torch.log_softmax(given, dim=-1)
    probs = logs.exp()
    mean = (probs * given).sum(dim=-1)
    variance = (probs * (given - mean[..., None]).square()).sum(dim=-1)
    index = labels.long()[None, :, None].expand(len(given), -1, 1)
    margin = given.gather(2, index)[..., 0] - mean
    log_prob = logs.gather(2, index)[..., 0]
    share = torch.softmax(log_prob, dim=0)
    first = -(share * margin).sum(dim=0)
    second = (share * (margin - variance + margin.square())).sum(dim=0) - first.square()
    nll = math.log(len(given)) - torch.logsumexp(log_prob, dim=0)
    return Derivatives(nll.numpy(), -first.numpy(), -second.numpy())


def fit_vector_scaling(logits: Tensor, labels: Tensor) -> VectorScaling:
    """Scale and bias of every class by maximum likelihood.

    Args:
        logits: [N, C] floating point, of one pass over validation images.
        labels: [N] integer class indices.

    Raises:
        UserError: there is no image, or a class has none, so that its bias has no optimum.
    """
    _check(logits[None], labels)
    classes = logits.shape[1]
    counts = torch.bincount(labels.long(), minlength=classes)
    if empty := int((counts == 0).sum()):
        raise UserError(
            f"{empty} of {classes} classes have no validation image, so vector scaling cannot be "
            "fitted; bring images of every class, or use one temperature."
        )
    given = logits.double()
    scale = torch.ones(classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [scale, bias], max_iter=STEPS, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        return torch.nn.functional.cross_entropy(given * scale + bias, labels.long())

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    optimizer.step(closure)
    with torch.no_grad():
        return VectorScaling(scale.detach(), bias - bias.mean(), float(loss()), len(labels))


def _check(logits: Tensor, labels: Tensor) -> None:
    if not len(labels):
        raise UserError(
            "There is no validation image, and a temperature is fitted on such; hold some out of "
            "training."
        )
    if logits.ndim != 3 or logits.shape[1] != len(labels):
        raise UserError(
            f"The logits have shape {tuple(logits.shape)} and there are {len(labels)} labels; give "
            "logits of shape [passes, images, classes] and one label for each image."
        )
