"""Temperatures of images that are fitted and scored both: each half by what the other one says.

Where no images are held out of training, those to be scored are parted at random. The temperature
of one half is fitted on the other, both ways, so that no image is scored with what it was fitted by
(cross-fitting; Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions", JRSS B
36, 1974).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .newton import Derivatives
from .predicted import Summary

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


def summary(law: LogitLaw, half: Tensor, mc: int, pair: Sequence[Temperature]) -> Summary:
    """The predictive distribution, each image with the temperature of its half."""
    index = [(half == own).nonzero().flatten() for own in HALVES]
    there = [(places, one) for places, one in zip(index, pair, strict=True) if len(places)]
    joined = Summary.cat([law.take(places).summary(mc, one) for places, one in there])
    return _taken(joined, torch.cat([places for places, _ in there]).argsort())


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


def _taken(found: Summary, index: Tensor) -> Summary:
    """Images in another order."""
    mutual = found.mutual_information
    return replace(
        found,
        probs=found.probs[index],
        log_probs=found.log_probs[index],
        entropy=found.entropy[index],
        expected_entropy=found.expected_entropy[index],
        mutual_information=None if mutual is None else mutual[index],
    )
