"""Temperatures of images that are fitted and scored both: each half by what the other one says.

Where no images are held out of training, those to be scored are parted at random. The temperature
of one half is fitted on the other, both ways, so that no image is scored with what it was fitted by
(cross-fitting; Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions", JRSS B
36, 1974).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .newton import Derivatives
from .temperature import ImageTemperatures

if TYPE_CHECKING:
    from .logit_law import LogitLaw
    from .temperature import Temperature

SEED = 2021
HALVES = (0, 1)


def halves_of(images: int) -> Tensor:
    """[N] uint8, which half each image is in: of any two numbers of images the same for those that
    both have."""
    drawn = np.random.default_rng(SEED).random(images) < 0.5
    return torch.from_numpy(drawn.astype(np.uint8))


def fit(law: LogitLaw, labels: Tensor, half: Tensor, mc: int) -> tuple[Temperature, ...]:
    """The temperature of each half, fitted on the other; both in one place, the one with the lower
    NLL of all images that temperatures are fitted on.

    Args:
        law: of N images.
        labels: [N].
        half: [N], see `halves_of`.
        mc: passes T.
    """
    others = [(half != own).nonzero().flatten() for own in HALVES]
    pairs = [
        tuple(law.take(index).fit(labels[index], mc, (form,)) for index in others)
        for form in law.forms
    ]
    return min(pairs, key=lambda pair: sum(one.nll * one.images for one in pair))


def per_image(half: Tensor, pair: Sequence[Temperature]) -> ImageTemperatures:
    """The temperature of each image, that of its half.

    Args:
        half: [N], see `halves_of`.
        pair: of both halves.
    """
    taus = torch.tensor([one.tau for one in pair], dtype=torch.float64)
    return ImageTemperatures(taus[half.long()], pair[0].form)


def derivatives(
    law: LogitLaw, labels: Tensor, half: Tensor, pair: Sequence[Temperature]
) -> tuple[Derivatives, Derivatives]:
    """Of each image at the temperature that it is scored with, and at the one that it helped to
    fit."""
    each = [law.derivatives(labels, one) for one in pair]
    first = half.numpy() == 0
    return _chosen(each, first), _chosen(each, ~first)


def _chosen(each: Sequence[Derivatives], first: np.ndarray) -> Derivatives:
    names = ("nll", "slope", "curvature")
    return Derivatives(*(np.where(first, *(getattr(one, n) for one in each)) for n in names))
