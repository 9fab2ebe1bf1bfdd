"""Tables of shift studies: what they say, that it fits, and what an unfinished study gives."""

from __future__ import annotations

import csv
import io
import json
from statistics import mean, median

import numpy as np
import pytest
from margins import MARGINS
from records_made import changed
from rich.console import Console
from shift.shift_factory import TYPES, study
from sklearn.metrics import roc_auc_score

from sigmabench.harness.core.words import csv_files
from sigmabench.harness.report.rendering import markdown, terminal
from sigmabench.harness.stats.equivalence import equivalence
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.studies.shift import document as tables
from sigmabench.harness.studies.shift import shift_sheets as sheets
from sigmabench.harness.studies.shift import verdict_sheets as verdicts
from sigmabench.harness.studies.shift.analyse import ShiftFindings, claims, sentences


def drawn(renderable):
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def found():
    made = study(
        severities=(1, 5), images=200, mc=(1, 2, 5, 10), seeds=(0, 1),
        ranges=("headroom", "paper"), ood=("svhn", "cifar100"), harm={"INT8_SIGMA1": 0.6},
    )  # fmt: skip
    return results(made)[0]


@pytest.fixture(scope="module")
def outcomes(found):
    return equivalence(found, resamples=400)


def findings(found, outcomes, paper=None):
    """What the document is made of."""
    records = [record for group in found.records.values() for record in group]
    return ShiftFindings("synthetic", records, found, outcomes, paper)


def document(found, outcomes, paper=None, detailed=False):
    return tables.document(findings(found, outcomes, paper), detailed=detailed)


def test_everything_fits_80_columns_whole(found, outcomes, reference):
    output = drawn(terminal(document(found, outcomes, reference, detailed=True)))
    assert max(map(len, output.splitlines())) <= 80
    lines = [line.split() for line in output.splitlines()]
    for sheet in (
        sheets.clean(found),
        sheets.paper(found, reference),
        sheets.boxes(found),
        sheets.passes(found),
        sheets.outside(found),
        sheets.ranges(found),
        verdicts.grid(outcomes),
        verdicts.details(outcomes),
    ):
        assert sheet.rows, sheet.title
        for row in sheet.rows:
            cells = " ".join(row[sheet.grouped :]).split()
            assert any(line[-len(cells) :] == cells for line in lines), (sheet.title, row)
    flowed = " ".join(output.split())
    for sentence in (*sentences(outcomes), *claims(outcomes)):
        assert sentence in flowed


def test_medians_are_those_of_the_records_over_types(found):
    rows = {row[:2]: row for row in sheets.boxes(found, ranges=True).rows}
    values = [mean(r.score("ece") for r in found.at("INT8", t, 5)) for t in TYPES]
    want = f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
    assert rows["5", "INT8"][3] == want
    assert "(" not in "".join(rows["0", "INT8"])


def test_clean_scores_have_their_deviation_over_seeds_and_floor(found):
    row = next(r for r in sheets.clean(found).rows if r[0] == "INT8")
    scores = [r.score("accuracy") for r in found.at("INT8")]
    assert row[1].strip() == f"{np.mean(scores):.2f}({round(100 * np.std(scores, ddof=1)) or '<1'})"
    floors = [r.score("ece_floor") for r in found.at("INT8")]
    assert row[3] == f"{np.mean(floors):.2f}"
    twin = next(r for r in sheets.clean(found).rows if r[0] == "DNN_INT8")
    assert twin[-1].strip() == "–"


def test_paper_s_figures_stand_beside_those_of_their_format_alone(found, reference):
    sheet = sheets.paper(found, reference)
    assert {row[0] for row in sheet.rows} == {"FP32", "INT8", "INT8 paper"}
    assert [row[2] for row in sheet.rows[:3]] == ["99.40", "99.36", "99.36"]
    assert sheet.rows[1][5] == "−0.04"


def test_passes_are_shown_at_both_ends(found):
    sheet = sheets.passes(found)
    assert list(sheet.headings.values()) == [
        "accuracy %, clean",
        "accuracy %, severity 5",
        "NLL nats, clean",
        "NLL nats, severity 5",
    ]
    at = dict(zip((c.name for c in sheet.columns), sheet.rows[0], strict=True))
    assert at["T 1"] == f"{mean(r.score('accuracy', 1) for r in found.at('FP32')):.2f}"
    twin = next(row for row in sheet.rows if row[0] == "DNN_FP32")
    assert twin[2:] == ("", "", "")


