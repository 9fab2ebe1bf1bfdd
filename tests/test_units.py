"""Independent units: one resampling unit everywhere, and how few are too few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from margins import MARGINS
from pairing import each
from records_made import changed
from report import factory
from scipy import stats
from shift.shift_factory import cell, record

from sigmabench.harness.core import words as text
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.units import ALPHA, LEAST_UNITS, RARE, Units, too_few
from sigmabench.harness.report.quality_sheets import paired as paired_sheets
from sigmabench.harness.report.rendering import markdown
from sigmabench.harness.report.rows import sections
from sigmabench.harness.stats import equivalence as module
from sigmabench.harness.stats.blocks import BLOCKS, shares_of
from sigmabench.harness.stats.equivalence import equivalence
from sigmabench.harness.stats.paired import paired
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.studies.ablation.analyse import _intervals
from sigmabench.harness.studies.compare.document import score_sheet
from sigmabench.harness.studies.compare.measure import compare
from sigmabench.harness.studies.shift.analyse import ShiftFindings, claims
from sigmabench.harness.studies.shift.document import document


def test_a_stated_number_of_images_takes_no_memory():
    assert Units.of(1 << 50).count == 1 << 50
    with pytest.raises(UserError, match="sources of shape"):
        Units.of(1 << 50, [0, 1])


def test_units_are_numbered_and_summed_like_a_loop_over_them():
    sources = np.array([7, -1, 7, 3, -1, 7])
    units = Units.of(6, sources)
    values = np.arange(12.0).reshape(6, 2)
    assert units.count == 3
    assert units.sizes.tolist() == [2, 1, 3]
    loop = [values[sources == s].sum(axis=0) for s in (-1, 3, 7)]
    np.testing.assert_array_equal(units.sums(values), loop)
    assert Units.of(4).which.tolist() == [0, 1, 2, 3]
    with pytest.raises(UserError, match="4 images but sources of shape"):
        Units.of(4, sources)


def study(images, sources=None, seed=0):
    """FP32 and INT8 on the same images, each `sources` times where that is a number."""
    rng = np.random.default_rng(seed)
    made = []
    for name in ("FP32", "INT8"):
        values = {
            "confidence": rng.uniform(0.3, 1.0, images),
            "correct": rng.random(images) < 0.8,
            "nll": rng.gamma(1.0, 0.4, images),
        }
        if sources is not None:
            which = np.tile(np.arange(images), sources)
            values = {name: value[which] for name, value in values.items()} | {"source": which}
        made.append(record(cell(format=name, corruption="fog", severity=1), values))
    (found,) = results(made)
    return found


def test_copies_of_images_tell_a_study_no_more_than_the_images():
    once, eight = (equivalence(study(90, n), resamples=300) for n in (None, 8))
    for a, b in zip(once, eight, strict=True):
        assert (a.units, b.units) == (90, 90)
        assert b.images == 720
        assert (b.effect, b.low, b.high) == pytest.approx((a.effect, a.low, a.high))
        assert b.p == pytest.approx(a.p)


def test_copies_of_images_tell_a_run_and_an_ablation_no_more():
    rng = np.random.default_rng(1)
    mine, other = (each(rng.random(60) < 0.8, rng.gamma(1.0, size=60)) for _ in range(2))
    which = torch.arange(60).repeat(8)
    eight = [{name: of[which] for name, of in one.items()} for one in (mine, other)]
    a = paired("FP32", [mine], [other])
    b = paired("FP32", [eight[0]], [eight[1]], which)
    assert (a.units, b.units) == (60, 60)
    for name, interval in a.intervals.items():
        assert b.intervals[name] == pytest.approx(interval)
    values = np.stack([mine["accuracy"], other["accuracy"]], axis=1)
    for correctness in (True, False):
        one = _intervals(values, Units.of(60), 100, correctness)
        many = _intervals(values[which], Units.of(480, which), 100, correctness)
        for a, b in zip(one, many, strict=True):
            assert (b.low, b.high) == pytest.approx((a.low, a.high))


def test_one_unit_tells_no_error_and_no_accuracy_is_beyond_100_points():
    for images, sources in ((1, None), (1, 100)):
        outcomes = equivalence(study(images, sources), resamples=50)
        assert {(o.low, o.high, o.verdict) for o in outcomes} == {(None, None, "not judged")}
    one = each(np.array([True]), np.array([0.1]))
    found = paired("FP32", [one], [one])
    assert found.intervals == {"accuracy_percent": None, "nll_nats": None, "brier": None}
    two = [each(np.array([r, not r]), np.zeros(2)) for r in (True, False)]
    assert paired("FP32", [two[0]], [two[1]]).intervals["accuracy_percent"] == (-100.0, 100.0)
    assert _intervals(np.ones((1, 1)), Units.of(1), 50, True)[0].low is None


def test_too_few_units_are_not_judged_and_it_is_said():
    few = study(LEAST_UNITS - 1)
    outcomes = equivalence(few, resamples=50)
    assert {o.verdict for o in outcomes} == {"not judged"}
    assert not any(o.p or o.p_holm for o in outcomes)
    assert all(o.low < o.effect < o.high for o in outcomes)
    why = f"not judged: {LEAST_UNITS - 1} independent images, {LEAST_UNITS} needed"
    records = [record for group in few.records.values() for record in group]
    found = ShiftFindings("synthetic", records, few, outcomes, None)
    assert why in markdown(document(found))
    assert claims(outcomes)[0].endswith(f"{why}.")
    assert too_few(1).startswith("1 independent image, ")
    assert {o.verdict for o in equivalence(study(LEAST_UNITS), resamples=50)} != {"not judged"}


def test_compare_counts_units_and_judges_too_few_not_at_all():
    def side(accuracy, units):
        one = factory.record(format="INT8")
        scores = {"accuracy": (accuracy, accuracy + 0.1, accuracy + 0.2)}
        return [changed(one, quality=replace(one.body.quality, scores=scores, units=units))]

    def judged(units):
        found = compare(side(90.0, units), side(50.0, units), metrics=["accuracy"])
        return found, found.scores[0]

    (_, many), (_, some), (few, none) = judged(None), judged(100), judged(10)
    width = [np.ptp(score.test_set_ci95) for score in (many, some)]
    assert width[1] > width[0]
    assert (many.verdict, some.verdict, none.verdict) == ("worse", "worse", "not judged")
    assert any("not judged: 10 independent images" in note for note in few.notes)
    assert judged(1)[1].test_set_ci95 is None


def rare_loss(count, studies, rng):
    """[studies, count] losses, all of twice the margin in a share `RARE` of the images."""
    return 2 * MARGINS["nll"] / RARE * (rng.random((studies, count)) < RARE)


def test_the_least_number_of_units_is_the_one_of_its_derivation():
    assert (1 - RARE) ** LEAST_UNITS <= ALPHA / 2 < (1 - RARE) ** (LEAST_UNITS - 1)


@pytest.mark.parametrize(("units", "most"), [(LEAST_UNITS, ALPHA), (20, 1.0)])
def test_a_rare_loss_is_called_equivalent_less_than_once_in_twenty(units, most):
    """By Student's one-sided test, which is what a sample without spread would pass."""
    losses = rare_loss(units, 4000, np.random.default_rng(2))
    error = np.maximum(losses.std(axis=1, ddof=1) / np.sqrt(units), 1e-12)
    claims_ = stats.t.sf((MARGINS["nll"] - losses.mean(axis=1)) / error, units - 1) <= ALPHA
    assert claims_.mean() <= most
    if units < LEAST_UNITS:
        assert claims_.mean() > 0.3


