"""What is kept and at what error: brute force on made-up runs, thresholds from another split."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from records_made import changed
from scipy import stats
from selective_cases import noisy_run, outputs, sample
from shift import shift_factory
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records.envelope import Arrays
from sigmabench.harness.records.shift_record import ShiftRecord
from sigmabench.harness.report.rendering import markdown
from sigmabench.harness.stats.blocks import shares_of
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.studies.selective import referral as selection
from sigmabench.harness.studies.selective.analyse import (
    SelectiveFindings,
    SelectiveStudy,
    findings,
)
from sigmabench.harness.studies.selective.conclusions import sentences
from sigmabench.harness.studies.selective.document import document
from sigmabench.harness.studies.selective.referral import (
    Bounded,
    Choices,
    ClassFigures,
    Referral,
    selections,
)
from sigmabench.harness.studies.selective.sample import Interval, Outputs, SplitSample
from sigmabench.harness.studies.selective.selective_sheets import classes, kept

CHOICES = Choices(coverage=0.75, bound=0.1)
SPLITS = ("test", "held-out")


def of_splits(**choices: object) -> list[ShiftRecord]:
    """A study of three splits; the images from outside are beside the first."""
    given = {"formats": ("FP32", "INT8", "DNN_FP32"), "types": (), "mc": (1, 2, 12)}
    made = shift_factory.study(**{**given, "seeds": (0, 1), **choices})  # type: ignore[arg-type]
    copies = [r for r in made if r.labelled]
    return made + [
        changed(record, subject=replace(record.subject, split=split))
        for split in ("held-out", "validation")
        for record in copies
    ]


@pytest.fixture(scope="module")
def found() -> SelectiveFindings:
    return findings(of_splits(), SPLITS, CHOICES, resamples=100)


def test_a_class_of_which_nothing_is_kept_has_no_recall_there() -> None:
    labels = np.repeat(np.arange(4), 50)
    run = outputs(labels / 4, np.zeros(200, bool), labels)
    (study,) = results(shift_factory.study(("FP32",), (), mc=(4,), ood=()))
    (one,) = selections(study, sample({"FP32": [run]}), None, CHOICES, resamples=20)
    assert [c.recall_kept for c in one.classes] == [100, 100, 100, None]
    assert [c.referred for c in one.classes] == [0, 0, 0, 100]


def test_errors_and_classes_are_those_of_the_images() -> None:
    runs = [noisy_run(seed, 0.1) for seed in range(2)]
    (study,) = results(shift_factory.study(("FP32",), (), mc=(4,), ood=()))
    (one,) = selections(study, sample({"FP32": runs}), None, CHOICES, resamples=50)
    kept = [np.argsort(run.uncertainties["confidence"])[:150] for run in runs]
    wrong = [run.wrong for run in runs]
    assert one.error.value == pytest.approx(100 * np.mean(wrong))
    at = np.mean([w[k].mean() for w, k in zip(wrong, kept, strict=True)])
    assert one.error_kept.value == pytest.approx(100 * at)
    assert one.ratio is not None
    assert one.ratio.value == pytest.approx(at / np.mean(wrong))
    assert one.halved == (at <= np.mean(wrong) / 2)
    balanced = [1 - balanced_accuracy_score(run.labels, run.predictions) for run in runs]
    assert one.balanced.value == pytest.approx(100 * np.mean(balanced))
    recalls = [recall_score(r.labels, r.predictions, average=None) for r in runs]
    assert [c.recall for c in one.classes] == pytest.approx(100 * np.mean(recalls, axis=0))
    for c in one.classes:
        stays = [np.sum(r.labels[k] == c.label) for r, k in zip(runs, kept, strict=True)]
        assert c.images == np.sum(runs[0].labels == c.label)
        assert c.referred == pytest.approx(100 * (1 - np.mean(stays) / c.images))
        right = [
            np.sum((r.labels[k] == c.label) & ~r.wrong[k]) for r, k in zip(runs, kept, strict=True)
        ]
        assert c.recall_kept == pytest.approx(100 * np.sum(right) / np.sum(stays))
    assert one.bounded is None
    for interval in (one.error, one.error_kept, one.balanced):
        assert interval.low <= interval.value <= interval.high


def test_thresholds_come_from_the_validation_split() -> None:
    test, held = noisy_run(0, 0.1, truth=1), noisy_run(0, 0.1, truth=2)
    (study,) = results(shift_factory.study(("FP32",), (), mc=(4,), ood=()))
    both = (sample({"FP32": [run]}) for run in (test, held))
    (one,) = selections(study, *both, CHOICES, resamples=20)
    uncertainty, best = held.uncertainties["confidence"], None
    for threshold in np.sort(uncertainty):
        kept = uncertainty <= threshold
        there = np.unique(held.labels[kept])
        error = np.mean([held.wrong[kept & (held.labels == label)].mean() for label in there])
        best = threshold if error <= CHOICES.bound else best
    assert best is not None
    kept = test.uncertainties["confidence"] <= best
    assert one.bounded is not None
    assert one.bounded.threshold == (pytest.approx(best),)
    assert one.bounded.coverage.value == pytest.approx(100 * kept.mean())
    assert one.bounded.kept == (pytest.approx(100 * kept.mean()),)
    assert one.bounded.balanced_error is not None
    expected = 1 - balanced_accuracy_score(test.labels[kept], test.predictions[kept])
    assert one.bounded.balanced_error.value == pytest.approx(100 * expected)
    assert one.bounded.classes == len(set(test.labels[kept].tolist()))
    assert one.bounded.oracle != pytest.approx(one.bounded.coverage.value)


def test_where_no_threshold_holds_nothing_is_kept() -> None:
    always = outputs(np.arange(8.0), np.ones(8, bool), np.arange(8) % 2)
    (study,) = results(shift_factory.study(("FP32",), (), mc=(4,), ood=()))
    runs = sample({"FP32": [always]})
    (one,) = selections(study, runs, runs, CHOICES, resamples=20)
    assert one.bounded is not None
    assert one.bounded.threshold == (None,)
    assert (one.bounded.coverage.value, one.bounded.balanced_error) == (0, None)
    assert one.bounded.classes == 0
    assert one.halved is False


def test_without_errors_there_is_nothing_to_halve() -> None:
    never = outputs(np.arange(8.0), np.zeros(8, bool), np.arange(8) % 2)
    (study,) = results(shift_factory.study(("FP32",), (), mc=(4,), ood=()))
    (one,) = selections(study, sample({"FP32": [never]}), None, CHOICES, resamples=20)
    assert (one.ratio, one.halved) == (None, None)


def test_areas_are_means_over_seeds_of_running_error_rates(found: SelectiveFindings) -> None:
    records = of_splits()
    for one in found.of("test"):
        own = [r for r in records if (r.subject.split, r.subject.format) == ("test", one.variant)]
        clean = [r for r in own if r.labelled]
        areas = []
        for r in clean:
            order = np.argsort(-r.array("confidence"), kind="stable")
            wrong = ~r.array("correct")[order]
            areas.append(np.mean(np.cumsum(wrong) / np.arange(1, len(wrong) + 1)))
        assert one.aurc["confidence"].value == pytest.approx(np.mean(areas), rel=1e-3)
    names = {one.variant: set(one.aurc) for one in found.of("test")}
    assert names["FP32"] - names["DNN_FP32"] == {"mutual_information"}


def lucky(records: list[ShiftRecord]) -> list[ShiftRecord]:
    """The same with one noise, and contrasts of halves in which all images have much in common."""
    rng = np.random.default_rng(4)

    def one(r: ShiftRecord) -> ShiftRecord:
        aurc = (rng.normal(0, 0.1, 11) + rng.normal(0, 0.1, (16, 11))) / 16
        arrays = {**r.arrays, "contrast.aurc": aurc.astype("<f4")}
        cell = replace(r.subject, noise="stream-v1")
        return changed(r, subject=cell, arrays=Arrays.of(arrays))

    return [one(r) if r.contrasted else r for r in records]


def without(r: ShiftRecord, start: str) -> ShiftRecord:
    """The same without arrays whose names start so."""
    kept = {name: one for name, one in r.arrays.items() if not name.startswith(start)}
    return changed(r, arrays=Arrays.of(kept))


def change_of_int8(
    records: list[ShiftRecord], monkeypatch: pytest.MonkeyPatch | None = None
) -> Referral:
    """INT8's, with the luck of the draw or without it."""
    if monkeypatch is not None:
        monkeypatch.setattr(selection, "luck_draws", lambda sides, count, seed: np.zeros(count))
    found = findings(records, ("test",), CHOICES, resamples=2000)
    (int8,) = (one for one in found.selections if one.variant == "INT8")
    return int8


