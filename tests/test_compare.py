"""Comparing two sets of records: finds what is there, and rarely what is not."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records_made import changed
from report import factory
from rich.console import Console
from scipy import stats

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.stats.latency import log_median_ratio
from sigmabench.harness.stats.significance import Estimate, holm, newcombe, wilson
from sigmabench.harness.studies.compare.document import comparison
from sigmabench.harness.studies.compare.measure import compare

FORMATS = ("FP32", "INT8", "INT8_SIGMA1")


def side(seed, slowdown=None, **changes):
    """The same cells with fresh noise; some formats slower."""
    rng = np.random.default_rng(seed)
    return [
        factory.record(
            rng,
            format=name,
            mc=mc,
            batch=batch,
            slowdown=(slowdown or {}).get(name, 1.0),
            **changes,
        )
        for name in FORMATS
        for mc in (1, 50)
        for batch in (1, 32)
    ]


def with_scores(record, **scores):
    """The record with some scores replaced."""
    quality = replace(record.body.quality, scores={**record.body.quality.scores, **scores})
    return changed(record, quality=quality)


def verdicts(found):
    formats = {cell.key: cell.format for cell in found.cells}
    return {(formats[item.key], item.verdict) for item in found.latency}


def test_a_slowdown_of_a_tenth_is_found_and_nothing_else():
    found = compare(side(1), side(2, {"INT8": 1.1}))
    assert verdicts(found) == {
        ("FP32", "none shown"),
        ("INT8", "slower"),
        ("INT8_SIGMA1", "none shown"),
    }
    slower = [item for item in found.latency if item.verdict == "slower"]
    assert all(item.ci95[0] < 1.1 < item.ci95[1] for item in slower)
    assert all(item.p_holm >= item.p_value for item in found.latency)


def test_turned_round_it_is_faster():
    found = compare(side(2, {"INT8": 1.1}), side(1))
    assert ("INT8", "faster") in verdicts(found)


def test_a_change_that_does_not_matter_is_not_called_one():
    calm = {"drift": 0.0005, "queries": 60}
    a, b = side(1, **calm), side(2, {"INT8": 1.01}, **calm)
    assert {verdict for _, verdict in verdicts(compare(a, b))} == {"none shown"}
    assert ("INT8", "slower") in verdicts(compare(a, b, smallest_effect=0.0))


def test_a_difference_just_beyond_detectable_is_shown():
    item = compare(side(1), side(2)).latency[0]
    a, b = side(1), side(2)

    def scaled(record, by):
        samples = tuple(round(v * by) for v in record.body.timing.latency_ns)
        return changed(record, timing=replace(record.body.timing, latency_ns=samples))

    for share, verdict in ((1.05, "slower"), (0.5, "none shown")):
        by = (1.0 + share * item.detectable) / item.ratio
        slower = compare(a, [scaled(b[0], by), *b[1:]])
        assert slower.latency[0].verdict == verdict


@pytest.mark.thorough
def test_no_difference_is_found_where_there_is_none():
    """Family-wise: the share of A/A comparisons with any verdict, even with no margin, is ≤ 5 %."""
    families = 40
    wrong = {0.0: 0, 0.02: 0}
    for seed in range(families):
        a, b = (side([seed, which], drift=0.02) for which in (0, 1))
        for margin in wrong:
            found = compare(a, b, smallest_effect=margin, seed=seed)
            wrong[margin] += any(item.verdict != "none shown" for item in found.latency)
    assert wrong[0.0] <= stats.binom.ppf(0.999, families, 0.05)
    assert wrong[0.02] <= 1


def test_p_values_of_equal_sides_are_uniform_or_larger():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(400):
        a, b = (factory.latencies(rng, 1e6, 8, 5, 0.02) for _ in range(2))
        p.append(log_median_ratio((b, a), ((5,) * 8,) * 2, rng).p_value(0.0))
    for level in (0.01, 0.05, 0.2):
        assert (np.array(p) < level).sum() <= stats.binom.ppf(0.999, 400, level)


def test_bootstrap_error_matches_the_asymptotic_one_of_independent_medians():
    rng = np.random.default_rng(4)
    n, sd = 400, 0.1
    a, b = np.exp(rng.normal(15, sd, (2, n))).astype(int).tolist()
    found = log_median_ratio((b, a), ((1,) * n,) * 2, rng)
    assert found.error == pytest.approx(sd * math.sqrt(math.pi / n), rel=0.2)
    assert found.value == pytest.approx(math.log(np.median(b) / np.median(a)))


def test_one_slow_slice_widens_the_interval():
    """A pooled bootstrap over queries would not see that a slice's queries share their fate."""
    rng = np.random.default_rng(5)
    a = factory.latencies(rng, 1e6, 10, 50, 0.05)
    whole = log_median_ratio((a, a), ((50,) * 10,) * 2, rng)
    pooled = log_median_ratio((a, a), ((1,) * 500,) * 2, rng)
    assert whole.error > 3 * pooled.error


