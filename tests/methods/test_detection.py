"""How well images from outside are told: resamples against scikit-learn, intervals against
repetition, and the study's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score
from studied import studied

from sigmabench.harness.cli.main import main
from sigmabench.harness.data.units import Units
from sigmabench.harness.records.methods_record import MethodRecord
from sigmabench.harness.stats import auroc
from sigmabench.harness.stats.auroc import Ordered, TwoKinds, aurocs, difference
from sigmabench.harness.stats.significance import holm
from sigmabench.harness.studies.methods import analyse, document
from sigmabench.harness.studies.methods.detection_sheet import (
    ENTROPY,
    MUTUAL,
    PLAIN,
    detected_outside,
    detection_sheet,
)
from sigmabench.harness.studies.methods.plan import MethodsPlan, asked, plan
from sigmabench.harness.studies.methods.secondary_sheet import secondary

INSIDE, OUTSIDE = 90, 75


def test_an_area_is_scikit_learns_of_the_images_as_often_as_they_are_drawn() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(size=40).round(1), (rng.normal(size=25) + 0.7).round(1)
    ordered, truth = Ordered(inside, outside), np.repeat([0, 1], [40, 25])
    counts = rng.integers(0, 4, (6, 65)).astype(float)
    scores = np.concatenate([inside, outside])
    for row, area in zip(counts, ordered.area(counts), strict=True):
        assert area == pytest.approx(roc_auc_score(truth, scores, sample_weight=row))


def test_tiles_of_one_source_are_drawn_together() -> None:
    sources = np.repeat(np.arange(10), 4)
    kinds = TwoKinds(Units.of(40, sources), Units.of(30))
    for counts in kinds.counts(3):
        together = counts[:, :40].reshape(len(counts), 10, 4)
        assert (together == together[:, :, :1]).all()
        assert (together[:, :, 0].sum(1) == 10).all()
        assert (counts[:, 40:].sum(1) == 30).all()
        assert len(np.unique(counts[:, 40:])) > 2


def test_one_source_tells_no_interval() -> None:
    rng = np.random.default_rng(1)
    scores = Ordered(rng.normal(size=8), rng.normal(size=9))
    (found,), draws = aurocs([scores], TwoKinds(Units.of(8, np.zeros(8)), Units.of(9)))
    assert (found.low, found.high) == (None, None)
    assert difference(found, found, (draws[0], draws[0])) is None


@pytest.mark.parametrize("tiles", [1, 5])
def test_intervals_are_as_wide_as_repetition_says(
    tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an AUROC and of a difference; five tiles of one source are alike."""
    monkeypatch.setattr(auroc, "RESAMPLES", 200)
    rng = np.random.default_rng(2)
    values, widths = [], []
    for _ in range(60):
        hard = np.repeat(rng.normal(size=(2, 40)), tiles, axis=1)
        noise = 0.5 * rng.normal(size=(2, 2, 40 * tiles))
        mine, other = (Ordered(hard[0] + n[0], hard[1] + 1 + n[1]) for n in noise)
        units = Units.of(40 * tiles, np.repeat(np.arange(40), tiles))
        (one, two), draws = aurocs([mine, other], TwoKinds(units, units))
        less = difference(one, two, (draws[0], draws[1]))
        assert one.low is not None
        assert one.high is not None
        assert less is not None
        values.append((one.value, less.value))
        widths.append((one.high - one.low, less.high - less.low))
    spread = 2 * 1.96 * np.std(values, axis=0, ddof=1)
    assert np.mean(widths, axis=0) == pytest.approx(spread, rel=0.25)


def planned(path: Path, **choices: Any) -> MethodsPlan:
    given: dict[str, Any] = {
        "scoring": True, "methods": ("mean-field", "mean"), "formats": ("INT8",), "mc": (1, 3),
        "types": ("none",),
        "ood": (str(path),), "limit": INSIDE, "shifted": OUTSIDE, "fitted": 50, "seeds": 2,
        "untimed": True,
    }  # fmt: skip
    return plan("lenet-digits", **{**given, **choices})[0]


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outside") / "noise.npz"
    images = np.random.default_rng(7).integers(0, 256, (OUTSIDE, 8, 8), dtype=np.uint8)
    np.savez(path, images=images)
    return path


