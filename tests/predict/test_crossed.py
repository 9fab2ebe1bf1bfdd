"""Temperatures of halves: each is the other's, and what another sample would have given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sigmabench.harness.data.units import Units
from sigmabench.harness.predict import crossed
from sigmabench.harness.predict.logit_law import LogitsOfPasses
from sigmabench.harness.predict.newton import Derivatives
from sigmabench.harness.predict.temperature import fit_temperature, tempered
from sigmabench.harness.stats.refitted import Side, nll_difference


def drawn(images: int, passes: int = 3, seed: int = 0) -> tuple[LogitsOfPasses, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    known = 2 * torch.randn((images, 4), generator=generator)
    labels = torch.multinomial(known.softmax(-1), 1, generator=generator)[:, 0]
    noise = torch.randn((passes, images, 4), generator=generator)
    return LogitsOfPasses(1.5 * known + noise), labels


def test_halves_of_fewer_images_are_those_of_more() -> None:
    assert crossed.halves_of(500)[:100].equal(crossed.halves_of(100))
    assert 200 < int(crossed.halves_of(500).sum()) < 300


def test_each_half_has_the_temperature_of_the_other() -> None:
    law, labels = drawn(90)
    half = crossed.halves_of(90)
    pair = crossed.fit(law, labels, half, 3)
    for own in (0, 1):
        other = half != own
        form = (pair[own].form,)
        assert pair[own] == fit_temperature(law.logits[:, other], labels[other], form)
    assert pair[0].form == pair[1].form
    found = law.summary(3, crossed.per_image(half, pair))
    for image in range(90):
        alone = tempered(law.logits[:, image : image + 1], pair[int(half[image])])
        torch.testing.assert_close(found.probs[image], alone.probs[0])
        torch.testing.assert_close(found.entropy[image], alone.entropy[0])
    own, helped = crossed.derivatives(law, labels, half, pair)
    np.testing.assert_allclose(own.nll, found.nll(labels).numpy(), rtol=1e-9)
    for side in (0, 1):
        those = (half != side).numpy()
        assert abs(helped.slope[those].mean()) < 1e-4  # the fit's own images are at a minimum


def test_images_of_one_half_alone_are_scored_too() -> None:
    law, labels = drawn(30)
    half = crossed.halves_of(30)
    pair = crossed.fit(law, labels, half, 1)
    first = (half == 0).nonzero().flatten()
    found = law.take(first).summary(1, crossed.per_image(half[first], pair))
    torch.testing.assert_close(found.probs, law.take(first).summary(1, pair[0]).probs)


def _side(law: LogitsOfPasses, labels: torch.Tensor, half: torch.Tensor) -> Side:
    pair = crossed.fit(law, labels, half, 3)
    own, helped = crossed.derivatives(law, labels, half, pair)
    return Side([own], [helped], half.numpy())


def test_a_resample_is_fitted_again_half_by_half() -> None:
    """One step of Newton's method for a resample against fitting it again."""
    law, labels = drawn(1200, seed=4)
    half = crossed.halves_of(1200)
    side = _side(law, labels, half)
    rng = np.random.default_rng(1)
    for _ in range(3):
        index = torch.from_numpy(rng.integers(0, 1200, 1200))
        again = law.take(index)
        pair = crossed.fit(again, labels[index], half[index], 3)
        expected = again.summary(3, crossed.per_image(half[index], pair)).nll(labels[index]).mean()
        counts = np.bincount(index.numpy(), minlength=1200)[None].astype(float)
        assert side.drawn(counts, counts)[0] == pytest.approx(float(expected), abs=2e-4)


def test_errors_are_those_that_repetition_shows() -> None:
    values, errors = [], []
    for seed in range(40):
        law, labels = drawn(400, seed=seed)
        other = LogitsOfPasses(law.logits[:1])
        half = crossed.halves_of(400)
        one = crossed.fit(other, labels, half, 1)
        own, helped = crossed.derivatives(other, labels, half, one)
        mean = Side([own], [helped], half.numpy())
        units = Units.of(400)
        found = nll_difference(_side(law, labels, half), mean, units, units)
        values.append(found.value)
        errors.append(found.images.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3)


def test_derivatives_are_chosen_image_by_image() -> None:
    each = [Derivatives(*(np.full(3, k) for k in (1.0, 2.0, 3.0))) for _ in range(2)]
    each[1] = Derivatives(*(np.full(3, -k) for k in (1.0, 2.0, 3.0)))
    found = crossed._chosen(each, np.array([True, False, True]))
    assert found.nll.tolist() == [1.0, -1.0, 1.0]
    assert found.curvature.tolist() == [3.0, -3.0, 3.0]
