"""Sentences around a count follow it, and shares are defined where there is nothing to share."""

from __future__ import annotations

from dataclasses import replace

import factory
import pytest
from records_made import changed
from sheet_cases import profiled
from shift.shift_factory import study
from weights.test_weight_report import made as weight_range

from sigmabench.harness.cli.commands import inspection_tables
from sigmabench.harness.core import words as text
from sigmabench.harness.records.ablation_record import METRICS, Choice
from sigmabench.harness.records.profile_record import Step
from sigmabench.harness.report import adaptive_sheet as adaptive
from sigmabench.harness.report import cost_sheets, quality_sheets, sheets
from sigmabench.harness.report.rows import sections
from sigmabench.harness.stats.equivalence import equivalence
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.studies.ablation import document as ablation
from sigmabench.harness.studies.ablation.analyse import Ablation, AblationRow
from sigmabench.harness.studies.compare import document as comparison
from sigmabench.harness.studies.compare.measure import compare
from sigmabench.harness.studies.profile import document as profile
from sigmabench.harness.studies.shift import shift_sheets
from sigmabench.harness.studies.shift.analyse import claims, sentences
from sigmabench.harness.studies.weights import document as weights


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 passes"), (1, "1 pass"), (1200, "1,200 passes"), (0.5, "0.5 passes")]
)
def test_a_noun_follows_its_count(count, said):
    assert text.plural(count, "pass", "passes") == said


@pytest.mark.parametrize(
    ("counts", "said"), [((), "0 seeds"), ((1, 1), "1 seed"), ((3, 1), "1 or 3 seeds")]
)
def test_a_noun_follows_the_last_of_several_counts(counts, said):
    assert text.either(counts, "seed") == said


@pytest.mark.parametrize(
    ("value", "said"), [(40.4, "40"), (15.2, "15.2"), (15.0004, "15.0004"), (15.0, "15")]
)
def test_a_number_beyond_a_bound_does_not_look_like_it(value, said):
    assert text.beyond(value, 15, 0) == said


def one_image(record):
    return changed(record, quality=replace(record.body.quality, images=1, seeds=(0,)))


def section_of(*records):
    (found,) = sections(records)
    return found


def test_notes_on_one_image_and_one_weight():
    records = [one_image(factory.record(format=name, seeds=1)) for name in ("FP32", "INT8")]
    records = [changed(one, size=replace(one.body.size, weights=1)) for one in records]
    section = section_of(*records)
    assert section.title.endswith("test split, 1 image")
    (paired,) = quality_sheets.paired(section)
    assert paired.notes[0].startswith("On the same 1 image; ")
    assert "1 image is 100 points" in paired.notes[0]
    assert cost_sheets.size(section).notes[0].startswith("1 weight. ")
    assert quality_sheets.quality(section).notes[0].startswith("One seed of the MC draw, so no ")


def test_twins_alone_have_no_draw_to_tell_of():
    section = section_of(factory.record(format="DNN_INT8", mc=1, seeds=1))
    assert "draw" not in quality_sheets.quality(section).notes[0]
    (found,) = results(study(("DNN_FP32", "DNN_INT8"), images=20, severities=(1,), ood=()))
    assert "draw" not in shift_sheets.clean(found).notes[0]


@pytest.mark.parametrize("whole", [0.0, 1e-17, None])
def test_no_share_is_kept_of_no_mutual_information(whole):
    records = [factory.record(format=name) for name in ("FP32", "INT8")]
    fp32 = records[0].body.quality
    scores = {**fp32.scores, "mutual_information": (whole,) * 3}
    records[0] = changed(records[0], quality=replace(fp32, scores=scores))
    (sheet,) = quality_sheets.paired(section_of(*records))
    assert sheet.rows[-1][-1] == text.MISSING


def test_a_layer_without_sigma_keeps_neither_all_nor_nothing_of_it():
    layer = replace(factory.layer("conv1", 1.0), std_ratio=None, w2=None)
    section = section_of(changed(factory.record(format="INT8"), fidelity=(layer,)))
    (row,) = sheets.fidelity(section).rows
    assert (row[2], row[6]) == (text.MISSING, text.MISSING)


@pytest.mark.parametrize("images", [(), ((0, 0),), ((1, 0),)])
def test_adaptive_passes_of_none_and_of_one_image(images):
    record = factory.adapted()
    spent = replace(record.body.adaptive, looks=(1, 2), images=images)
    (sheet,) = adaptive.spent(section_of(changed(record, adaptive=spent)))
    assert all(len(row) == len(sheet.columns) for row in sheet.rows)
    spent = replace(record.body.adaptive, looks=(1,), images=((1,),))
    (sheet,) = adaptive.spent(section_of(changed(record, adaptive=spent)))
    assert "after 1 pass." in sheet.notes[0]


def shown(*records):
    (found,) = results(records)
    outcomes = equivalence(found, resamples=20)
    return [*sentences(outcomes), *claims(outcomes), *found.missing(), found.title]


@pytest.mark.parametrize("formats", [("FP32",), ("INT8",), ("FP32", "INT8"), ("DNN_FP32",)])
@pytest.mark.parametrize("images", [1, 80])
def test_conclusions_of_small_studies(formats, images):
    told = shown(*study(formats, ("fog",), (1,), images=images, ood=()))
    assert told[-1].endswith(text.plural(images, "image"))
    for line in told:
        assert " 1 images" not in line
        assert " 1 comparisons" not in line
        assert " 1 conditions" not in line


def test_a_comparison_of_one_cell_has_no_plural():
    found = compare([factory.record(mc=10)], [factory.record(mc=10)])
    headline = comparison._headline(found)
    assert headline.startswith("1 cell on both sides: ")
    found = replace(found, tests=1)
    assert comparison._level(found) == "5 % level"
    assert comparison._level(replace(found, tests=2)) == "5 % level over all 2 tests (Holm)"


def test_tables_without_rows():
    found = {"file": "f", "kind": "posterior", "layers": []}
    assert [one.sheet.title for one in inspection_tables(found)] == ["f"]


def test_a_profile_in_which_nothing_took_time():
    step = Step("x", "input", (), "", "", 0, 0.0, 0.0, 0.0, 0.0)
    made = changed(profiled(), queries=1, steps=(step,))
    assert made.body.share("sampling") is None
    told = profile.summary(made)
    assert "median of 1 query;" in told[1]
    assert "sampling – %" in told[2]
    profile.document(("net", made))


def test_weights_of_fp32_alone_are_compared_with_nothing():
    width, noise, judged = weights.weight_sheets([weight_range("FP32", "head")])
    assert not judged.rows
    for sheet in (width, noise):
        assert "*" not in sheet.notes[0]


def test_an_ablation_of_fp32_alone_has_no_empty_tables():
    scores = {"clean": dict.fromkeys(METRICS, (1.0,))}
    row = AblationRow(Choice("", "FP32"), "float", 10, 8, 1.0, 1.0, scores)
    made = Ablation("test", 1, 0, 1, 0, {}, 5, 0, 1, (0,), 10, (row,))
    assert [sheet.title for sheet in ablation.sheets(made)] == ["Ablation: clean images"]
    assert ablation.sheets(made)[0].notes[0].startswith("1 image of the test split, T = 1, 1 seed.")