def test_the_change_of_the_area_has_the_luck_that_all_images_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the shift study, from blocks of the images; variances add up."""
    assert not change_of_int8(of_splits(mc=(2,))).luck  # two passes make no groups
    records = lucky(of_splits(mc=(12,)))
    told, images = change_of_int8(records), change_of_int8(records, monkeypatch)
    assert told.luck
    found = [r for r in records if r.contrasted and r.subject.split == "test"]
    both = {(r.subject.format, r.subject.seed): r for r in found}
    variance, shares = 0.0, shares_of(both["INT8", 0].units)
    for seed in (0, 1):  # of INT8 less FP32, for both have one noise
        d = both["INT8", seed].contrast("aurc") - both["FP32", seed].contrast("aurc")
        pairs = itertools.permutations(range(16), 2)
        common = np.mean([d[k] * d[other] for k, other in pairs], axis=0).mean()
        variance += 16 * 15 * common / (1 - np.square(shares).sum()) / 4
    half = stats.t.ppf(0.975, 2 * 11) * np.sqrt(variance)
    assert told.aurc_change is not None
    assert images.aurc_change is not None
    assert told.aurc_change.value == images.aurc_change.value
    wider, narrow = ((one.high - one.low) / 2 for one in (told.aurc_change, images.aurc_change))
    assert wider == pytest.approx(np.hypot(half, narrow), rel=0.1)
    assert wider > 1.5 * narrow


def test_an_upper_bound_of_the_luck_is_said_to_be_one() -> None:
    """Of records from before contrasts, which have scores of halves instead."""
    now = of_splits(mc=(12,))
    before = [changed(without(r, "contrast."), halves={"aurc": (0.01, 0.02) * 10}) for r in now]
    for records, bound in ((now, False), (before, True)):
        found = findings(records, ("test",), CHOICES, resamples=20)
        assert ("an upper bound" in kept(found).notes[0]) == bound


def test_a_change_is_over_the_seeds_that_both_have() -> None:
    """Of an unfinished study: the float format has one seed more."""
    runs = [noisy_run(seed, 0.1) for seed in range(3)]
    fewer = sample({"FP32": runs, "INT8": runs[:2]})
    (study,) = results(shift_factory.study(("FP32", "INT8"), (), mc=(4,), ood=(), seeds=(0, 1, 2)))
    _, int8 = selections(study, fewer, None, CHOICES, resamples=20)
    assert int8.aurc_change == Interval(0.0, 0.0, 0.0)
    none = replace(
        fewer, outputs={"FP32": fewer.outputs["FP32"][2:], "INT8": fewer.outputs["INT8"]}
    )
    assert selections(study, none, None, CHOICES, resamples=20)[1].aurc_change is None


def test_seeds_that_lack_are_told() -> None:
    records = [r for r in of_splits() if (r.subject.format, r.subject.seed) != ("INT8", 1)]
    found = findings(records, ("test",), CHOICES, resamples=20)
    assert "test: INT8 has 1 of 2 seeds of the draw." in found.missing
    assert not any("DNN_FP32 has" in line for line in found.missing)
    assert "Means over 1 to 2 seeds of the draw." in " ".join(kept(found).notes)
    assert "Means over 2 seeds of the draw." in " ".join(
        kept(findings(of_splits(), ("test",), CHOICES, resamples=20)).notes
    )


@pytest.mark.parametrize(("coverage", "does"), [(0.999, "keeps all"), (0.001, "keeps none")])
def test_a_coverage_that_leaves_nothing_to_tell_is_refused(coverage: float, does: str) -> None:
    with pytest.raises(UserError, match=f"{does} of the 120 images of the test split; give a"):
        findings(of_splits(), ("test",), Choices(coverage=coverage), resamples=20)


def bounded_by(thresholds: tuple[float | None, ...], kept: float | None) -> list[str]:
    """What is concluded of a format of so many seeds."""
    interval = Interval(10.0, 9.0, 11.0)
    error = Interval(4.0, 3.0, 5.0) if kept else None
    share = kept or 0.0
    one = Referral(
        "test", "FP32", 120, len(thresholds), interval, interval, interval, interval, {}, None,
        False, True, Bounded(50.0, thresholds, Interval(share, 0.0, 90.0), (share,), error, 2), (),
    )  # fmt: skip
    samples = {"test": sample({"FP32": [noisy_run(0, 1)]})}
    made = SelectiveFindings(
        "w", CHOICES, 4, {"FP32": "FP32"}, {}, (), {}, samples, (one,), (), ()
    )  # fmt: skip
    return sentences(made)


@pytest.mark.parametrize(
    ("thresholds", "kept", "says"),
    [
        ((None, None), None, "no threshold held 10 % on the validation split, so nothing is kept"),
        ((0.1, 0.2), None, "the threshold chosen on the validation split keeps nothing here."),
        ((0.1, None), 40.0, "split (there is one in 1 of 2 seeds) keeps 40.0 % of the images"),
        ((0.1, 0.2), 40.0, "the threshold chosen on the validation split keeps 40.0 %"),
    ],
)
def test_conclusions_tell_no_threshold_from_one_that_keeps_nothing(
    thresholds: tuple[float | None, ...], kept: float | None, says: str
) -> None:
    assert any(says in line for line in bounded_by(thresholds, kept))


def test_a_seed_without_threshold_is_told_and_has_no_part_in_the_classes() -> None:
    never = outputs(np.arange(8.0), np.ones(8, bool), np.arange(8) % 2)
    sure = outputs(np.arange(8.0), np.zeros(8, bool), np.arange(8) % 2)
    (study,) = results(shift_factory.study(("FP32",), (), mc=(4,), ood=()))
    both = sample({"FP32": [never, sure]})
    (one,) = selections(study, both, both, CHOICES, resamples=20)
    assert one.bounded is not None
    assert (one.bounded.held, one.bounded.classes, one.bounded.coverage.value) == (1, 2, 50)
    assert one.bounded.balanced_error is not None
    assert one.bounded.balanced_error.value == 0


def test_formats_with_their_own_thresholds_stand_beside_one_another(
    found: SelectiveFindings,
) -> None:
    lines = sentences(found)
    (line,) = (one for one in lines if one.startswith("test, beside one another"))
    for one in found.of("test"):
        assert (f"{one.variant} " in line) == (not one.variant.startswith("DNN"))
        if one.bounded and f"{one.variant} " in line:
            least, most = min(one.bounded.kept), max(one.bounded.kept)
            kept = f"{one.bounded.coverage.value:.1f} % ({least:.1f} to {most:.1f} in"
            assert f"{one.variant} {kept}" in line


def test_conclusions_begin_with_sets_that_have_no_note(found: SelectiveFindings) -> None:
    noted = replace(found, split_notes={"test": "it shares its images."})
    lines = sentences(noted)
    first = [line.partition(",")[0] for line in lines]
    assert first == sorted(first) == ["held-out"] * (len(lines) // 2) + ["test"] * (len(lines) // 2)
    assert sentences(found)[0].startswith("test, ")
    assert "- test: it shares its images." in markdown(document(SelectiveStudy(noted)))


def test_a_terminal_has_the_classes_of_which_most_is_referred(found: SelectiveFindings) -> None:
    shown = found.of("test")[0]
    many = [ClassFigures(label, 12, 50.0, float(label % 37), None) for label in range(100)]
    wide = replace(found, selections=(replace(shown, classes=tuple(many)),))
    short, whole = (classes(wide, "test", every=every) for every in (False, True))
    assert len(whole.rows) == 3 * 100
    assert len(short.rows) == 2 * 20
    assert [float(row[2]) for row in short.rows[:20]] == sorted(
        (float(label % 37) for label in range(100)), reverse=True
    )[:20]
    assert "The 20 of 100 classes with most referred images" in short.notes[0]


def test_images_from_outside_are_told_from_every_split(found: SelectiveFindings) -> None:
    records = of_splits()
    assert {(t.split, t.variant, t.by) for t in found.outside} >= {
        ("test", "FP32", "entropy"), ("held-out", "INT8", "mutual_information")
    }  # fmt: skip
    assert not any(t.variant == "DNN_FP32" and t.by != "entropy" for t in found.outside)
    for told in found.outside:
        inside, outside = (
            next(
                r
                for r in records
                if (r.subject.format, r.subject.seed, r.subject.split, r.labelled)
                == (told.variant, told.seed, split, labelled)
            ).array(told.by)
            for split, labelled in ((told.split, True), ("test", False))
        )
        truth = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
        assert told.auroc == pytest.approx(roc_auc_score(truth, np.r_[inside, outside]))


def test_by_mutual_information_twins_are_left_out() -> None:
    by = replace(CHOICES, by="mutual_information")
    found = findings(of_splits(), ("test",), by, resamples=20)
    assert [one.variant for one in found.selections] == ["FP32", "INT8"]
    with pytest.raises(UserError, match="No format has mutual information"):
        findings(of_splits(formats=("DNN_FP32",)), ("test",), by, resamples=20)


def test_what_is_missing_is_said(found: SelectiveFindings) -> None:
    assert found.missing == ()
    test = [r for r in of_splits() if r.subject.split == "test"]
    alone = findings(test, ("test",), CHOICES, resamples=20)
    assert any("no threshold could be chosen" in line for line in alone.missing)
    assert all(one.bounded is None for one in alone.selections)
    with pytest.raises(UserError, match="no record of the held-out split"):
        findings(test, SPLITS, CHOICES)
    old = [without(r, "prediction") for r in test]
    with pytest.raises(UserError, match="has no predictions image by image; score it again"):
        findings(old, ("test",), CHOICES)


def test_resamples_take_all_tiles_of_an_image() -> None:
    runs = {"FP32": [noisy_run(0, 0.1, images=12)]}
    tiles = sample(runs, sources=np.repeat([0, 1, 2], 4))
    for counts in tiles.draws(resamples=30):
        assert (counts.reshape(-1, 3, 4).std(axis=2) == 0).all()
        assert (counts.sum(axis=1) == 12).all()


def test_intervals_ignore_what_is_not_defined() -> None:
    found = Interval.of(1.0, [np.nan, 0.0, 2.0, np.nan])
    assert (found.low, found.high) == (pytest.approx(0.05), pytest.approx(1.95))
    assert Interval.of(1.0, [np.nan]) == Interval(1.0, None, None)


def test_sources_of_a_record_are_numbered_from_0() -> None:
    (record,) = shift_factory.study(("FP32",), (), images=4, ood=())
    arrays = {**record.arrays, "source": np.array([7, 3, 7, 9], "<i4")}
    (study,) = results([changed(record, arrays=Arrays.of(arrays))])
    assert SplitSample.of(study, "confidence").units.which.tolist() == [1, 0, 1, 2]
    assert isinstance(SplitSample.of(study, "entropy").outputs["FP32"][0], Outputs)
