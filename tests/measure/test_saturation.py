"""Cut-off activations: where the levels come from, and what a record of a wide posterior says."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from studied import studied

from sigmabench.harness.measure.saturation import (
    FAILING_SHARE,
    FINDING_SHARE,
    activations_in_range,
    saturation_findings,
)
from sigmabench.harness.posterior import save
from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.studies.run import measure as sweep
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.workload import resolve_workload

SCRIPT = Path(__file__).parents[2] / "results" / "choices" / "saturation" / "choose.py"
BELOW = 0.999


@pytest.fixture(scope="module")
def choose() -> ModuleType:
    spec = importlib.util.spec_from_file_location("choose_saturation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(
        spec
    )  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_levels_are_what_the_committed_results_say(choose: ModuleType) -> None:
    raw = choose.read()
    sizes = {name: json.loads(json.dumps(asdict(size))) for name, size in choose.SIZES.items()}
    assert {name: one["size"] for name, one in raw.items()} == sizes
    found = choose.levels(raw)
    assert found == pytest.approx({"finding": FINDING_SHARE, "audit": FAILING_SHARE})


def step(share: float, **changed: Any) -> dict[str, Any]:
    """A step of a curve that changed nothing but what is named."""
    none = {
        "moved": 0.0,
        "moved_interval": (0.0, 0.0),
        "nll_nats": 0.0,
        "nll_nats_interval": (-1.0, 1.0),
        "accuracy_percent": 0.0,
        "accuracy_percent_interval": (-1.0, 1.0),
    }
    return {"share": share, **none, **changed}


MOVES = {"moved": 0.01, "moved_interval": (0.001, 0.02)}
RISES = {"nll_nats": 0.01, "nll_nats_interval": (0.001, 0.02)}
FALLS = {"accuracy_percent": -0.5, "accuracy_percent_interval": (-0.9, -0.1)}


@pytest.mark.parametrize(
    ("level", "change"), [("finding", MOVES), ("audit", RISES), ("audit", FALLS)]
)
def test_the_rule_takes_the_first_share_from_which_the_change_stays(
    choose: ModuleType, level: str, change: dict[str, Any]
) -> None:
    steps = [step(0.1, **change), step(0.2), step(0.3, **change), step(0.4, **change)]
    assert choose.smallest(steps, 1.0, level) == 0.3
    assert choose.smallest([step(0.1), step(0.2)], 1.0, level) is None


def test_what_may_be_luck_reaches_no_level(choose: ModuleType) -> None:
    lucky = RISES | {"nll_nats_interval": (-0.001, 0.02)}
    assert choose.smallest([step(0.1, **lucky), step(0.2, **RISES)], 1.0, "audit") == 0.2


def test_what_moves_without_a_cut_is_rounding(choose: ModuleType) -> None:
    moved = [0.012, 0.015, 0.016]  # 0.016² − 0.012² = 0.0106²
    steps = [
        step(share, moved=one, moved_interval=(one - 0.001, one + 0.001))
        for share, one in zip((1e-5, 0.1, 0.2), moved, strict=True)
    ]
    assert choose.smallest(steps, 1.0, "finding") == 0.2
    cut_from_the_start = [{**steps[0], "share": 0.01}, *steps[1:]]
    assert choose.smallest(cut_from_the_start, 1.0, "finding") == 0.01


def test_a_small_nll_need_rise_by_its_twentieth_alone(choose: ModuleType) -> None:
    rises = {"nll_nats": 0.001, "nll_nats_interval": (0.0001, 0.002)}
    assert choose.smallest([step(0.1, **rises)], 0.02, "audit") == 0.1
    assert choose.smallest([step(0.1, **rises)], 0.03, "audit") is None


def test_findings_name_the_layer_and_the_way_out() -> None:
    shares = {"fc1": FINDING_SHARE, "fc2": 0.4, "conv1": BELOW * FINDING_SHARE}
    worst, other = saturation_findings(shares, "mean", "minmax")
    assert worst.startswith("fc2: 40.0% of activations")
    assert other.startswith("fc1: ")
    assert all(line.endswith("use --calibrate sampled") for line in (worst, other))
    (sampled, *_) = saturation_findings(shares, "sampled", "percentile")
    assert sampled.endswith("use --observer minmax")


@pytest.mark.parametrize(
    ("calibration", "observer", "remedy"),
    [
        ("mean", "mse", "use --calibrate sampled"),
        ("sampled", "mse", "use --observer minmax"),
        ("sampled", "minmax", "its passes vary too much"),
    ],
)
def test_a_finding_says_what_would_help(calibration: str, observer: str, remedy: str) -> None:
    told = saturation_findings({"fc1": 0.4}, calibration, observer)
    assert told == (f"fc1: 40.0% of activations beyond their range; {remedy}",)


def test_the_audit_names_the_worst_activation() -> None:
    shares = {"fc1": FAILING_SHARE, "fc2": 0.4}
    told = "fail: 40.0% of fc2 is beyond its range, 0.8% or more costs quality"
    assert activations_in_range(shares) == told
    assert activations_in_range({"fc1": FAILING_SHARE}).startswith("fail: ")
    assert activations_in_range({"fc1": BELOW * FAILING_SHARE}) == "pass"
    assert activations_in_range({}) == "not applicable: activations are floats"


def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: float, **choices: Any) -> Any:
    """INT8's record of the digits' posterior with every σ times a factor, and the mean network's"""
    monkeypatch.setattr(sweep, "MIN_SAMPLES", 5)
    workload = resolve_workload("lenet-digits")
    posterior, _ = workload.load_posterior()
    save(posterior.scaled(wide), tmp_path / "wide.safetensors")
    plan = Plan(
        workload, ("INT8", "DNN_INT8", "FP32"), (2,), (2,), backend="reference", seeds=1, limit=24,
        seconds=0.01, posterior=tmp_path / "wide.safetensors", **choices,
    )  # fmt: skip
    records = studied("run", plan, tmp_path)
    return {record.subject.format: record for record in records}


