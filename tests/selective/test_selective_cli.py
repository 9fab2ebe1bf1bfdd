"""`sigmabench selective` end to end on the embedded digits, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from records_made import changed
from selective_cases import found_of, noisy_run, sample

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Splits
from sigmabench.harness.records.shift_record import SHIFT_RECORDS
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.selective.agreement import comparisons
from sigmabench.harness.studies.selective.analyse import findings
from sigmabench.harness.studies.selective.conclusions import answer
from sigmabench.harness.studies.selective.plan import selective_plan
from sigmabench.harness.studies.selective.referral import Choices
from sigmabench.harness.studies.selective.selective_sheets import classes
from sigmabench.harness.workload.workload import WORKLOADS

DIGITS = WORKLOADS.get("lenet-digits")
FORMATS = "int8_sigma1,DNN_INT8"


def call(results: Path, *options: str) -> Result:
    given = ["--formats", FORMATS, "--mc", "6", "--seeds", "2", "--limit", "60"]
    where = ["--backend", "reference", "--workers", "1", "--results", str(results)]
    return CliRunner().invoke(main, ["selective", "lenet-digits", *given, *where, *options])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    path, out = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("out")
    return path, out, call(path, "--out", str(out), "--tiles", "7")


def test_tables_fit_and_files_are_there(stored: tuple[Path, Path, Result]) -> None:
    _, out, told = stored
    assert told.exit_code == 0, told.output
    lines = [line for line in told.output.splitlines() if not line.startswith(str(out))]
    assert max(map(len, lines)) <= 80
    for title in (
        "Risk and coverage",
        "Within a bound of 5 %",
        "By class: test",
        "Who is referred",
    ):
        assert title in told.output
    assert "Would quantization change who is referred?" in told.output
    for name in ("risk-coverage", "referred", "referred-classes", "least-sure-test"):
        for kind in ("svg", "png"):
            assert (out / f"lenet-digits-{name}.{kind}").is_file()
    text = (out / "lenet-digits-selective.md").read_text()
    assert "**Conclusions**" in text
    rows = (out / "lenet-digits-selections.csv").read_text().splitlines()
    assert len(rows) == 1 + 4
    assert rows[0].startswith("split,variant,images,seeds,error_value,error_low,error_high")


def test_every_split_is_scored_with_one_noise(stored: tuple[Path, Path, Result]) -> None:
    records = Store(stored[0], SHIFT_RECORDS).records()
    cells = {(r.subject.split, r.subject.format, r.subject.seed) for r in records}
    bayesian = {
        (s, f, n) for s in ("test", "validation") for f in ("FP32", "INT8_SIGMA1") for n in (0, 1)
    }
    twins = {(s, f, 0) for s in ("test", "validation") for f in ("DNN_FP32", "DNN_INT8")}
    assert cells == bayesian | twins
    assert {r.subject.noise for r in records} == {"stream-v1", "-"}
    assert {r.body.images for r in records} == {60}
    assert all(("contrast.aurc" in r.arrays) == (r.subject.noise != "-") for r in records)


def test_json_is_whole_and_reading_scores_nothing(stored: tuple[Path, Path, Result]) -> None:
    told = call(stored[0], "--policy", "never", "--json", "--bound", "10", "--coverage", "70")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert (found["coverage"], found["bound"], found["mc"]) == (70, 10, 6)
    kinds = {one["variant"]: one for one in found["selections"]}
    assert list(kinds) == ["FP32", "INT8_SIGMA1", "DNN_FP32", "DNN_INT8"]
    for one in kinds.values():
        assert one["images"] == 60
        assert len(one["bounded"]["threshold"]) == one["seeds"]
        assert sum(c["images"] for c in one["classes"]) == 60
        referred = sum(c["images"] * c["referred"] for c in one["classes"]) / 100
        assert referred == pytest.approx(18)
    assert {c["found"]["variant"] for c in found["comparisons"]} == {"INT8_SIGMA1", "DNN_INT8"}


def test_reading_loads_no_images(
    stored: tuple[Path, Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sets from outside nor the splits; what needs no data is written before that fails."""

    def gone(*_: object) -> None:
        raise UserError("There is no data here.")

    monkeypatch.setitem(WORKLOADS._loaded, "lenet-digits", replace(DIGITS, splits=gone))
    monkeypatch.setattr("sigmabench.harness.data.outside.load_ood", gone)
    told = call(stored[0], "--policy", "never", "--ood", "svhn", "--out", str(tmp_path))
    assert told.exit_code == 2
    assert told.stderr == "sigmabench: There is no data here.\n"
    written = {path.name for path in tmp_path.iterdir()}
    assert {"lenet-digits-selective.md", "lenet-digits-risk-coverage.svg"} < written
    assert str(tmp_path / "lenet-digits-risk-coverage.svg") in told.stdout


