"""`shift --methods` and `selective --methods`: cells, temperatures, and what is compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from records_made import changed
from studied import studied

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.corruptions.registered import corrupt
from sigmabench.harness.data.splits import Split
from sigmabench.harness.methods.cells import cells_of
from sigmabench.harness.methods.method import METHODS
from sigmabench.harness.methods.tempering import FittingImages, tempered_outcomes
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.metrics.risk_coverage import area
from sigmabench.harness.predict import crossed
from sigmabench.harness.predict.halves import groups_of, halvings
from sigmabench.harness.predict.logit_law import LogitsOfPasses
from sigmabench.harness.predict.predicted import Summary
from sigmabench.harness.predict.temperature import (
    AVERAGE,
    PASSES,
    Temperature,
    fit_temperature,
    tempered,
)
from sigmabench.harness.records.shift_record import ShiftRecord
from sigmabench.harness.stats.equivalence import equivalence
from sigmabench.harness.stats.pairs import rivals_at
from sigmabench.harness.stats.shifted import METHOD, results
from sigmabench.harness.studies.selective import plan as selective
from sigmabench.harness.studies.selective.analyse import findings
from sigmabench.harness.studies.selective.referral import Choices
from sigmabench.harness.studies.shift.plan import plan
from sigmabench.harness.workload.conditions import ShiftPlan
from sigmabench.harness.workload.prepare import prepare
from sigmabench.harness.workload.workload import WORKLOADS

DIGITS = "lenet-digits"
IMAGES, MC = 80, 4
NAMES = ("mean-field", "mean", "analytic", "augment")
ASKED: dict[str, Any] = {
    "formats": ("FP32", "INT8", "INT8_SIGMA1"), "methods": NAMES, "types": ("contrast",),
    "severities": (5,), "mc": MC, "limit": IMAGES, "ood": (), "split": "validation",
}  # fmt: skip


def planned(**choices: Any) -> ShiftPlan:
    return plan(DIGITS, scoring=True, **{**ASKED, **choices})[0]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def records(stored: Path) -> list[ShiftRecord]:
    return studied("shift", planned(), stored)


def of(
    records: Sequence[ShiftRecord], method: str, format: str, severity: int, warm: bool = True
) -> ShiftRecord:
    asked = (method, format, severity, warm)
    (found,) = [
        one
        for one in records
        for cell in [one.subject]
        if (cell.method, cell.format, cell.severity, bool(cell.temperature)) == asked
    ]
    return found


def logits_of(method: str, format: str, images: Split, mc: int) -> torch.Tensor:
    """What a study of methods would be given; FP32's draws are those of the int8 formats here."""
    prepared = prepare(planned().base)
    made = METHODS.get(method).made(prepared, format)
    if method == "mean-field" and format == "FP32":
        made = replace(made, backend="drawn")
    x = images.batch(slice(None))
    found: torch.Tensor = made.passes(1).logits(x, 0, range(mc))  # type: ignore[union-attr]
    return found


def test_formats_keep_their_keys_and_methods_have_their_own() -> None:
    alone = {c.key for cells in cells_of(planned(methods=())).values() for c in cells}
    both = [c for cells in cells_of(planned()).values() for c in cells]
    keys = [c.key for c in both]
    assert len(set(keys)) == len(keys)
    assert alone == {c.key for c in both if not c.temperature}
    named = {(c.method, c.format) for c in both if c.temperature}
    assert named == {
        ("mean-field", "FP32"), ("mean-field", "INT8"), ("mean-field", "INT8_SIGMA1"),
        ("mean", "FP32"), ("mean", "INT8"), ("analytic", "FP32"),
        ("augment", "FP32"), ("augment", "INT8"),
    }  # fmt: skip
    mean = next(c for c in both if c.method == "mean")
    assert (mean.noise, mean.mc, mean.seed) == ("-", 1, 0)
    for change in ({"temperature": "validation ab"}, {"method": "x"}, {"members": ("ab",)}):
        assert replace(mean, **change).key != mean.key


def test_each_seed_of_what_draws_is_a_cell() -> None:
    cells = [c for each in cells_of(planned(seeds=2, types=())).values() for c in each]
    seeds: dict[str, list[int]] = {}
    for one in cells:
        if one.temperature and one.format == "INT8":
            seeds.setdefault(one.method, []).append(one.seed)
    assert seeds == {"mean-field": [0, 1], "mean": [0], "augment": [0, 1]}