def told(record: RunRecord) -> list[str]:
    return [line for line in record.verdict.findings if "beyond their range" in line]


AUDIT = "activations in range"


@pytest.mark.thorough
def test_a_wide_posterior_is_told_then_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = recorded(tmp_path, monkeypatch, 2.2)["INT8"]
    assert [line.partition(":")[0] for line in told(wide)] == ["fc2", "fc1"]
    assert wide.verdict.quality.audits[AUDIT] == "pass"
    wider = recorded(tmp_path, monkeypatch, 3.0)
    int8, mean, fp32 = (wider[name] for name in ("INT8", "DNN_INT8", "FP32"))
    assert [line.partition(":")[0] for line in told(int8)] == ["fc2", "fc1"]
    assert int8.verdict.quality.audits[AUDIT].startswith("fail: ")
    assert "quality" in int8.verdict.invalid
    # The mean network has the ranges that it was seen to need.
    assert set(mean.body.saturation) == set(int8.body.saturation)
    assert (told(mean), mean.verdict.quality.audits[AUDIT]) == ([], "pass")
    assert fp32.body.saturation == {}
    assert fp32.verdict.quality.audits[AUDIT].startswith("not applicable: ")


def test_ranges_of_sampled_passes_hold_a_wide_posterior(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8 = recorded(tmp_path, monkeypatch, 3.0, sampled=True)["INT8"]
    assert told(int8) == []
    assert int8.verdict.quality.audits[AUDIT] == "pass"


def test_the_shipped_posterior_is_in_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    int8 = recorded(tmp_path, monkeypatch, 1.0)["INT8"]
    assert 0 < max(int8.body.saturation.values()) < FINDING_SHARE
    assert told(int8) == []
    assert int8.verdict.quality.audits[AUDIT] == "pass"