@pytest.mark.parametrize(("units", "least", "most"), [(LEAST_UNITS, 0, 20), (20, 60, 200)])
@pytest.mark.parametrize("metric", ["nll", "ece"])
def test_the_studys_own_test_calls_a_rare_loss_equivalent_no_more_often(
    metric, units, least, most, monkeypatch
):
    """200 studies; more than 20 claims at a level of 5 % come once in 1,500."""
    monkeypatch.setattr(module, "too_few", lambda _: "")
    rng = np.random.default_rng(3)
    claims_ = 0
    for _ in range(200):
        values = {
            "confidence": np.full(units, 0.3),
            "correct": np.ones(units, bool),
            "nll": np.ones(units),
        }
        lost = rare_loss(units, 1, rng)[0] * MARGINS[metric] / MARGINS["nll"]
        if metric == "nll":
            after = values | {"nll": values["nll"] + lost}
        else:
            after = values | {"confidence": values["confidence"] - lost / 100}
        made = [
            record(cell(format=name, corruption="fog", severity=1), one)
            for name, one in (("FP32", values), ("INT8", after))
        ]
        (found,) = results(made)
        outcomes = {o.metric: o for o in equivalence(found, resamples=200)}
        claims_ += outcomes[metric].p["equivalent"] <= ALPHA
    assert least <= claims_ <= most


def test_tables_say_how_many_images_are_independent():
    one = factory.record(format="INT8")
    images = one.body.quality.images
    few = changed(one, quality=replace(one.body.quality, units=images // 2))
    assert sections([few])[0].title.endswith(f"{images:,} images, {images // 2:,} independent")
    assert sections([one])[0].title.endswith(f"{images:,} images")
    scores = score_sheet(compare([few], [few]), {}, {})
    assert f"On {images // 2:,} independent images." in scores.notes[0]


def test_a_tables_interval_that_ends_at_what_is_possible_is_shown_by_its_ends():
    """Of 1 loss in 2 images, ± half of its width would reach beyond 100 points."""
    sides = [each(np.array([right, True]), np.zeros(2)) for right in (False, True)]
    one = changed(factory.record(format="INT8"), paired=paired("FP32", *([s] for s in sides)))
    low, high = one.body.paired.intervals["accuracy_percent"]
    assert (low, high > -50.0) == (-100.0, True)
    (sheet,) = paired_sheets(sections([one])[0])
    assert sheet.rows[0][3] == f"−50.00 (−100.00 … {text.signed(high, 2)})"
    assert "in brackets the whole interval" in sheet.notes[0]


@pytest.mark.parametrize("images", [1, 5, BLOCKS, BLOCKS + 7, 1000])
def test_blocks_have_the_share_that_dealing_images_in_turn_gives(images: int):
    dealt = np.bincount(np.arange(images) % BLOCKS) / images
    assert shares_of(Units.of(images)).tolist() == dealt.tolist()
    assert shares_of(Units.of(images, np.arange(images)[::-1])).tolist() == dealt.tolist()