def test_an_ensemble_names_all_its_networks() -> None:
    found = plan("lenet5-mnist", scoring=False, **{**ASKED, "methods": ("ensemble",)})[0]
    cells = [c for each in cells_of(found).values() for c in each if c.temperature]
    networks = METHODS.get("ensemble").networks(found.base)
    assert {(c.posterior, *c.members) for c in cells} == {tuple(n[:16] for n in networks)}
    assert {(c.mc, c.noise) for c in cells} == {(5, "-")}


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"methods": ("fancy",)}, "fancy"),
        ({"formats": ("BF16",), "methods": ("mean",)}, r"--formats names none of them; add one\.$"),
        ({"methods": ("ensemble",)}, "There is no ensemble in FP32, INT8, INT8_SIGMA1: no 2 netwo"),
        (
            {"formats": ("INT8_SIGMA1",), "methods": ("mean",)},
            "There is no mean in INT8_SIGMA1",
        ),
    ],
)
def test_what_is_not_there_is_said(choices: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        planned(**choices)


@pytest.mark.parametrize(("method", "format"), [("mean", "INT8"), ("mean-field", "FP32")])
def test_what_is_scored_has_the_temperature_of_validation_images(
    records: list[ShiftRecord], method: str, format: str
) -> None:
    splits = WORKLOADS.get(DIGITS).splits(None)
    whole, shown = splits.validation, splits.validation.limit(IMAGES)
    pixels = corrupt(shown.images, "contrast", 5, seed=0)
    found = of(records, method, format, 5)
    largest = found.subject.mc
    on_whole = logits_of(method, format, whole, largest)
    logits = logits_of(method, format, replace(shown, images=pixels), largest)
    assert found.body.validation_images == len(whole)
    for place, T in enumerate(found.body.mc):
        fitted = fit_temperature(on_whole[:T], whole.labels)
        stored = found.body.temperatures[place]
        assert (stored.tau, stored.form) == (pytest.approx(fitted.tau, rel=1e-4), fitted.form)
        expected = score(tempered(logits[:T], fitted, method == "mean"), shown.labels)
        for name in ("accuracy", "nll", "ece", "brier", "entropy"):
            assert found.score(name, T) == pytest.approx(expected[name], rel=1e-3, abs=1e-6), name
    clean = of(records, method, format, 0)
    assert clean.body.temperatures == found.body.temperatures
    plain = of(records, "mean-field", "FP32", 5, warm=False)
    if method == "mean-field":
        assert found.score("nll") != plain.score("nll")
        np.testing.assert_array_equal(
            found.array("mutual_information"), plain.array("mutual_information")
        )


def test_formats_are_scored_as_without_methods(records: list[ShiftRecord], tmp_path: Path) -> None:
    alone = studied("shift", planned(methods=()), tmp_path)
    plain = [changed(one, created="") for one in records if not one.subject.temperature]
    assert [changed(one, created="") for one in alone] == plain


@pytest.mark.thorough
def test_workers_give_what_one_process_gives(records: list[ShiftRecord], tmp_path: Path) -> None:
    asked = planned(formats=("FP32",))
    found = [changed(one, created="") for one in studied("shift", asked, tmp_path, workers=2)]
    assert found == [changed(r, created="") for r in records if r.subject.format == "FP32"]


@pytest.mark.parametrize("form", [PASSES, AVERAGE])
def test_halves_of_tempered_passes_are_what_they_would_predict(form: str) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((9, 20, 4), generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (20,), generator=generator)
    at = Temperature(1.7, form, 0.0, 0.0, 1)
    halves = tempered(logits, at, groups=True).outcomes(labels).halves
    assert halves is not None
    groups = np.array_split(np.arange(9), groups_of(9))
    for place, half in enumerate(halvings(len(groups))):
        for side, chosen in enumerate((half, ~half)):
            index = np.concatenate([groups[g] for g in np.flatnonzero(chosen)])
            alone = tempered(logits[index], at)
            torch.testing.assert_close(halves.confidence[side, place].double(), alone.confidence)
            assert halves.correct[side, place].equal(alone.correct(labels))
    for place in range(len(groups)):
        rest = np.concatenate([one for g, one in enumerate(groups) if g != place])
        expected = tempered(logits[rest], at).nll(labels)
        torch.testing.assert_close(halves.nll[place].double(), expected, rtol=1e-5, atol=1e-6)


class Fixed:
    """Passes of logits that are there already, of images whose first pixel is their number."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.all = logits

    def logits(self, x: torch.Tensor, seed: int, passes: range) -> torch.Tensor:
        index = (255 * torch.as_tensor(x)[:, 0, 0, 0]).round().long()
        return self.all[passes.start : passes.stop, index]


def numbered(images: int, labels: torch.Tensor) -> Split:
    pixels = torch.arange(images, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return Split("test", pixels, labels, (0.0,), (1.0,), 4)


def test_where_nothing_is_held_out_each_image_has_the_temperature_of_its_half() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = 2 * torch.randn((6, 90, 4), generator=generator)
    labels = torch.randint(0, 4, (90,), generator=generator)
    split = numbered(90, labels)
    parts = WORKLOADS.get(DIGITS).splits(None)
    on = FittingImages.of(replace(parts, test=split, held_out=False), limit=90)
    assert on.half is not None
    assert on.half.equal(crossed.halves_of(90))
    pairs = {T: on.fit(LogitsOfPasses(logits), T) for T in (2, 6)}
    found = tempered_outcomes(Fixed(logits), split, pairs, 0, False, 25, groups=True)
    for T, pair in pairs.items():
        for image in (0, 31, 89):
            alone: Summary = tempered(logits[:T, image : image + 1], pair[int(on.half[image])])
            torch.testing.assert_close(found[T].entropy[image], alone.entropy[0])
            torch.testing.assert_close(
                found[T].nll(labels)[image], alone.nll(labels[image : image + 1])[0]
            )
    assert found[6].halves is not None
    assert found[2].halves is None


def test_methods_are_held_against_the_mean_network_image_by_image(
    records: list[ShiftRecord],
) -> None:
    (study,) = results(records)
    assert list(study.methods) == [
        "mean-field FP32", "mean-field INT8", "mean-field INT8_SIGMA1", "mean FP32", "mean INT8",
        "analytic FP32", "augment FP32", "augment INT8",
    ]  # fmt: skip
    rivals = {name: study.rival(name) for name in study.formats}
    assert rivals == {
        "FP32": None, "INT8": None, "INT8_SIGMA1": None, "mean FP32": None, "mean INT8": None,
        "mean-field FP32": "mean FP32", "mean-field INT8": "mean INT8",
        "mean-field INT8_SIGMA1": "mean INT8", "analytic FP32": "mean FP32",
        "augment FP32": "mean FP32", "augment INT8": "mean INT8",
    }  # fmt: skip
    outcomes = equivalence(study, resamples=200, pairing=rivals_at)
    for one in outcomes:
        if one.metric != "nll":
            continue
        mine, other = (
            study.at(name, *(("contrast", 5) if one.severity else ("none", 0)))[0].array("nll")
            for name in (one.variant, one.reference)
        )
        assert one.effect == pytest.approx(float(mine.mean() - other.mean()), abs=1e-6)
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.effect + 1e-9
        assert one.luck == study.draws(one.variant)
    assert {study.kind(name) for name in study.methods} == {METHOD}


def test_what_is_said_of_formats_does_not_depend_on_methods(records: list[ShiftRecord]) -> None:
    (both,) = results(records)
    (alone,) = results([one for one in records if not one.subject.temperature])
    kept = [o for o in equivalence(both, resamples=200) if o.kind != METHOD]
    for one, other in zip(kept, equivalence(alone, resamples=200), strict=True):
        assert (one.variant, one.metric, one.verdict) == (
            other.variant,
            other.metric,
            other.verdict,
        )
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)
        assert one.p_holm == pytest.approx(other.p_holm)


def test_an_area_less_that_of_the_mean_network(tmp_path: Path) -> None:
    asked, _ = selective.plan(
        DIGITS, scoring=True, formats=("INT8",), methods=("mean-field", "mean"),
        splits=("validation",), mc=MC, seeds=2, limit=IMAGES, ood=(),
    )  # fmt: skip
    found = studied("selective", asked, tmp_path)
    made = findings(found, ("validation",), Choices(), resamples=100)
    compared = {one.variant: one.against_mean for one in made.selections}
    assert {name for name, one in compared.items() if one} == {"mean-field FP32", "mean-field INT8"}
    areas: dict[str, list[float]] = {"mean-field": [], "mean": []}
    for one in found:
        if one.subject.temperature and one.subject.format == "INT8":
            sure = torch.from_numpy(one.array("confidence").copy())
            right = torch.from_numpy(one.array("correct").copy())
            areas[one.subject.method].append(area(sure, ~right))
    change = compared["mean-field INT8"]
    assert change is not None
    assert change.other == "mean INT8"
    expected = np.mean(areas["mean-field"]) - np.mean(areas["mean"])
    assert change.change.value == pytest.approx(expected, abs=1e-6)
    assert 0 < change.p <= 1
    assert {one.found.variant for one in made.comparisons} == {"INT8"}


def test_commands_print_store_and_tell_scripts(
    records: list[ShiftRecord], stored: Path, tmp_path: Path
) -> None:
    base = [
        "shift", DIGITS, "--formats", "FP32,INT8,INT8_SIGMA1", "--methods", ",".join(NAMES),
        "--types", "contrast", "--severities", "5", "--mc", str(MC), "--limit", str(IMAGES),
        "--ood", "", "--split", "validation", "--results", str(stored), "--policy", "never",
    ]  # fmt: skip
    shown = CliRunner().invoke(main, [*base, "--detailed"])
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "Against one pass with a temperature" in shown.stdout
    told = json.loads(CliRunner().invoke(main, [*base, "--json"]).stdout)
    assert told["methods"]["mean INT8"] == "mean"
    assert {o["reference"] for o in told["against_mean"]} == {"mean FP32", "mean INT8"}
    assert any(line.startswith("mean-field INT8, NLL: ") for line in told["conclusions"])
    other = CliRunner().invoke(
        main,
        [
            "selective", DIGITS, "--formats", "INT8", "--methods", "mean-field,mean", "--mc", "2",
            "--splits", "validation", "--seeds", "1", "--limit", "80", "--ood", "",
            "--workers", "1", "--results", str(tmp_path),
        ],
    )  # fmt: skip
    assert other.exit_code == 0, other.output
    assert max(map(len, other.stdout.splitlines())) <= 80
    assert "Against one pass with a temperature" in other.stdout