def test_detection_pairs_seeds_and_is_sklearn_s(found):
    aurocs = []
    for inside, outside in zip(found.at("INT8"), found.at("INT8", "ood:svhn"), strict=True):
        assert inside.subject.seed == outside.subject.seed
        scores = [r.array("mutual_information") for r in (inside, outside)]
        truth = np.repeat([0, 1], [len(scores[0]), len(scores[1])])
        aurocs.append(roc_auc_score(truth, np.concatenate(scores)))
    rows = tables.to_dict(findings(found, []))["ood"]
    ours = [
        row["auroc"]
        for row in rows
        if (row["ood"], row["variant"], row["by"]) == ("svhn", "INT8", "mutual_information")
    ]
    assert ours == pytest.approx(aurocs)
    assert not [r for r in rows if r["variant"] == "DNN_INT8" and r["by"] != "entropy"]


def test_grid_and_details_say_what_the_outcomes_say(found, outcomes):
    grid = verdicts.grid(outcomes)
    for metric, first in zip(MARGINS, grid.headings, strict=True):
        for row in grid.rows[first : first + 6]:
            family = [o for o in outcomes if (o.metric, o.variant) == (metric, row[0])]
            assert row[1] == family[0].reference
            assert list(row[2:]) == [verdicts.SYMBOLS[verdicts.kind(o)] for o in family]
    assert any("!" in row for row in grid.rows)
    assert len(verdicts.details(outcomes).rows) == len(outcomes)


def test_ranges_need_both(found):
    sheet = sheets.ranges(found)
    assert [c.name for c in sheet.columns] == ["", "FP32", "INT8", "INT8 paper"]
    want = mean(r.score("nll") for r in found.at("INT8 paper"))
    (clean,) = [row for row in sheet.rows if row[-1] == f"{want:.4f}"]
    assert clean[0] == "clean"
    (plain,) = results(study(("FP32", "INT8"), (), (), images=20))
    assert sheets.ranges(plain).rows == ()


def test_json_and_csv_and_markdown_agree(found, outcomes, reference):
    tree = json.loads(json.dumps(document(found, outcomes, reference).values, allow_nan=False))
    assert tree["claims"] == claims(outcomes)
    files = {
        k: list(csv.DictReader(io.StringIO(v)))
        for k, v in csv_files(document(found, outcomes).data).items()
    }
    assert len(files["equivalence"]) == len(tree["equivalence"]) == len(outcomes)
    assert [float(r["effect"]) for r in files["equivalence"]] == [o.effect for o in outcomes]
    assert [float(r["median"]) for r in files["severities"]] == [
        r["median"] for r in tree["severities"]
    ]
    labelled = [r for rs in found.records.values() for r in rs if r.labelled]
    assert len(files["scores"]) == sum(len(r.body.mc) for r in labelled)
    words = markdown(document(found, outcomes, reference))
    assert words.startswith("## synthetic: test split, 200 images")
    assert all(f"**{title}**" in words for title in ("By severity", "Equivalence tests"))


@pytest.mark.parametrize(
    "keep",
    [
        lambda c: c.format == "INT8",
        lambda c: c.corruption == "none",
        lambda c: c.corruption.startswith("ood:"),
        lambda c: c.severity == 5 and c.format != "FP32",
        lambda c: (c.format, c.corruption) != ("INT8", "none"),
        lambda c: c.seed == 0 or c.corruption != "fog",
    ],
)
def test_an_unfinished_study_is_shown_as_far_as_it_goes(found, reference, keep):
    left = [r for rs in found.records.values() for r in rs if keep(r.subject)]
    (partial,) = results(left)
    outcomes = equivalence(partial, resamples=20)
    made = document(partial, outcomes, reference, detailed=True)
    output = drawn(terminal(made))
    assert "Conclusions" in output
    for line in partial.missing():
        assert line in " ".join(output.split())
    json.dumps(made.values, allow_nan=False)
    assert markdown(made)
    files = csv_files(made.data)
    inside = [not r.subject.corruption.startswith("ood:") for r in left]
    assert set(files) <= {"scores", "severities", "ood", "equivalence"}
    assert ("scores" in files) == ("severities" in files) == any(inside)
    assert ("ood" in files) <= (not all(inside))
    assert all(len(text.splitlines()) > 1 for text in files.values())


def test_scores_that_were_not_computed_are_dashes(found):
    bare = [changed(r, scores={}) for rs in found.records.values() for r in rs]
    (partial,) = results(bare)
    assert all(cell.strip() in ("–", row[0]) for row in sheets.clean(partial).rows for cell in row)
    assert drawn(terminal(document(partial, equivalence(partial, resamples=10))))