def test_p_value_and_interval_agree_without_margin():
    for value in (0.02, 0.05, 0.08):
        estimate = Estimate(value, 0.02, 9.0)
        assert (estimate.p_value(0.0) < 0.05) == (estimate.interval()[0] > 0)
        assert estimate.p_value(0.0) == pytest.approx(2 * stats.t.sf(value / 0.02, 9))
    assert Estimate(0.0, 0.0, 3).p_value(0.02) == 1.0
    assert Estimate(0.1, 0.0, 3).p_value(0.02) == 0.0


@given(
    st.floats(1e-5, 1.0),
    st.floats(0.0, 0.5),
    st.floats(1e-6, 0.5),
    st.sampled_from([1.0, 2.7, 9.0, 200.0]),
)
def test_what_is_detectable_has_a_p_value_of_alpha(error, margin, alpha, freedom):
    smallest = Estimate(0.0, error, freedom).detectable(margin, alpha)
    assert Estimate(smallest, error, freedom).p_value(margin) == pytest.approx(alpha, rel=1e-6)


def test_what_is_detectable_without_error_is_the_margin():
    assert Estimate(0.0, 0.0, 3).detectable(0.02, 0.05) == 0.02


def test_too_few_slices_are_not_tested():
    found = compare(side(1, slices=1), side(2, slices=1))
    assert {item.verdict for item in found.latency} == {"not testable"}
    assert {(item.ci95, item.p_value, item.detectable) for item in found.latency} == {
        (None, None, None)
    }


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_between_raw_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    for raw, corrected in zip(p, adjusted, strict=True):
        assert raw <= corrected <= min(1.0, len(p) * raw)
    order = sorted(range(len(p)), key=p.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_wilson_against_scipy(count, share):
    right = round(share * count)
    low, high = wilson(np.array([right / count]), np.array([count]))
    oracle = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


def test_newcombe_against_his_table():
    """Newcombe 1998, table II, method 10: 9/10 − 3/10 and 10/10 − 0/10."""
    assert newcombe(0.3, 0.9, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert newcombe(0.0, 1.0, 10) == pytest.approx((0.6075, 1.0), abs=5e-5)


def test_scores_by_welch_with_the_direction_of_the_metric():
    a = side(1)[:1]
    b = [
        with_scores(
            a[0],
            accuracy=tuple(
                v - 1.0 + 0.001 * i for i, v in enumerate(a[0].body.quality.scores["accuracy"])
            ),
            nll=tuple(v - 0.01 for v in a[0].body.quality.scores["nll"]),
            ece=tuple(v + 1e-4 for v in a[0].body.quality.scores["ece"]),
        )
    ]
    scores = {score.metric: score for score in compare(a, b).scores}
    assert {name: score.verdict for name, score in scores.items()} == {
        "accuracy": "worse",
        "ece": "none shown",
        "uce": "identical",
        "nll": "better",
        "brier": "identical",
    }
    low, high = scores["accuracy"].test_set_ci95
    assert low < scores["accuracy"].difference < high
    assert high - low > 0.3  # 10,000 images cannot tell less apart, whatever the seeds agree on
    assert scores["nll"].test_set_ci95 is None


def test_without_a_smallest_effect_scores_are_tested_by_welch():
    a, b = side(1)[:1], [with_scores(side(1)[0], nll=(0.0143, 0.0146, 0.0152))]
    nll = next(s for s in compare(a, b, score_effects={}).scores if s.metric == "nll")
    x, y = (r[0].body.quality.scores["nll"] for r in (a, b))
    oracle = stats.ttest_ind(y, x, equal_var=False)
    assert nll.p_value == pytest.approx(oracle.pvalue)
    assert nll.ci95 == pytest.approx(tuple(oracle.confidence_interval(0.95)))


def score_of(a, b, name="accuracy", **changes):
    """How side B's values of a metric compare with side A's, nothing else being compared."""
    base = factory.record(**changes)
    sides = ([with_scores(base, **{name: values})] for values in (a, b))
    (score,) = compare(*sides, metrics=(name,)).scores
    return score


def test_seeds_that_tie_are_not_testable():
    """Three equal accuracies tell no error: they are not known to be exact."""
    score = score_of((98.33,) * 3, (98.94,) * 3)
    assert (score.verdict, score.p_value, score.ci95) == ("not testable", None, None)
    assert score.difference == pytest.approx(0.61)


def test_no_interval_of_accuracy_is_beyond_100_points():
    """By Student's t of two seeds a side, 95 % of it reach beyond 130 points."""
    score = score_of((90.0, 10.0), (100.0, 20.0), seeds=2)
    assert score.ci95 == (-100.0, 100.0)
    nll = score_of((900.0, 100.0), (1000.0, 200.0), name="nll", seeds=2)
    assert nll.ci95[1] > 1000.0


def test_a_deterministic_twin_is_known_exactly():
    kind = {"format": "DNN_FP32"}
    assert score_of((95.0,) * 3, (98.9,) * 3, **kind).verdict == "better"
    assert score_of((98.33,) * 3, (98.34,) * 3, **kind).verdict == "none shown"
    assert score_of((98.9,), (95.0,), seeds=1, **kind).verdict == "worse"


def test_a_score_that_may_not_hold_for_other_images_says_so():
    a, b = (98.50, 98.51, 98.52), (98.70, 98.71, 98.72)
    score = score_of(a, b)
    assert score.test_set_ci95[0] < 0 < score.test_set_ci95[1]
    assert score.verdict == "better on these images"
    assert score_of(b, a).verdict == "worse on these images"


@pytest.mark.parametrize(
    ("name", "change"), [("accuracy", 0.09), ("ece", 0.09), ("nll", 0.0019), ("brier", 0.0009)]
)
def test_a_change_of_a_score_that_does_not_matter_is_not_called_one(name, change):
    a = tuple(50.0 + change * i * 1e-3 for i in range(3))
    small, large = (tuple(v - by * change for v in a) for by in (1.0, 1.3))
    assert score_of(a, small, name).verdict == "none shown"
    assert score_of(a, large, name).verdict.startswith("worse" if name == "accuracy" else "better")
    assert score_of(a, small, "uce").verdict == "better"


def test_batches_that_score_the_same_are_one_test():
    found = compare(side(1), side(2))
    assert len(found.scores) == 5 * len(FORMATS) * 2
    assert all(len(score.keys) == 2 for score in found.scores)


def test_one_seed_and_missing_scores_are_not_tested():
    a, b = side(1, seeds=1)[:1], side(2, seeds=1)[:1]
    a = [with_scores(a[0], nll=(None,))]
    b = [with_scores(b[0], nll=(0.5,), accuracy=(1.0,))]
    scores = {score.metric: score for score in compare(a, b).scores}
    assert (scores["nll"].verdict, scores["nll"].difference) == ("not testable", None)
    assert scores["accuracy"].verdict == "not testable"
    assert scores["accuracy"].difference is not None


def test_sizes_are_exact():
    a = side(1)[:1]
    b = [changed(a[0], size=replace(a[0].body.size, file_bytes=a[0].body.size.file_bytes + 1))]
    found = [item for item in compare(a, b).sizes if item.a != item.b]
    assert [(item.quantity, item.b - item.a) for item in found] == [("file_bytes", 1)]


def test_cells_of_one_side_are_listed():
    found = compare(side(1)[:-1], side(2)[1:])
    assert [c.format for c in found.only_a] == ["FP32"]
    assert [c.format for c in found.only_b] == ["INT8_SIGMA1"]
    assert len(found.cells) == len(side(1)) - 2


def test_nothing_in_common_says_in_which_field():
    other = [changed(r, subject=replace(r.subject, limit=50)) for r in side(2)]
    found = compare(side(1), other)
    assert found.cells == ()
    (note,) = found.notes
    assert "limit (0 in A, 50 in B)" in note


def test_differences_of_the_machines_are_named():
    machine = factory.fingerprint(cpu="Another", packages={"torch": "2.9.0", "sigmabench": "0.1.0"})
    found = compare(side(1), side(2, machine=machine))
    assert found.fingerprints == {
        "cpu": (("Synthetic CPU <model> & sons",), ("Another",)),
        "packages.torch": (("2.8.0",), ("2.9.0",)),
        "packages.oneDNN": (("3.2",), ()),
    }
    assert compare(side(1), side(2)).fingerprints == {}


def test_the_newest_record_of_a_cell_counts():
    a, b = side(1)[:1], side(2, {"FP32": 1.5})[:1]
    stale = changed(b[0], created="2020-01-01T00:00:00Z")
    fresh = side(3)[0]
    found = compare(a, [fresh, stale])
    assert found.latency[0].b_p50_ns == np.median(fresh.body.timing.latency_ns)
    assert any("newest" in note for note in found.notes)


def test_bad_input_is_a_user_error():
    with pytest.raises(UserError, match="Side B"):
        compare(side(1), [])
    with pytest.raises(UserError, match="did you mean accuracy"):
        compare(side(1), side(1), metrics=("acuracy",))


def test_json_and_repeatable():
    one, two = (compare(side(1), side(2), seed=5) for _ in range(2))
    assert one == two
    assert json.loads(json.dumps(one.to_dict(), allow_nan=False))["tests"] == one.tests


def test_scores_on_these_images_alone_are_marked():
    record = factory.record()
    a, b = ([with_scores(record, accuracy=v)] for v in ((98.5, 98.51, 98.52), (98.7, 98.71, 98.72)))
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(comparison(compare(a, b)))
    words = " ".join(console.file.getvalue().split())
    assert "+0.20 (+)" in words
    assert "1 score better, 0 worse (1 of them on these images)" in words
    assert "0.1 % accuracy, 0.1 % ECE, 0.002 nats NLL, 0.001 Brier" in words


def test_drawn_within_80_columns():
    b = [with_scores(r, nll=tuple(v + 0.01 for v in r.body.quality.scores["nll"])) for r in side(2)]
    found = compare(side(1), [*b, *factory.grid(("INT8",), range="paper")])
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(comparison(found))
    output = console.file.getvalue()
    assert max(map(len, output.splitlines())) <= 80
    rows = [line.split() for line in output.splitlines()]
    for item in found.latency:
        interval = "{:.3f} … {:.3f}".format(*item.ci95).split()
        assert any(row[i : i + 3] == interval for row in rows for i in range(len(row)))
    assert sum("!" in row for row in rows) >= 6
    assert "Only in B, 6 cells" in output


@pytest.mark.parametrize(
    ("choice", "mine", "its"),
    [("posterior", "a" * 16, "b" * 16), ("range", "headroom", "paper"), ("seeds", 3, 5)],
)
def test_sides_that_were_asked_otherwise_are_compared_in_all_else(choice, mine, its):
    a, b = (
        [
            changed(one, subject=replace(one.subject, **{choice: value}))
            for one in side(number)
            if one.subject.format != "FP32" or choice == "posterior"
        ]
        for number, value in ((1, mine), (2, its))
    )
    found = compare(a, b)
    assert len(found.cells) == len(a)
    assert not found.only_a
    assert not found.only_b
    assert found.notes[0] == (
        f"Where A and B differ in {choice} ({mine} in A, {its} in B), cells that are alike in all "
        "else are compared."
    )
    assert found.scores
    assert all(one.ratio is None for one in found.latency)  # of two races


def test_cells_that_have_no_single_counterpart_are_compared_with_nothing():
    every = [one for one in side(2) if one.subject.format == "INT8"]
    a, *two = (
        [changed(one, subject=replace(one.subject, range=way)) for one in every]
        for way in ("paper", "headroom", "other")
    )
    assert len(compare(a, two[0]).cells) == len(a)
    assert not compare(a, [*two[0], *two[1]]).cells
