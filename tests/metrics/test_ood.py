from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import make_logits, summarise
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.metrics.detection import detection, detections

SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 2.0]), min_size=1, max_size=12)


@given(inside=SCORES, outside=SCORES)
def test_auroc_is_the_share_of_pairs_in_order(inside: list[float], outside: list[float]) -> None:
    pairs = [1.0 if o > i else 0.5 if o == i else 0.0 for i in inside for o in outside]
    got = detection(torch.tensor(inside), torch.tensor(outside))
    assert got.auroc == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@given(inside=SCORES, outside=SCORES)
def test_aupr_is_precision_summed_over_steps_of_recall(
    inside: list[float], outside: list[float]
) -> None:
    total, seen = 0.0, 0
    for threshold in sorted({*inside, *outside}, reverse=True):
        found = sum(o >= threshold for o in outside)
        false = sum(i >= threshold for i in inside)
        total += (found - seen) / len(outside) * found / (found + false)
        seen = found
    got = detection(torch.tensor(inside), torch.tensor(outside))
    assert got.aupr == pytest.approx(total, abs=1e-12)


def test_agrees_with_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    inside = torch.rand(300, generator=generator)
    outside = torch.rand(120, generator=generator) ** 0.5
    got = detection(inside, outside)
    scores = torch.cat([inside, outside])
    target = torch.cat([torch.zeros(300), torch.ones(120)]).long()
    assert got.auroc == pytest.approx(float(binary_auroc(scores, target)), abs=1e-5)
    assert got.aupr == pytest.approx(float(binary_average_precision(scores, target)), abs=1e-5)
    assert got.prevalence == pytest.approx(120 / 420)


def test_ends_of_the_scale() -> None:
    low, high = torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0])
    assert detection(low, high).auroc == 1.0
    assert detection(low, high).aupr == 1.0
    assert detection(high, low).auroc == 0.0
    constant = detection(torch.ones(3), torch.ones(1))
    assert (constant.auroc, constant.aupr) == (0.5, constant.prevalence)


def test_uncertain_images_are_found_by_both_uncertainties() -> None:
    sure = summarise(make_logits(0, T=10, N=100, C=5, scale=20.0))
    unsure = summarise(make_logits(1, T=10, N=80, C=5, scale=1.0))
    got = detections(sure, unsure)
    assert got["entropy"] == detection(sure.entropy, unsure.entropy)
    assert got["mutual_information"] == detection(
        sure.mutual_information, unsure.mutual_information
    )
    assert got["entropy"].auroc > 0.8


def test_mutual_information_of_one_pass_detects_nothing() -> None:
    one = summarise(make_logits(0, T=1, N=10, C=5))
    got = detections(one, one)
    assert got["mutual_information"] is None
    assert got["entropy"].auroc == 0.5


@pytest.mark.parametrize("bad", [[], [0.1, float("nan")], [float("inf")], [[0.1]]])
def test_refuses_scores(bad: list[Any]) -> None:
    fine = torch.tensor([0.5])
    with pytest.raises(UserError, match="out-of-distribution scores"):
        detection(fine, torch.tensor(bad))
    with pytest.raises(UserError, match="in-distribution scores"):
        detection(torch.tensor(bad), fine)


def test_refuses_summaries_that_differ() -> None:
    a = summarise(make_logits(0, T=2, N=4, C=5))
    for other in (make_logits(0, T=3, N=4, C=5), make_logits(0, T=2, N=4, C=6)):
        with pytest.raises(UserError, match="predict both alike"):
            detections(a, summarise(other))