@pytest.fixture(scope="module")
def records(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> list[MethodRecord]:
    return studied("methods", planned(noise), tmp_path_factory.mktemp("results"))


def test_the_table_has_the_aurocs_of_the_records(records: list[MethodRecord], noise: Path) -> None:
    (found,) = analyse.analyse(records, planned(noise))
    told = {one.method: one for one in detected_outside(found)}
    truth = np.repeat([0, 1], [INSIDE, OUTSIDE])
    values: dict[tuple[str, str], float] = {}
    for method, one in told.items():
        clean = found.of(method, "INT8")
        (outside,) = (
            r for r in records
            if r.subject.corruption == "ood:noise" and r.subject.method == method
        )  # fmt: skip
        assert clean is not None
        for measure, got in one.scores.items():
            scores = np.concatenate([r.each(measure)[0] for r in (clean, outside)])
            values[method, measure] = roc_auc_score(truth, scores)
            assert got.value == pytest.approx(values[method, measure])
            assert got.low is not None
            assert got.high is not None
            assert got.low <= got.value <= got.high
    assert set(told["mean-field"].scores) == {PLAIN, ENTROPY, MUTUAL}
    assert set(told["mean"].scores) == {PLAIN, ENTROPY}
    assert told["mean"].against_mean is None
    less = told["mean-field"].against_mean
    assert less is not None
    assert less.value == pytest.approx(values["mean-field", ENTROPY] - values["mean", ENTROPY])
    sheet = detection_sheet(list(told.values()))
    assert sheet.headings == {0: "noise"}
    assert sheet.rows[1][-2:] == ("–", "–")


def test_aurocs_of_all_sets_are_one_family(records: list[MethodRecord], noise: Path) -> None:
    (found,) = analyse.analyse(records, planned(noise))
    (one,) = detected_outside(found)[:1]
    assert one.against_mean is not None
    twice = [one, type(one)("other", one.method, one.format, one.mc, one.scores, one.against_mean)]
    (made,) = secondary(found, twice)
    assert [name for name in made.differences if name.startswith("auroc")] == [
        "auroc noise", "auroc other",
    ]  # fmt: skip
    p = one.against_mean.p
    assert made.p_holm["auroc noise"] == pytest.approx(holm([p, p])[0])
    assert made.p_holm["brier"] == made.differences["brier"].p


def test_few_images_judge_nothing(noise: Path, tmp_path: Path) -> None:
    few = planned(noise, shifted=20)
    (found,) = analyse.analyse(studied("methods", few, tmp_path), few)
    assert all(one.against_mean is None for one in detected_outside(found))
    assert document.document(found).values["outside"][0]["outside"] == "noise"


def test_tables_keep_to_80_columns(noise: Path, tmp_path: Path) -> None:
    """With eight T, as of a workload with ensembles."""
    command = [
        "methods", "lenet-digits", "--methods", "mean-field,mean,augment", "--formats",
        "INT8,INT8_SIGMA1", "--mc", "1,2,3,4,5,10,20,50", "--types", "contrast", "--severities",
        "3", "--limit", "80", "--shifted", "75", "--fitted", "40", "--seeds", "1", "--ood",
        str(noise), "--untimed", "--results", str(tmp_path),
    ]  # fmt: skip
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "AUROC, noise" in shown.stdout
    for title in ("NLL with a temperature against T", "Images from outside"):
        assert title in shown.stdout


def test_scores_are_of_so_many_cores_and_are_shown_for_any(noise: Path) -> None:
    one, two = (planned(noise, scoring=False, threads=count) for count in (1, 2))
    keys = [{s.key for m, f in p.asked() for s, _ in p.subjects(m, f)} for p in (one, two)]
    assert not keys[0] & keys[1]
    names = [
        [name for m, f in p.asked() for s, _ in p.subjects(m, f) for name in asked(s)]
        for p in (one, two)
    ]
    assert names[0] == names[1]
