"""Activation ranges are found once for all processes and commands, and are as if found now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sigmabench.harness.quantize import calibrate as module
from sigmabench.harness.quantize.artefact import artefact_hash
from sigmabench.harness.quantize.calibrate import calibrate
from sigmabench.harness.quantize.observers import OBSERVERS
from sigmabench.harness.workload import prepare as prepared
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.workload import WORKLOADS


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each calibration was asked; nothing is cached before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[Any] = []

    def counting(model: Any, images: Any, observer: str, sampled: bool) -> Any:
        asked.append(observer)
        return calibrate(model, images, observer, sampled)

    monkeypatch.setattr(prepared, "calibrate", counting)
    return asked


def artefacts(**changes: Any) -> list[str]:
    """As another process or command makes them."""
    made = prepared.prepare(Plan(WORKLOADS.get("lenet-digits"), **changes))
    return [artefact_hash(made.artefact(name)) for name in ("INT8", "INT8_SIGMA1", "DNN_INT8")]


def test_each_network_is_calibrated_once(calls: list[Any]) -> None:
    first = artefacts()
    assert artefacts() == first
    assert artefacts(mean=True) == first  # deterministic formats are of the posterior anyway
    assert len(calls) == 1
    assert artefacts(observer="mse") != first
    assert calls == ["minmax", "mse"]


def test_what_is_kept_is_what_was_found(calls: list[Any]) -> None:
    plan = Plan(WORKLOADS.get("lenet-digits"))
    kept = [prepared.prepare(plan).bayesian.calibration for _ in range(2)]
    part = prepared.prepare(plan).bayesian
    images = part.splits.calibration.in_memory()
    assert kept == [calibrate(part.model, images, "minmax", False)] * 2
    assert len(calls) == 1


def test_a_damaged_cache_is_as_good_as_none(calls: list[Any], tmp_path: Path) -> None:
    first = artefacts()
    (file,) = (tmp_path / "sigmabench" / "installed").glob("calibration.json")
    file.write_text(file.read_text()[:-9])
    assert artefacts() == first
    assert len(calls) == 2


def test_other_threads_find_for_themselves(calls: list[Any]) -> None:
    """Float sums round by how they are divided."""
    before = torch.get_num_threads()
    artefacts()
    torch.set_num_threads(before + 1)
    try:
        artefacts()
    finally:
        torch.set_num_threads(before)
    assert len(calls) == 2


def test_images_of_one_s_own_are_read_each_time(calls: list[Any]) -> None:
    workload = replace(WORKLOADS.get("lenet-digits"), name="another")
    assert not workload.ships
    for _ in range(2):
        assert prepared.prepare(Plan(workload)).bayesian.calibration.saturation
    assert len(calls) == 2


def test_an_observer_of_another_package_is_asked_each_time(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OBSERVERS, "_foreign", {"mse"})
    first = artefacts(observer="mse")
    assert artefacts(observer="mse") == first
    assert len(calls) == 2


def test_draws_of_a_network_that_is_fixed_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are its mean, whose saturation they have."""
    part = prepared.prepare(Plan(WORKLOADS.get("lenet-digits"))).bayesian
    layers = {
        name: replace(one, std=0 * one.std, bias_std=0 * one.bias_std)
        for name, one in part.model.layers.items()
    }
    images = part.splits.calibration.in_memory()
    counted: list[int] = []
    saturation = module.saturation

    def counting(model: Any, graph: Any, passes: Any, images: Any) -> dict[str, float]:
        counted.append(len(passes))
        return saturation(model, graph, passes, images)

    monkeypatch.setattr(module, "saturation", counting)
    fixed = replace(part.model, layers=layers)
    found = calibrate(fixed, images)
    assert counted == [1]
    draws = module.sampled_passes(fixed)
    assert found.saturation == saturation(fixed, found.graph, draws, images)
    assert found.saturation == found.mean_saturation
    calibrate(part.model, images)
    assert counted == [1, 1, module.SAMPLED_PASSES]
