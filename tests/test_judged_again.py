"""Published records judged again: what their fields allow, and what became of the verdicts."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from pairing import each
from records_made import changed
from report import factory
from scipy import stats

from sigmabench.harness.core.contents import superseded
from sigmabench.harness.data.units import Units
from sigmabench.harness.records.run_record import RUN_RECORDS, Paired, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.records.verdict import INVALID, VALID
from sigmabench.harness.report.rows import sections
from sigmabench.harness.stats.paired import paired

ROOT = Path(__file__).parents[1]


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("results.again.records")


@pytest.fixture
def across(again: ModuleType) -> ModuleType:
    return import_module("results.again.across")


@pytest.fixture(scope="module")
def stored() -> RunRecord:
    """One that is published, of an int8 format."""
    records = Store(ROOT / "results", RUN_RECORDS).records("lenet-digits", format="INT8", mc=50)
    return records[0]


def test_what_is_published_is_the_same_again(again: ModuleType, stored: RunRecord) -> None:
    found = again.judged(stored)
    assert found.changed == []
    assert found.again.quality.audits["activations in range"] == "pass"
    assert {"draws differ", "inputs not cached", "not throttled"} <= set(found.unjudged)
    assert found.again.audits["draws differ"] == stored.verdict.audits["draws differ"]


def test_noise_is_judged_by_the_raw_samples(again: ModuleType, stored: RunRecord) -> None:
    count = len(stored.body.timing.slices)
    medians = 1_000_000 * (1 + np.arange(count) % 2)
    latency = tuple(np.repeat(medians, stored.body.timing.slices).tolist())
    noisy = changed(stored, timing=replace(stored.body.timing, latency_ns=latency))
    found = again.judged(noisy)
    assert found.stored.of("speed") == VALID
    assert (found.again.of("speed"), found.again.of("quality")) == (INVALID, VALID)
    what = {change.what for change in found.changed}
    assert {"speed", "audit noise", "noise", "images per second"} <= what


def test_moments_are_judged_by_the_z_scores(again: ModuleType, stored: RunRecord) -> None:
    wrong = replace(stored.body.fidelity[0], moment_mean_z=40.0)
    found = again.judged(changed(stored, fidelity=(wrong, *stored.body.fidelity[1:])))
    assert found.again.invalid == ("quality", "fidelity")
    assert "|z| 40.0" in found.audits["moments"]


@pytest.mark.parametrize(
    ("share", "outcome", "told"),
    [(0.0018, "pass", 0), (0.002, "pass", 1), (0.0078, "pass", 1), (0.008, "fail", 1)],
)
def test_activations_have_two_levels(
    again: ModuleType, stored: RunRecord, share: float, outcome: str, told: int
) -> None:
    cut = replace(stored.body.fidelity[1], saturation=share)
    layers = (stored.body.fidelity[0], cut, *stored.body.fidelity[2:])
    found = again.judged(changed(stored, fidelity=layers))
    assert again.word(found.audits["activations in range"]) == outcome
    lines = [change.again for change in found.changed if change.what == "finding"]
    assert len(lines) == told
    assert all(cut.layer in line and "--calibrate sampled" in line for line in lines)


def test_deterministic_records_of_before_hold_no_shares(
    again: ModuleType, stored: RunRecord
) -> None:
    twin = changed(stored, fidelity=(), subject=replace(stored.subject, format="DNN_INT8"))
    found = again.judged(twin)
    assert "activations in range" in found.unjudged
    assert "activations in range" not in found.audits
    shares = {"stem": 0.5}
    assert again.word(again.judged(changed(twin, saturation=shares)).audits["activations in range"])


def test_findings_come_and_go(again: ModuleType, stored: RunRecord) -> None:
    layer = stored.body.fidelity[0]
    gone = f"{layer.layer}: 3.0% of draws clamped"
    kept = "pretrained weights are from a file"
    verdict = replace(stored.verdict, findings=(gone, kept))
    lost = replace(layer, std_ratio=0.2)
    found = again.judged(
        changed(stored, verdict=verdict, fidelity=(lost, *stored.body.fidelity[1:]))
    )
    changes = [(one.stored, one.again) for one in found.changed if one.what == "finding"]
    new = f"{layer.layer}: POSTERIOR LOST: σ of the draws is 0.20 of the original"
    assert changes == [("", new), (gone, "")]


def test_a_variable_that_binds_leaves_the_cores_open(again: ModuleType, stored: RunRecord) -> None:
    bound = replace(stored.fingerprint, environment={"OMP_PROC_BIND": "true"})
    assert "cores free" in again.judged(stored).audits
    assert "cores free" not in again.judged(changed(stored, fingerprint=bound)).audits
    loose = replace(stored.fingerprint, environment={"OMP_PROC_BIND": "false"})
    assert "cores free" in again.judged(changed(stored, fingerprint=loose)).audits


def test_ratios_of_before_were_over_the_fastest_of_all_races(across: ModuleType) -> None:
    races = [
        factory.one_race(
            [
                factory.record(format=name, posterior=posterior, slowdown=slowdown, mc=50)
                for name in ("FP32", "INT8")
            ],
            race=posterior,
        )
        for posterior, slowdown in (("a" * 16, 1.0), ("b" * 16, 2.0))
    ]
    found = {
        (one.row.record.subject.posterior[0], one.row.record.subject.format): one
        for one in across.speedups([record for race in races for record in race])
    }
    p50 = [[one.body.timing.percentiles_ns["p50"] for one in race] for race in races]
    assert set(found) == {("b", "FP32"), ("b", "INT8")}
    assert found["b", "FP32"].before == pytest.approx(p50[0][0] / p50[1][0])
    assert found["b", "INT8"].before == pytest.approx(p50[0][0] / p50[1][1])
    assert found["b", "FP32"].now == 1.0
    assert found["b", "INT8"].now == pytest.approx(p50[1][0] / p50[1][1])


def half_an_image(mine: np.ndarray, other: np.ndarray, sources: np.ndarray) -> tuple[float, float]:
    """Interval of accuracy as it was, by the formula of then."""
    d = 100.0 * (mine.astype(float) - other)
    sums = np.array([(d - d.mean())[sources == one].sum() for one in np.unique(sources)])
    spread = (sums**2).sum() * len(sums) / (len(sums) - 1)
    half = math.sqrt(spread + 100.0**2) / (len(d) + 2) * stats.t.ppf(0.975, len(sums) - 1)
    return d.mean() - half, d.mean() + half


def held(
    differ: float, gained: float, sources: np.ndarray
) -> tuple[Paired, dict[str, tuple[float, float] | None]]:
    """A pair as it was stored, and the intervals of today of what it was made of."""
    rng = np.random.default_rng(4)
    images = len(sources)
    differs = rng.random(images) < differ
    mine = rng.random(images) < gained
    other = mine ^ differs
    sides = [
        each(nll=torch.zeros(images, dtype=torch.float64), correct=torch.from_numpy(right))
        for right in (mine, other)
    ]
    now = paired("FP32", sides[:1], sides[1:], torch.from_numpy(sources))
    before = {**now.intervals, "accuracy_percent": half_an_image(mine, other, sources)}
    return Paired("FP32", (1, 1), now.differences, before), now.intervals


@pytest.mark.parametrize("gained", [0.5, 0.1])
@pytest.mark.parametrize("differ", [0.005, 0.02, 0.3])
def test_an_interval_of_today_lies_between_the_stored_one_and_the_widest(
    across: ModuleType, differ: float, gained: float
) -> None:
    sources = np.repeat(np.arange(80), 1 + np.arange(80) % 13)
    stored, now = held(differ, gained, sources)
    low, high = now["accuracy_percent"]
    least, most = across.widest(stored, len(sources), Units.of(len(sources), sources))
    assert least - 1e-9 <= low <= stored.intervals["accuracy_percent"][0] + 1e-9
    assert stored.intervals["accuracy_percent"][1] - 1e-9 <= high <= most + 1e-9
    assert most - least < 1.7 * (high - low)


def test_where_nothing_differs_the_widest_interval_is_that_of_today(across: ModuleType) -> None:
    sources = np.repeat(np.arange(80), 7)
    stored, now = held(0.0, 0.5, sources)
    found = across.widest(stored, 560, Units.of(560, sources))
    assert found == pytest.approx(now["accuracy_percent"])


def test_an_interval_of_other_making_is_refused(across: ModuleType) -> None:
    held = Paired("FP32", (1, 1), {"accuracy_percent": 0.0}, {"accuracy_percent": (-0.01, 0.01)})
    with pytest.raises(ValueError, match="is not one of 80 units"):
        across.widest(held, 560, Units.of(560, np.repeat(np.arange(80), 7)))


def test_rows_of_a_table_are_compared_by_name(across: ModuleType) -> None:
    row = {"metric": "nll", "variant": "INT8", "verdict": "equivalent", "low": "-1", "high": "1"}
    before = [row, {**row, "variant": "gone"}]
    now = [{**row, "verdict": "", "low": "-0.5", "high": "0.5"}, {**row, "variant": "new"}]
    keys = ("variant", "metric")
    assert across.moved(before, now, keys) == [
        across.Moved("INT8 nll", "equivalent", "not judged"),
        across.Moved("gone nll", "equivalent", "–"),
        across.Moved("new nll", "–", "equivalent"),
    ]
    assert across.widths(before, now, keys) == {"nll": 0.5}


def test_images_that_only_names_tell_apart_are_superseded() -> None:
    told = superseded("0123456789abcdef", None)
    assert told.startswith("superseded: ")
    assert superseded("", None) == superseded("0123456789abcdef", object()) == ""
    (section,) = sections([factory.record(data="0123456789abcdef")])
    assert told in [note.text for note in section.notes if note.kind == "finding"]
    (section,) = sections([factory.record()])
    assert not [note for note in section.notes if note.kind == "finding"]


def test_every_published_record_of_the_old_digest_is_listed(again: ModuleType) -> None:
    changes, published = (import_module(f"results.again.{n}") for n in ("changes", "published"))
    home = "shift/resnet50-imagenet"
    found = [one for one in published.published() if one.folder == home]
    (line,) = changes.superseded(found[:1], [])
    told = found[0].path.as_posix(), found[0].record.provenance.command
    assert (line.record, line.command) == told
    with (ROOT / "results" / "superseded.csv").open(newline="") as file:
        listed = {row["record"] for row in csv.DictReader(file)}
    assert {one.path.as_posix() for one in found if one.superseded} <= listed
