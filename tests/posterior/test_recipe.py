from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior.augment import CropAndFlip, RandomAffine
from sigmabench.harness.posterior.recipe import OneCycle, Piecewise, Recipe

RECIPE = Recipe(name="r", description="for tests")


def test_piecewise_factors_multiply_the_initial_rate() -> None:
    schedule = Piecewise((40, 60), (0.1, 0.01))
    factors = [schedule.factor(epoch, 80) for epoch in (0, 39.9, 40, 59.9, 60, 79.9)]
    assert factors == [1, 1, 0.1, 0.1, 0.01, 0.01]


def test_one_cycle_is_pytorchs() -> None:
    steps = 101
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps, pct_start=0.3, div_factor=20, final_div_factor=50
    )
    schedule = OneCycle(rise=29.3 / 100, start=1 / 20, end=1 / 1000)
    # PyTorch peaks at step pct_start · steps − 1 and ends at step steps − 1.
    for step in range(steps):
        expected = optimizer.param_groups[0]["lr"]
        assert schedule.factor(step, steps - 1) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            reference.step()


def test_kl_warmup_rises_linearly_to_the_temperature() -> None:
    recipe = replace(RECIPE, kl_temperature=0.5, kl_warmup=10.0)
    assert [recipe.temperature(e) for e in (0, 5, 10, 30)] == [0, 0.25, 0.5, 0.5]
    assert replace(recipe, kl_warmup=0.0).temperature(0) == 0.5


def test_metadata_survives_json() -> None:
    recipe = replace(
        RECIPE, schedule=Piecewise((4,), (0.1,)), augmentation=RandomAffine(rotation=5)
    )
    facts = recipe.as_metadata()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["schedule"] == {"kind": "Piecewise", "epochs": [4], "factors": [0.1]}
    assert facts["augmentation"]["kind"] == "RandomAffine"
    assert facts["augmentation"]["rotation"] == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch", 0),
        ("epochs", -1),
        ("threads", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("prior_std", -1.0),
        ("initial_std", 0.0),
        ("kl_temperature", -0.1),
        ("kl_warmup", -1.0),
        ("kl_warmup", float("nan")),
        ("weight_decay", float("nan")),
        ("weight_decay", float("inf")),
        ("optimizer", "lion"),
        ("precision", "fp8"),
        ("delta", 0.0),
        ("sigma_scale", 0.0),
        ("sigma_scale", float("inf")),
        ("rho_lr", -1.0),
        ("dropout", 0.1),
        ("dropout_at", ("fc",)),
    ],
)
def test_bad_fields_are_named(field: str, value: object) -> None:
    with pytest.raises(UserError, match=field):
        replace(RECIPE, **{field: value})


def test_dropout_has_a_rate_and_layers_and_both_are_told() -> None:
    recipe = replace(RECIPE, dropout=0.25, dropout_at=("conv2", "fc"))
    facts = recipe.as_metadata()
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["dropout"], facts["dropout_at"]) == (0.25, ["conv2", "fc"])
    assert "dropout" not in RECIPE.as_metadata()
    with pytest.raises(UserError, match=r"dropout 1 and dropout_at .* give a probability below 1"):
        replace(recipe, dropout=1, dropout_at=("fc",))


def test_piecewise_needs_a_factor_for_each_epoch() -> None:
    with pytest.raises(UserError, match="one factor for each"):
        Piecewise((1, 2), (0.1,))


def test_affine_without_range_is_the_identity() -> None:
    pixels = torch.rand(3, 2, 9, 7)
    found = RandomAffine(0, 0, 0, 0)(pixels, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, pixels, atol=1e-5, rtol=0)


def test_affine_shift_is_in_pixels_and_fills_with_black() -> None:
    pixels = torch.zeros(500, 1, 15, 15)
    pixels[:, 0, 7, 7] = 1
    moved = RandomAffine(0, 0, 0, 3)(pixels, torch.Generator().manual_seed(0))
    at = torch.arange(15.0)
    for axis in (2, 3):
        profile = moved.sum(5 - axis).squeeze(1)
        offset = (profile * at).sum(1) / profile.sum(1) - 7
        assert 2.5 < float(offset.abs().max()) <= 3 + 1e-4
        assert abs(float(offset.mean())) < 0.4
    edge = RandomAffine(0, 0, 0, 3)(torch.ones(500, 1, 15, 15), torch.Generator().manual_seed(0))
    assert float(edge.min()) == 0


def test_affine_rotates_by_at_most_the_angle_and_does_not_squash() -> None:
    pixels = torch.zeros(300, 1, 41, 41)
    pixels[:, 0, 20, 30] = 1
    moved = RandomAffine(20, 0, 0, 0)(pixels, torch.Generator().manual_seed(2))
    at = torch.arange(41.0) - 20
    total = moved.sum((1, 2, 3))
    x = (moved.sum((1, 2)) * at).sum(1) / total
    y = (moved.sum((1, 3)) * at).sum(1) / total
    angle = torch.rad2deg(torch.atan2(y, x))
    assert 18 < float(angle.abs().max()) < 21
    torch.testing.assert_close(torch.hypot(x, y), torch.full((300,), 10.0), atol=0.3, rtol=0)


def test_affine_follows_the_generator() -> None:
    pixels = torch.rand(4, 1, 8, 8)
    draws = [RandomAffine()(pixels, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_what_came_later_is_told_only_where_it_is_used() -> None:
    assert not {"precision", "delta", "deterministic", "rho_lr", "sigma_scale"} & set(
        RECIPE.as_metadata()
    )
    assert replace(RECIPE, precision="bf16", delta=0.1).as_metadata()["delta"] == 0.1


@pytest.mark.parametrize("flip", [True, False])
def test_crop_and_flip_is_the_loop_over_images(flip: bool) -> None:
    pixels = torch.rand(40, 3, 7, 9)
    found = CropAndFlip(2, flip)(pixels, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    top, left = (torch.randint(5, (40, 1), generator=generator) for _ in range(2))
    mirrored = torch.rand((40, 1), generator=generator) < 0.5
    padded = torch.nn.functional.pad(pixels, (2, 2, 2, 2))
    for i, image in enumerate(padded):
        y, x = int(top[i]), int(left[i])
        expected = image[:, y : y + 7, x : x + 9]
        if flip and mirrored[i]:
            expected = expected.flip(-1)
        assert torch.equal(found[i], expected)
    assert flip == (not torch.equal(CropAndFlip(0, flip)(pixels, generator), pixels))
