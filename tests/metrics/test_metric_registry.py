from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import make_case, make_logits, summarise

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.metrics.metric import METRICS, Metric, score, whole_needed
from sigmabench.harness.metrics.risk_coverage import accuracy_against_confidence
from sigmabench.harness.predict.predicted import Summary

BUILT_IN = [
    "accuracy",
    "error",
    "ece",
    "ece_floor",
    "uce",
    "nll",
    "brier",
    "entropy",
    "mutual_information",
    "aurc",
    "eaurc",
]


def test_lists_the_metrics_without_a_numerical_library() -> None:
    code = (
        "import sys; from sigmabench.harness.metrics.metric import METRICS; "
        "print(*METRICS.names()); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.split()[: len(BUILT_IN)] == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_metric_describes_itself(name: str) -> None:
    metric = METRICS.get(name)
    assert isinstance(metric, Metric)
    assert metric.name == name
    assert metric.unit in ("%", "nats", "")
    assert metric.description


def test_scores_all_or_those_named_in_order() -> None:
    summary, labels = make_case(0)
    everything = score(summary, labels)
    assert list(everything) == METRICS.names()
    assert score(summary, labels, ["nll", "ece"]) == {k: everything[k] for k in ("nll", "ece")}
    assert list(score(summary, labels, ["nll", "ece"])) == ["nll", "ece"]
    assert score(summary, labels, []) == {}


def test_only_mutual_information_is_undefined_at_one_pass() -> None:
    got = score(*make_case(0, T=1))
    assert [name for name, value in got.items() if value is None] == ["mutual_information"]


def test_a_metric_is_one_line_of_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_targets", dict(METRICS._targets))
    monkeypatch.setattr(METRICS, "_loaded", dict(METRICS._loaded))
    METRICS.register("wrong", "sigmabench.harness.metrics.scores:ERROR")
    summary, labels = make_case(0)
    assert score(summary, labels, ["wrong"]) == score(summary, labels, ["error"])


def test_a_metric_that_needs_all_classes_is_refused_outcomes_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert all(METRICS.get(name).per_image for name in BUILT_IN)
    assert whole_needed() is False
    foreign = Metric("most", "", None, False, "largest p̄", lambda s, _: float(s.probs.max()))
    monkeypatch.setattr(METRICS, "_targets", {**METRICS._targets, "most": "nowhere:MOST"})
    monkeypatch.setattr(METRICS, "_loaded", {**METRICS._loaded, "most": foreign})
    assert whole_needed() is True
    summary, labels = make_case(0)
    whole, reduced = summary.outcomes(labels, whole=True), summary.outcomes(labels)
    assert score(whole, labels, ["most"]) == score(summary, labels, ["most"])
    assert score(reduced, labels, ["ece"]) == score(summary, labels, ["ece"])
    with pytest.raises(ValueError, match="most needs whole outcomes"):
        score(reduced, labels, ["most"])


def test_a_metric_that_gives_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = Metric("most", "", None, False, "", lambda *_: float("nan"))
    monkeypatch.setattr(METRICS, "_targets", {**METRICS._targets, "most": "nowhere:MOST"})
    monkeypatch.setattr(METRICS, "_loaded", {**METRICS._loaded, "most": foreign})
    with pytest.raises(UserError) as refused:
        score(*make_case(0), ["most"])
    told = "The metric 'most' gave nan; correct the metric, or unregister it."
    assert str(refused.value) == told


def test_unknown_metric_gets_a_suggestion() -> None:
    summary, labels = make_case(0)
    with pytest.raises(UserError, match="'brierr'; did you mean brier"):
        score(summary, labels, ["brierr"])


@given(seed=st.integers(0, 300), T=st.integers(1, 4), C=st.integers(2, 6))
def test_order_of_images_does_not_matter(seed: int, T: int, C: int) -> None:
    summary, labels = make_case(seed, T=T, N=40, C=C, scale=8.0)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    mutual = summary.mutual_information
    shuffled = Summary(
        summary.T,
        summary.probs[order],
        summary.log_probs[order],
        summary.entropy[order],
        summary.expected_entropy[order],
        None if mutual is None else mutual[order],
    )
    before, after = score(summary, labels), score(shuffled, labels[order])
    for name, value in before.items():
        assert after[name] == (value if value is None else pytest.approx(value, abs=1e-12)), name


@given(seed=st.integers(0, 300), T=st.integers(1, 4), scale=st.floats(0.0, 1e5))
def test_every_score_is_finite(seed: int, T: int, scale: float) -> None:
    for name, value in score(*make_case(seed, T=T, N=20, C=4, scale=scale)).items():
        assert value is None or math.isfinite(value), name


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 7], "Label 7 of image 2 is outside 0 to 3"),
        ([0, -1, 2], "Label -1 of image 1 is outside 0 to 3"),
        ([0, 1], r"3 predictions but labels of shape \(2,\)"),
        ([[0], [1], [2]], "give one label for each image"),
        ([0.0, 1.0, 2.0], "give one integer class index"),
        ([True, False, True], "give one integer class index"),
    ],
)
def test_refuses_labels(
    labels: list[Any],
    message: str,
) -> None:
    summary = summarise(make_logits(0, T=2, N=3, C=4))
    for scorer in (score, accuracy_against_confidence):
        with pytest.raises(UserError, match=message) as caught:
            scorer(summary, torch.tensor(labels))
        assert "\n" not in str(caught.value)


def test_refuses_an_empty_set() -> None:
    summary = summarise(torch.zeros(2, 0, 4))
    with pytest.raises(UserError, match="no image"):
        score(summary, torch.zeros(0, dtype=torch.int64))