def test_test_sets_that_are_not_there_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default; who names one is refused. Records of one need no data, and its sheet is not
    drawn."""
    missing, quick = "There is no file of it.", ("--formats", "DNN_INT8", "--seeds", "1")
    parts = DIGITS.splits(None)

    def elsewhere(splits: Splits) -> None:
        here = replace(DIGITS, other_splits=("elsewhere",), splits=lambda _: splits)
        monkeypatch.setitem(WORKLOADS._loaded, "lenet-digits", here)

    elsewhere(replace(parts, absent={"elsewhere": missing}))
    told = call(tmp_path, *quick)
    assert told.exit_code == 0, told.output
    assert f"elsewhere is skipped: {missing}" in told.stderr.splitlines()
    told = call(tmp_path, *quick, "--policy", "never")
    assert told.exit_code == 0, told.output
    assert told.stderr == "elsewhere is skipped: there is no record of it.\n"
    told = call(tmp_path, *quick, "--splits", "test,elsewhere")
    assert (told.exit_code, told.stderr.splitlines()[-1]) == (2, f"sigmabench: {missing}")
    told = call(tmp_path, *quick, "--splits", "elsewhere", "--policy", "never")
    assert told.exit_code == 2
    assert "There is no record of the elsewhere split" in told.stderr

    elsewhere(replace(parts, others={"elsewhere": replace(parts.validation, name="elsewhere")}))
    assert "skipped" not in call(tmp_path, *quick).stderr
    elsewhere(replace(parts, absent={"elsewhere": missing}))
    told = call(tmp_path, *quick, "--policy", "never", "--out", str(tmp_path / "out"))
    assert told.exit_code == 0, told.output
    assert told.stderr == f"No sheet of elsewhere is drawn: {missing}\n"
    sheets = {path.name for path in (tmp_path / "out").glob("*-least-sure-*.svg")}
    assert sheets == {"lenet-digits-least-sure-test.svg"}


def test_what_another_machine_cannot_answer_is_told_beside_what_one_can(
    stored: tuple[Path, Path, Result], tmp_path: Path
) -> None:
    """Of the first a table each, of the second a line that names it."""
    both = Store(tmp_path, SHIFT_RECORDS)
    for record in Store(stored[0], SHIFT_RECORDS).records():
        both.save(record)
        if record.subject.split == "validation":
            other = replace(record.fingerprint, cpu="Another CPU", machine=None)
            both.save(changed(record, fingerprint=other))
    told = call(tmp_path, "--policy", "never", "--splits", "test")
    assert told.exit_code == 0, told.output
    assert "Another CPU" in told.stderr
    assert "There is no record of the test split" in told.stderr
    assert told.stdout.count("Would quantization change") == 1
    assert "Another CPU" not in told.stdout


def test_a_report_shows_what_the_command_shows(stored: tuple[Path, Path, Result]) -> None:
    asked = ["report", "lenet-digits", "--study", "selective", "--format", "markdown"]
    told = CliRunner().invoke(main, [*asked, "--results", str(stored[0])])
    assert told.exit_code == 0, told.output
    assert told.stdout.rstrip() == (stored[1] / "lenet-digits-selective.md").read_text().rstrip()


def test_validation_as_a_test_set_says_what_it_is(stored: tuple[Path, Path, Result]) -> None:
    told = call(stored[0], "--splits", "validation", "--policy", "never")
    assert told.exit_code == 0, told.output
    assert "were chosen on these very images" in " ".join(told.output.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--by", "variance"), "score of --by"),
        (("--coverage", "100"), "--coverage is 100; give a percentage between 0 and 100"),
        (("--bound", "0"), "--bound is 0; give a percentage"),
        (("--splits", "train"), "The split 'train' is not scored; give one of test, validation"),
        (("--splits", "test,slides"), "The split 'slides' is not scored"),
        (("--splits", ","), "--splits names nothing; give at least one test set"),
        (("--formats", "INT9"), "INT9"),
        (("--formats", ","), "--formats names nothing; give at least one format"),
        (("--tiles", "0"), "--tiles"),
        (("--ood", "no-such-set"), "no-such-set"),
    ],
)
def test_mistakes_are_named(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    told = call(tmp_path, *options)
    assert told.exit_code == 2
    assert message in told.output
    assert told.output.count("\n") == 1


def test_nothing_stored_says_so(tmp_path: Path) -> None:
    told = call(tmp_path, "--policy", "never")
    assert told.exit_code == 2
    assert (
        "holds no record of this study; ask for one that is there, or leave out --policy never"
        in told.output
    )


def test_a_plan_has_floats_and_the_workload_s_own_sets() -> None:
    histology = WORKLOADS.get("histology-colorectal")
    plan, skipped = selective_plan(replace(histology, outside=()), formats=("INT8", "BF16"))
    assert plan.splits == ("test", "held-out-slides", "other-cohort")
    assert plan.cells.base.split == "test"
    assert plan.cells.splits == ("validation", "held-out-slides", "other-cohort")
    assert set(plan.cells.base.formats) == {"FP32", "BF16", "INT8"}
    assert skipped == ()
    with pytest.raises(UserError, match="did you mean"):
        selective_plan(DIGITS, by="confidense")


@pytest.mark.parametrize(
    ("noise", "words"),
    [(1.0, "Yes, beyond the luck"), (0.1, "Not more than the luck"), (None, "Less than the luck")],
)
def test_the_answer_follows_the_verdicts(noise: float | None, words: str) -> None:
    floats = [noisy_run(seed, 0.1) for seed in range(5)]
    others = floats if noise is None else [noisy_run(seed + 10, noise) for seed in range(5)]
    both = sample({"FP32": floats, "INT8": others})
    choices = Choices(coverage=0.75)
    found = replace(
        found_of(both, choices, "synthetic"),
        comparisons=tuple(comparisons([both], choices, resamples=300)),
    )
    assert words in answer(found)
    assert ("INT8 on test" in answer(found)) == (noise == 1.0)
    assert "Not judged" in answer(replace(found, comparisons=()))


def test_classes_have_their_names(stored: tuple[Path, Path, Result]) -> None:
    named = replace(DIGITS, class_names=tuple("abcdefghij"))
    records = Store(stored[0], SHIFT_RECORDS).records()
    found = findings(records, ("test",), Choices(), workload=named)
    sheet = classes(found, "test", every=True)
    assert [row[0] for row in sheet.rows] == list("abcdefghij") * 3
