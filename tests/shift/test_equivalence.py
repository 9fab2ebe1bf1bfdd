"""Equivalence tests: known answers, a bootstrap by hand, error rates, clustering, Holm."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from margins import MARGINS, judged_within
from records_made import changed
from shift import shift_factory
from shift.shift_factory import TYPES, cell, record, study

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.units import Units
from sigmabench.harness.metrics.calibration import ece
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.predict.halves import GROUPS, halvings
from sigmabench.harness.predict.loop import summarise
from sigmabench.harness.predict.predicted import Predictive
from sigmabench.harness.records.envelope import Arrays
from sigmabench.harness.stats import bootstrap
from sigmabench.harness.stats import equivalence as module
from sigmabench.harness.stats.blocks import contrasts
from sigmabench.harness.stats.bootstrap import Luck, Means, binned_gaps, gaps_of, halved, resampled
from sigmabench.harness.stats.equivalence import equivalence
from sigmabench.harness.stats.pairs import PairedValues, luck_of, pairs_at
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.stats.significance import holm

N = 3000


def arrays(rng, n, accuracy=0.9):
    confidence = rng.uniform(0.4, 1.0, n).astype(np.float32).astype(float)
    correct = rng.random(n) < accuracy
    return {"confidence": confidence, "correct": correct, "nll": rng.gamma(1.0, 0.3, n)}


def put(format_, corruption, severity, values, **changes):
    return record(cell(format=format_, corruption=corruption, severity=severity, **changes), values)


def single(pairs, **options):
    """Outcomes by metric of FP32 against INT8 at severity 1: a pair of arrays for each type."""
    made = []
    for index, (a, b) in enumerate(pairs):
        made += [put("FP32", f"type{index}", 1, a), put("INT8", f"type{index}", 1, b)]
    (found,) = results(made)
    return {o.metric: o for o in equivalence(found, **{"resamples": 1000, **options})}


def test_identical_copies_are_equivalent():
    rng = np.random.default_rng(0)
    pairs = [(a, a) for a in (arrays(rng, N) for _ in range(3))]
    for outcome in single(pairs).values():
        assert outcome.verdict == "equivalent"
        assert outcome.effect == 0
        assert not outcome.improved
        assert outcome.low <= 0 <= outcome.high


def test_copies_that_lose_more_than_the_margins_are_worse_and_the_other_way_improved():
    rng = np.random.default_rng(1)
    good, bad = [], []
    for _ in range(3):
        a = arrays(rng, N, 0.95)
        wrong = rng.random(N) < 0.05
        good.append(a)
        bad.append(
            {"confidence": a["confidence"] * 0.9, "correct": a["correct"] & ~wrong}
            | {"nll": a["nll"] + 0.02}
        )
    # Here confidence lies below accuracy: lowering it costs ECE even where accuracy falls too.
    lost = single(zip(good, bad, strict=True))
    gained = single(zip(bad, good, strict=True))
    assert lost["nll"].effect == pytest.approx(0.02, abs=1e-6)
    for metric in ("accuracy", "nll"):
        assert lost[metric].verdict == "worse"
        assert not lost[metric].improved
        assert gained[metric].verdict == "inconclusive"
        assert gained[metric].improved


def test_worse_calibration_is_seen():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.5, 0.95, N)
    correct = rng.random(N) < confidence
    fair = {"confidence": confidence, "correct": correct, "nll": np.ones(N)}
    sure = fair | {"confidence": confidence + 0.05}
    outcome = single([(fair, sure)])["ece"]
    assert outcome.verdict == "worse"
    right = rng.random((200, N)) < confidence  # what 200 other sets of images show on average
    gaps = [
        [binned_gaps(c, r).mean(axis=0) for r in right] for c in (confidence, confidence + 0.05)
    ]
    truth = 100 * np.diff(np.abs(gaps).sum(axis=2).mean(axis=1))[0]
    assert 3.0 < truth < 5.0
    assert outcome.low <= truth <= outcome.high


def test_few_noisy_images_are_inconclusive():
    rng = np.random.default_rng(3)
    for outcome in single([(arrays(rng, 90), arrays(rng, 90))]).values():
        assert outcome.verdict == "inconclusive"


def test_that_no_image_differs_proves_nothing_about_accuracy_where_images_are_few():
    rng = np.random.default_rng(4)
    a = arrays(rng, 200)
    assert single([(a, a)])["accuracy"].verdict == "inconclusive"


def test_ece_of_a_resample_is_that_of_a_loop_over_its_images():
    (found,) = results(study(("FP32", "INT8"), TYPES[:2], (3,), images=50, ood=()))
    counts = next(resampled(50, 4, seed=7))
    for name in ("FP32", "INT8"):
        (one,) = found.at(name, TYPES[0], 3)
        confidence, correct = one.array("confidence"), one.array("correct")
        for weights in counts:
            drawn = np.repeat(np.arange(50), weights.astype(int))
            total = 0.0
            for bin_ in range(15):
                low, high = bin_ / 15, (bin_ + 1) / 15
                inside = [
                    i
                    for i in drawn
                    if low <= confidence[i] < high or (bin_ == 14 and confidence[i] == 1)
                ]
                if inside:
                    gap = np.mean(correct[inside]) - np.mean(confidence[inside], dtype=np.float64)
                    total += len(inside) / 50 * abs(gap)
            fast = 100 * np.abs(weights @ gaps_of(one)).sum() / 50
            assert fast == pytest.approx(100 * total, abs=1e-9)


def test_effects_are_differences_of_the_library_s_scores():
    (found,) = results(study(("FP32", "INT8"), TYPES, (0, 4)[1:], images=80, ood=()))
    for outcome in equivalence(found, resamples=20):
        differences = [
            found.at("INT8", t, outcome.severity)[0].score(outcome.metric)
            - found.at("FP32", t, outcome.severity)[0].score(outcome.metric)
            for t in outcome.types
        ]
        assert outcome.effect == pytest.approx(np.mean(differences), abs=1e-4)


def test_gaps_fall_in_the_library_s_bins_at_their_edges():
    probs = torch.tensor([[k / 15, 1 - k / 15] for k in range(16)], dtype=torch.float64)
    predictive = Predictive((1,))
    predictive.update(torch.log(probs.clamp_min(1e-300))[None])
    summary = predictive.summaries()[1]
    labels = torch.zeros(16, dtype=torch.int64)
    values = {"confidence": summary.confidence.numpy(), "correct": summary.correct(labels).numpy()}
    one = record(cell(), {**values, "nll": np.zeros(16)})
    fast = 100 * np.abs(gaps_of(one).sum(axis=0)).sum() / 16
    assert fast == pytest.approx(ece(summary, labels), abs=1e-5)


def test_seeds_are_averaged_before_anything_else():
    made = study(("FP32", "INT8"), TYPES[:1], (2,), images=60, seeds=(0, 1, 2), ood=())
    (found,) = results(made)
    for outcome in equivalence(found, resamples=20):
        corruption = outcome.types[0]
        means = [
            np.mean([r.score(outcome.metric) for r in found.at(v, corruption, outcome.severity)])
            for v in ("INT8", "FP32")
        ]
        assert len(found.at("INT8", corruption, outcome.severity)) == 3
        assert outcome.effect == pytest.approx(means[0] - means[1], abs=1e-4)


def test_the_same_images_under_more_types_tell_no_more():
    """16 copies of one type are no 16 times as many images."""
    rng = np.random.default_rng(5)
    a, b = arrays(rng, 300), arrays(rng, 300)
    one, many = single([(a, b)]), single([(a, b)] * 16)
    for metric in MARGINS:
        assert many[metric].high - many[metric].low == pytest.approx(
            one[metric].high - one[metric].low, rel=1e-9
        )
    others = single([(a, b), *((arrays(rng, 300), arrays(rng, 300)) for _ in range(15))])
    width = others["nll"].high - others["nll"].low
    assert width < 0.5 * (one["nll"].high - one["nll"].low)


def test_interval_of_a_mean_is_student_s():
    rng = np.random.default_rng(6)
    a, b = arrays(rng, 2000), arrays(rng, 2000)
    outcome = single([(a, b)], resamples=4000)["nll"]
    d = b["nll"] - a["nll"]
    half = 1.96 * d.std(ddof=1) / np.sqrt(len(d))
    assert (outcome.high - outcome.low) / 2 == pytest.approx(half, rel=0.06)
    assert (outcome.high + outcome.low) / 2 == pytest.approx(d.mean(), abs=0.05 * half)


def test_draws_of_a_loss_are_those_of_a_loop_over_resamples():
    rng = np.random.default_rng(9)
    values = np.stack([rng.exponential(size=12), np.full(12, 0.25)], axis=1)
    counts = next(resampled(12, 50, seed=3))
    draws = Means.of(values, Units.of(12)).studentized(counts)
    mean, deviation = values[:, 0].mean(), values[:, 0].std()
    for row, weights in zip(draws[:, 0], counts, strict=True):
        drawn = np.repeat(values[:, 0], weights.astype(int))
        t = (drawn.mean() - mean) / max(drawn.std(), deviation / np.sqrt(12))
        assert row == pytest.approx(mean - deviation * t, rel=1e-9)
    assert (draws[:, 1] == 0.25).all()


@pytest.mark.parametrize("metric", ["accuracy", "nll", "skewed nll", "ece"])
@pytest.mark.thorough
def test_at_the_margin_either_claim_is_made_once_in_twenty(metric, monkeypatch):
    """The truth lies at the margin, so both are false; the bound is exceeded once in 2,500.

    Margins are wide, because studies of few images can claim nothing within narrow ones.
    """
    monkeypatch.setattr(module, "judged_metrics", lambda: judged_within(WIDE))
    rng = np.random.default_rng(8)
    wrong = dict.fromkeys(("equivalent", "worse"), 0)
    for _ in range(400):
        a, b = AT_THE_MARGIN[metric](rng)
        found = single([(a, b)], resamples=300, seed=int(rng.integers(1 << 30)))
        outcome = found[metric.split()[-1]]
        for hypothesis in wrong:
            wrong[hypothesis] += outcome.p[hypothesis] <= 0.05
    assert 5 <= wrong["equivalent"] <= 36
    assert 5 <= wrong["worse"] <= 36


WIDE = {"accuracy": 3.0, "nll": 0.01, "ece": 5.0}


def _accuracy_at_the_margin(rng):
    a = arrays(rng, 600)
    lost, gained = rng.random((2, 600))
    before = a["correct"]
    after = np.where(before, lost >= 0.05 / 0.9, gained < 0.02 / 0.1)
    return a, a | {"correct": after}


def _nll_at_the_margin(rng):
    a = arrays(rng, 150)
    return a, a | {"nll": a["nll"] + rng.normal(0.01, 0.03, 150)}


def _skewed_nll_at_the_margin(rng):
    """One image in twenty makes all of the loss."""
    a = arrays(rng, 150)
    lost = rng.exponential(0.2, 150) * (rng.random(150) < 0.05)
    return a, a | {"nll": a["nll"] + lost}


def _ece_at_the_margin(rng):
    """Confidence 10 points too high in one format, 15 in the other, in one bin."""
    confidence = rng.uniform(0.805, 0.815, 400)
    right, again = rng.random((2, 400)) < confidence - 0.1
    a = arrays(rng, 400) | {"confidence": confidence, "correct": right}
    after = np.where(rng.random(400) < 0.1, again, right)
    return a, a | {"confidence": confidence + 0.05, "correct": after}


AT_THE_MARGIN = {
    "accuracy": _accuracy_at_the_margin,
    "nll": _nll_at_the_margin,
    "skewed nll": _skewed_nll_at_the_margin,
    "ece": _ece_at_the_margin,
}


def test_holm_covers_severities_and_variants_of_a_kind_within_a_metric_and_a_hypothesis():
    (found,) = results(study(types=TYPES[:2], severities=(1, 2), images=80, ood=()))
    outcomes = equivalence(found, resamples=100)
    assert len(outcomes) == 5 * 3 * 3  # variants, metrics, severities
    for metric in MARGINS:
        for bayesian in (True, False):
            family = [
                o for o in outcomes if o.metric == metric and (o.variant != "DNN_INT8") == bayesian
            ]
            assert len(family) == (4 if bayesian else 1) * 3
            for hypothesis in ("equivalent", "worse", "improved"):
                adjusted = holm([o.p[hypothesis] for o in family])
                assert [o.p_holm[hypothesis] for o in family] == adjusted
    for o in outcomes:
        assert o.reference == ("DNN_FP32" if o.variant == "DNN_INT8" else "FP32")
        shown = [v for v in ("equivalent", "worse") if o.p_holm[v] <= 0.05]
        assert o.verdict == (shown[0] if shown else "inconclusive")


@pytest.mark.parametrize(("ece", "near"), [(3.9, True), (4.1, False)])
def test_an_ece_below_twice_its_floor_is_marked(ece, near):
    values = arrays(np.random.default_rng(6), 90)
    scores = {"ece": (ece,), "ece_floor": (2.0,)}
    made = [
        record(cell(format=name, corruption="fog", severity=1), values, scores)
        for name in ("FP32", "INT8")
    ]
    (found,) = results(made)
    marked = {o.metric: o.near_floor for o in equivalence(found, resamples=50)}
    assert marked == {"accuracy": False, "nll": False, "ece": near}


def test_luck_of_four_groups_has_three_degrees_of_freedom():
    fp32, int8 = (
        one for one in study(("FP32", "INT8"), TYPES[:1], (1,), images=40, ood=())
        if one.subject.severity == 1
    )  # fmt: skip
    assert {luck.freedom for luck in luck_of([[int8]], [[fp32]], "accuracy")} == {3}


def test_p_values_count_the_draws_on_the_side_of_what_is_to_be_refuted():
    metric = judged_within(dict.fromkeys(MARGINS, 1.0))["nll"]
    assert module._p_values(metric, np.array([-3.0, 0.0, 1.0, 2.0])) == {
        "equivalent": 3 / 5, "worse": 4 / 5, "improved": 4 / 5,
    }  # fmt: skip


def test_what_has_no_p_value_ends_no_correction():
    rng = np.random.default_rng(5)
    tested = list(single([(arrays(rng, 90), arrays(rng, 90))]).values())
    untested = replace(tested[0], p={}, p_holm={}, verdict="")
    first, *others = module._corrected([untested, *tested], 0.05)
    assert first == untested
    assert all(other.p_holm for other in others)


def test_of_one_image_the_effect_is_told_alone():
    a, b = ({"confidence": [c], "correct": [True], "nll": [c]} for c in (0.5, 0.75))
    outcome = single(
        [({k: np.array(v) for k, v in a.items()}, {k: np.array(v) for k, v in b.items()})]
    )
    assert outcome["nll"].effect == 0.25
    assert outcome["nll"].p == {}


def test_the_same_seed_gives_the_same_outcomes_however_resamples_are_cut(monkeypatch):
    (found,) = results(study(("FP32", "INT8"), TYPES[:1], (1,), images=40, ood=()))
    whole = equivalence(found, resamples=50)
    monkeypatch.setattr(bootstrap, "_COUNTS", 200)
    cut = equivalence(found, resamples=50)
    assert [o.p for o in cut] == [o.p for o in whole]
    assert equivalence(found, resamples=50, seed=1) != whole


def test_an_unfinished_study_compares_what_both_formats_have():
    made = study(("FP32", "INT8", "DNN_INT8"), TYPES, (1, 2), images=40)
    gone = {("INT8", "fog", 1), ("FP32", "brightness", 1), ("INT8", "none", 0)}
    left = [
        r for r in made if (r.subject.format, r.subject.corruption, r.subject.severity) not in gone
    ]
    (found,) = results(left)
    outcomes = equivalence(found, resamples=20)
    assert {(o.variant, o.severity, o.types) for o in outcomes} == {
        ("INT8", 1, ("gaussian_noise",)),
        ("INT8", 2, tuple(sorted(TYPES))),
    }
    said = " ".join(found.missing())
    assert "INT8 lacks 2 of 8 conditions: clean, fog 1." in said
    assert "DNN_INT8 is not compared with anything" in said
    assert equivalence(results(study(("FP32",), (), (), images=20))[0]) == []


def test_variants_of_a_format_and_what_saw_other_images_stay_apart():
    made = study(("FP32", "INT8"), TYPES[:1], (1,), images=30, ranges=("headroom", "paper"))
    other = cell(
        format="INT8",
        corruption="brightness",
        severity=1,
        limit=30,
        shifted="official 0123456789ab",
    )
    kept = made[3]
    made.append(record(other, {name: kept.array(name) for name in kept.arrays}))
    (found,) = results(made)
    assert list(found.formats) == ["FP32", "INT8", "INT8 paper"]
    assert any("1 of 10 records is left out" in note for note in found.notes)
    assert {o.variant for o in equivalence(found, resamples=10)} == {"INT8", "INT8 paper"}


def test_variants_that_differ_in_something_else_get_letters():
    a, b = (study(("INT8",), (), (), images=20, ood=()) for _ in range(2))
    others = [
        record(
            cell(format="INT8", limit=20, observer="mse"),
            {name: r.array(name) for name in r.arrays},
        )
        for r in b
    ]
    (found,) = results([*a, *others])
    assert found.letters == {"a": "observer minmax", "b": "observer mse"}


def test_a_variant_is_compared_with_the_float_of_its_own_network_and_t():
    def made(format_, **changes):
        whole = study((format_,), TYPES[:1], (1,), images=30, ood=())
        return [changed(r, subject=replace(r.subject, **changes)) for r in whole]

    first = [*made("FP32", posterior="A"), *made("INT8", posterior="B")]
    (found,) = results(first)
    assert equivalence(found, resamples=10) == []
    assert (
        "INT8 is not compared with anything, because there is no record of its float reference."
        in found.missing()
    )
    more = [*first, *made("FP32", posterior="B"), *made("FP32", posterior="B", mc=9)]
    (found,) = results(more)
    assert found.letters[found.reference("INT8").split()[-1]] == "posterior B, mc 4"


def halves_of(middle, error, signs=(1, -1, 1, -1, 1, -1)):
    """20 halves of six groups of passes, whose mean has the standard error `error`."""
    groups = middle + error * np.sqrt(5) * np.array(signs)  # error² = 6 (error² 5) / 5 / 6
    return tuple(groups[list(half)].mean() for half in itertools.combinations(range(6), 3))


def test_luck_that_a_pass_shares_among_all_images_widens_the_interval():
    """Half-samples that differ by ±0.004, and two seeds of them."""
    rng = np.random.default_rng(10)
    a = arrays(rng, 400)
    moved = a | {"nll": a["nll"] + 0.004}

    def outcomes(spread, seeds=1):
        made = []
        for seed in range(seeds):
            same = dict.fromkeys(("accuracy", "nll", "ece"), (1.0,) * 20)
            halves = same | {"nll": halves_of(1.0, spread)}
            for name, values, scores in (("FP32", a, same), ("INT8", moved, halves)):
                which = cell(format=name, corruption="fog", severity=1, seed=seed)
                made.append(record(which, values, halves=scores))
        (found,) = results(made)
        return {o.metric: o for o in equivalence(found, resamples=4000)}

    unknown = single([(a, moved)])
    assert not any(o.luck for o in unknown.values())
    still, one, two = outcomes(0.0), outcomes(0.004), outcomes(0.004, seeds=2)
    assert all(o.luck for found in (still, one, two) for o in found.values())
    assert unknown["nll"].verdict == still["nll"].verdict == "equivalent"
    assert one["nll"].verdict == "inconclusive"
    assert one["nll"].effect == pytest.approx(0.004, abs=1e-6)
    widths = [found["nll"].high - found["nll"].effect for found in (one, two)]
    # Student's t with 5 and with 10 degrees of freedom: FP32 does not vary.
    assert widths[0] == pytest.approx(2.571 * 0.004, rel=0.1)
    assert widths[1] == pytest.approx(2.228 * 0.004 / np.sqrt(2), rel=0.1)


def test_luck_that_both_formats_share_does_not_count():
    """Half-samples of both move together; with the same noise what each has of its own is left."""
    rng = np.random.default_rng(11)
    a = arrays(rng, 400)
    moved = a | {"nll": a["nll"] + 0.004}
    common = np.array(halves_of(0.0, 0.02))
    own = {"FP32": np.zeros(20), "INT8": np.array(halves_of(0.0, 0.004, (1, 1, 1, -1, -1, -1)))}

    def outcome(noises, seeds=(0, 0)):
        made = []
        for name, values, noise, seed in zip(
            ("FP32", "INT8"), (a, moved), noises, seeds, strict=True
        ):
            same = dict.fromkeys(("accuracy", "ece"), (1.0,) * 20)
            halves = same | {"nll": tuple(1 + common + own[name])}
            which = cell(format=name, corruption="fog", severity=1, noise=noise, seed=seed)
            made.append(record(which, values, halves=halves))
        (found,) = results(made)
        (nll,) = (o for o in equivalence(found, resamples=4000) if o.metric == "nll")
        assert nll.luck
        return nll.high - nll.low

    together = outcome(("stream-v1", "stream-v1"))
    assert together == pytest.approx(2 * 2.571 * 0.004, rel=0.1)  # Student's t, 5 degrees
    apart = outcome(("normal", "stream-v1"))
    error = np.hypot(np.hypot(0.02, 0.004), 0.02)
    assert apart == pytest.approx(2 * 2.228 * error, rel=0.1)  # Welch: nearly 10 degrees
    assert outcome(("stream-v1",) * 2, seeds=(0, 1)) == pytest.approx(apart, rel=0.1)


def test_a_format_is_compared_with_the_float_of_its_own_noise():
    rng = np.random.default_rng(12)
    values = arrays(rng, 50)
    older = record(cell(format="FP32", noise="normal", backend="float"), values)
    shared = record(cell(format="FP32", noise="stream-v1", backend="drawn"), values)
    int8 = record(cell(format="INT8", noise="stream-v1", backend="native"), values)
    for order in ([older, shared, int8], [shared, older, int8]):
        (found,) = results(order)
        (reference,) = found.at(found.reference("INT8"))
        assert reference.subject.noise == "stream-v1"
    (found,) = results([older, int8])
    assert found.reference("INT8") == "FP32"


@pytest.mark.thorough
def test_contrasts_tell_how_far_another_draw_of_the_passes_would_have_come_out():
    """The truth is what 300 draws differ by; the estimate from one of them is of that size."""
    images, classes, passes = 400, 5, 50
    rng = np.random.default_rng(3)
    labels = torch.from_numpy(rng.integers(0, classes, images))
    base = rng.normal(size=(images, classes))
    base[np.arange(images), labels] += rng.normal(2.5, 2.0, images)
    shared = rng.normal(0, 0.4, (images, classes, 8)) + rng.normal(0, 0.4, (classes, 8))

    def outcomes(groups):
        drawn = np.einsum("nck,tk->tnc", shared, rng.normal(size=(passes, 8)))
        whole = Predictive([passes], groups=groups)
        whole.update(torch.from_numpy(base + drawn))
        return whole.summaries()[passes].outcomes(labels)

    others = [score(outcomes(False), labels, ("accuracy", "nll", "ece")) for _ in range(300)]
    told = [contrasts(outcomes(True), labels) for _ in range(60)]
    for name in ("accuracy", "nll", "ece"):
        truth = np.std([other[name] for other in others])
        found = [each[name].sum(axis=0) for each in told]
        lucks = [Luck.of(each[None, None], (1.0,), each.size) for each in found]
        assert {luck.freedom for luck in lucks} == {19}
        estimate = np.sqrt(np.mean([luck.variance for luck in lucks]))
        # 60 of 19 degrees tell it to 3 %, 300 the truth to 4 %; what is nearly linear errs by less.
        assert 0.85 * truth < estimate < 1.15 * truth, name


@pytest.mark.parametrize("images", [2, 5])
def test_of_a_block_of_one_image_the_risk_is_whether_it_is_wrong(images):
    """Fewer images than blocks: AURC is then 1 - accuracy, and so are its contrasts."""
    labels = torch.arange(images) % 2
    passes = Predictive([8], groups=True)
    passes.update(torch.from_numpy(np.random.default_rng(images).normal(size=(8, images, 2))))
    found = contrasts(passes.summaries()[8].outcomes(labels), labels)
    accuracy, aurc = found["accuracy"], found["aurc"]
    assert accuracy.shape == aurc.shape == (images, 7)
    assert np.abs(accuracy).max() == 50 / images
    np.testing.assert_allclose(aurc, -accuracy / 100, rtol=1e-6)


def test_of_one_image_nothing_tells_the_luck():
    passes = Predictive([8], groups=True)
    passes.update(torch.zeros(8, 1, 2, dtype=torch.float64))
    assert contrasts(passes.summaries()[8].outcomes(torch.tensor([0])), torch.tensor([0])) == {}


def test_luck_is_what_blocks_of_images_have_in_common():
    """Groups of passes move all blocks by N(0, 1), and each of 16 blocks by N(0, 4) of its own."""
    rng = np.random.default_rng(13)
    signs = np.where(halvings(20), 0.5, -0.5) / 10  # half the difference of means of ten groups
    shares = np.full(16, 1 / 16)
    told, whole = [], []
    for _ in range(2000):
        groups = rng.normal(size=20) + 2.0 * rng.normal(size=(16, 20))
        own = groups @ signs.T / 16
        told.append(Luck.of(own[None], shares, 19))
        whole.append(Luck.of(own.sum(axis=0)[None, None], (1.0,), 19))
    assert all(one.apart for one in told)
    assert not any(one.apart for one in whole)
    # The variance of the mean of 20 groups; its relative error is √(2 / 19) in one study.
    for found, truth in ((told, 1 / 20), (whole, 1 / 20 + 4 / 16 / 20)):
        error = 5 * np.sqrt(2 / 19 / len(found)) * (1 / 20 + 4 / 16 / 20)
        assert np.mean([one.variance for one in found]) == pytest.approx(truth, abs=error)


def test_luck_of_what_is_linear_is_the_jackknife_s():
    rng = np.random.default_rng(15)
    for groups in GROUPS:
        values = rng.normal(size=groups)
        signs = np.where(halvings(groups), 1.0, -1.0)
        luck = Luck.of((signs @ values / groups)[None, None], (1.0,), groups - 1)
        assert luck.variance == pytest.approx(values.var(ddof=1) / groups)


def test_contrasts_are_differences_of_what_halves_of_the_passes_score():
    (found,) = results(study(("FP32",), TYPES[:1], (2,), images=60, mc=(12,), ood=()))
    (one,) = found.at("FP32", TYPES[0], 2)
    logits, labels = shift_factory._logits(one.subject, 60, 0.0), shift_factory._labels(60)

    def scored(passes, metric):
        return score(summarise(logits[torch.from_numpy(passes)]), labels, (metric,))[metric]

    assert one.contrast("accuracy").shape == one.contrast("nll").shape == (16, 11)
    sides = [[scored(h, "accuracy") for h in half] for half in (halvings(12), ~halvings(12))]
    differences = np.subtract(*sides) / 2
    np.testing.assert_allclose(one.contrast("accuracy").sum(axis=0), differences, rtol=1e-4)
    without = np.array([scored(np.arange(12) != t, "nll") for t in range(12)])
    luck = Luck.of(one.contrast("nll").sum(axis=0)[None, None], (1.0,), 11)
    assert luck.variance == pytest.approx(11 * without.var(), rel=1e-3)  # (G − 1) / G Σ


def test_records_of_before_and_of_now_are_not_compared():
    made = study(("FP32", "INT8"), TYPES[:1], (1,), images=80, ood=())
    plain = {k: v for k, v in made[-1].arrays.items() if not k.startswith("contrast.")}
    old = changed(made[-1], arrays=Arrays.of(plain), halves={"nll": halves_of(1.0, 0.1)})
    (found,) = results([*made[:-1], old])
    with pytest.raises(UserError, match="score them again with --policy always"):
        equivalence(found, resamples=10)


def test_draws_of_ece_are_those_of_a_loop_over_halves_of_the_images():
    rng = np.random.default_rng(16)
    made = []
    for name in ("FP32", "INT8"):
        values = arrays(rng, 90) | {"source": np.arange(90) // 3}
        made.append(put(name, "fog", 1, values))
    (found,) = results(made)
    draws = PairedValues(found, 1, pairs_at(found, 1)).draws(20, 7)["ece"][:, 0]
    halves = next(halved(30, 10, [7, 3])).astype(bool)

    def effect(kept):
        eces = [100 * np.abs(gaps_of(r)[kept].mean(axis=0)).sum() for r in made]
        return eces[1] - eces[0]

    whole = effect(np.full(90, True))
    for draw, opposite, half in zip(draws[:10], draws[10:], halves.repeat(3, axis=1), strict=True):
        moved = (effect(half) - effect(~half)) / 2
        assert (draw, opposite) == pytest.approx((whole + moved, whole - moved))
        assert half.sum() == 45


def test_no_interval_depends_on_which_other_formats_are_shown():
    formats = ("FP32", "INT8", "INT8_SIGMA4", "INT8_SIGMA1", "DNN_FP32", "DNN_INT8")
    made = study(formats, severities=(1,), images=90, mc=(8,), ood=())
    (whole,) = results(made)
    outcomes = equivalence(whole, resamples=200)
    every = {(o.variant, o.metric, o.severity): o for o in outcomes}
    for shown in (("FP32", "INT8_SIGMA1"), ("DNN_FP32", "DNN_INT8"), formats[:2] + formats[4:]):
        (some,) = results([one for one in made if one.subject.format in shown])
        for o in equivalence(some, resamples=200):
            other = every[o.variant, o.metric, o.severity]
            assert (o.low, o.high) == pytest.approx((other.low, other.high), abs=1e-9)
            assert o.p == pytest.approx(other.p, abs=0.01)


def test_the_slope_of_ece_is_a_sign_where_clear_and_keeps_the_variance_where_there_is_no_gap():
    rng = np.random.default_rng(14)
    values = np.stack([rng.normal(0.0, 1.0, 400), np.full(400, -0.25)], axis=1)
    still = Means.of(values, Units.of(400))
    clear = Means.of(values + np.array([3.0, 0.0]), Units.of(400))
    np.testing.assert_allclose(bootstrap.slopes(clear), [1.0, -1.0])
    assert abs(bootstrap.slopes(still)[0]) < 1.0
    draws = replace(still, centre=np.sqrt(still.variance[0]) * rng.normal(size=100_000))
    spread = replace(draws, rest=np.repeat(still.rest[:, :1], 100_000, axis=1))
    square = np.square(bootstrap.slopes(spread)).mean()
    assert square == pytest.approx(1 - 2 / np.pi, abs=0.005)
