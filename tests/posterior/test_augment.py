"""Augmentations whose effect on an image can be told exactly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sigmabench.harness.posterior.augment import (
    Augmentation,
    Lighting,
    Magnification,
    Staining,
    Symmetries,
)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand((64, 1, 12, 12), generator=draws(1))


@pytest.mark.parametrize("one", [Symmetries(), Lighting(), Magnification(), Staining()])
def test_it_is_seeded_stays_in_range_and_leaves_its_input(
    one: Augmentation, pixels: Tensor
) -> None:
    before = pixels.clone()
    first, again, other = one(pixels, draws()), one(pixels, draws()), one(pixels, draws(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(pixels, before)
    assert first.shape == pixels.shape
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


def test_symmetries_are_the_eight_of_the_square() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3) / 9
    seen = {
        tuple(one.flatten().tolist()) for one in Symmetries()(image.repeat(200, 1, 1, 1), draws())
    }
    expected = {
        tuple(torch.rot90(flipped, turn, (0, 1)).flatten().tolist())
        for flipped in (image[0, 0], image[0, 0].flip(1))
        for turn in range(4)
    }
    assert seen == expected


def test_staining_is_a_power_that_is_one_for_an_image(pixels: Tensor) -> None:
    """Optical densities −log x of an image all change by one factor, within 1 / change … change."""
    stained = Staining(1.5)(pixels, draws())
    factor = (stained.log() / pixels.log()).flatten(1)
    assert float((factor.amax(1) - factor.amin(1)).max()) < 1e-3
    logs = factor.mean(1).log()
    assert float(logs.abs().max()) <= math.log(1.5) + 1e-4
    assert float(logs.min()) < -0.3 < 0.3 < float(logs.max())
    assert torch.equal(Staining(1.5)(torch.ones(2, 1, 2, 2), draws()), torch.ones(2, 1, 2, 2))


def test_magnification_moves_a_radius_by_its_factor() -> None:
    """A pixel's distance from the centre stands in it, so an image shows its own magnification."""
    line = (torch.arange(33) - 16.0) / 16
    cone = (line[:, None].square() + line.square()).sqrt().expand(40, 1, 33, 33) / 2
    seen = Magnification(1.25)(cone, draws())
    ratio = (seen / cone)[:, 0, 16, 18:28]
    assert float((ratio.amax(1) - ratio.amin(1)).max()) < 0.02
    logs = ratio.mean(1).log()
    assert float(logs.abs().max()) <= math.log(1.25) + 0.02
    assert float(logs.min()) < -0.1 < 0.1 < float(logs.max())


def test_magnification_shows_no_border() -> None:
    white = torch.ones(20, 1, 8, 8)
    assert torch.allclose(Magnification(2.0)(white, draws()), white)


def test_lighting_is_linear_where_nothing_is_cut_off() -> None:
    gray = torch.tensor([0.4, 0.5, 0.6]).expand(50, 1, 1, 3)
    lit = Lighting(0.1, 0.2)(gray, draws())[:, 0, 0]
    assert torch.allclose(lit[:, 2] - lit[:, 1], lit[:, 1] - lit[:, 0], atol=1e-6)
    assert float((lit[:, 1] - 0.5).abs().max()) <= 0.1
    slopes = (lit[:, 2] - lit[:, 0]) / 0.2
    assert 0.8 <= float(slopes.min()) < 0.9 < 1.1 < float(slopes.max()) <= 1.2001
