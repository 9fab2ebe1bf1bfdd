"""Adaptive T: the rule against a loop over prefixes, and what may never depend on anything else."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.stopping import StoppingRule, schedule
from sigmabench.harness.data.splits import Split
from sigmabench.harness.measure.audits import adaptive_outputs_match
from sigmabench.harness.predict.adaptive import Margins, evaluate_adaptive, ladder, predict_adaptive
from sigmabench.harness.predict.loop import summarise

T = 50


class Scripted:
    """Gives logits that were written down: image i is the number in its only pixel."""

    def __init__(self, logits: Tensor) -> None:
        self.script = logits
        self.calls: list[tuple[int, range]] = []

    def logits(self, x: Tensor, seed: int, passes: range) -> Tensor:
        self.calls.append((len(x), passes))
        return self.script[passes.start : passes.stop, x.flatten().round().long()]


def numbered(images: int) -> Tensor:
    """Images that say which they are."""
    return torch.arange(images, dtype=torch.float32).reshape(-1, 1, 1, 1)


def mixed(images: int, seed: int, classes: int = 4) -> Tensor:
    """Float32 [T, N, C] from sure to undecided, image by image."""
    generator = torch.Generator().manual_seed(seed)
    gap = 6 * torch.rand(images, generator=generator) ** 2
    logits = 2 * torch.randn(T, images, classes, generator=generator)
    logits[..., 0] += 2 * gap
    return logits


def by_hand(logits: Tensor, rule: StoppingRule) -> tuple[int, int]:
    """Passes and decision of one image, [T, C], prefix by prefix from the formulas."""
    probs = np.exp(logits.double().log_softmax(-1).numpy())
    for t in rule.looks:
        seen = probs[:t]
        leader = int(seen.sum(0).argmax())
        others = np.delete(seen, leader, axis=1).max(1)
        d = seen[:, leader] - others
        left = rule.limit - t
        s = math.sqrt((((d - d.mean()) ** 2).sum() + 1) / t)
        statistic = d.mean() * math.sqrt(t * rule.limit / left) / s
        alpha = (1 - rule.confidence) / len(rule.looks)
        if d.sum() > left or stats.t.sf(statistic, t) < alpha:
            return t, leader
    return rule.limit, int(probs.sum(0).argmax())


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_every_image_stops_where_a_loop_over_its_prefixes_does(confidence: float) -> None:
    logits, rule = mixed(60, 1), StoppingRule(T, confidence)
    found = predict_adaptive(Scripted(logits), numbered(60), rule)
    expected = [by_hand(logits[:, i], rule) for i in range(60)]
    assert list(zip(found.spent.tolist(), found.probs.argmax(-1).tolist(), strict=True)) == expected
    assert len(set(found.spent.tolist())) > 3, "the population is to stop at several looks"


@given(st.integers(1, 40), st.integers(0, 2**16), st.sampled_from([2, 3, 7]))
def test_a_result_is_the_prefix_of_the_full_run(images: int, seed: int, classes: int) -> None:
    logits, rule = mixed(images, seed, classes), StoppingRule(T, 0.9)
    found = predict_adaptive(Scripted(logits), numbered(images), rule)
    for i, t in enumerate(found.spent.tolist()):
        assert t in (*rule.looks, T)
        assert torch.equal(found.probs[i], summarise(logits[:t, i : i + 1]).probs[0])


@given(st.integers(2, 30), st.integers(0, 2**16), st.randoms(use_true_random=False))
def test_neither_batch_nor_order_changes_an_image(images: int, seed: int, random) -> None:
    logits, rule = mixed(images, seed), StoppingRule(T, 0.95)
    x = numbered(images)
    whole = predict_adaptive(Scripted(logits), x, rule)
    order = random.sample(range(images), images)
    cut = random.randint(1, images - 1)
    for part in (order[:cut], order[cut:]):
        found = predict_adaptive(Scripted(logits), x[part], rule)
        assert torch.equal(found.probs, whole.probs[part])
        assert torch.equal(found.spent, whole.spent[part])


@given(st.integers(0, 2**16), st.lists(st.floats(0.5, 0.9999), min_size=2, max_size=2))
def test_more_confidence_never_takes_fewer_passes(seed: int, confidences: list[float]) -> None:
    logits = mixed(20, seed)
    less, more = (
        predict_adaptive(Scripted(logits), numbered(20), StoppingRule(T, c)).spent
        for c in sorted(confidences)
    )
    assert (less <= more).all()


@given(st.integers(0, 2**16), st.integers(0, 1))
def test_the_exact_bound_holds_against_the_worst_passes_to_come(seed: int, rival: int) -> None:
    """With a spread that leaves only the bound to stop: no passes could change the decision."""
    rule = StoppingRule(T, looks=(30, 40, 45), prior_std=1e6)
    logits = mixed(20, seed, 3)
    found = predict_adaptive(Scripted(logits), numbered(20), rule)
    assert found.spent.min() < T
    for i, t in enumerate(found.spent.tolist()):
        decision = int(found.probs[i].argmax())
        worst = logits[:, i].clone()
        worst[t:] = -100.0
        worst[t:, [c for c in range(3) if c != decision][rival]] = 100.0
        assert int(summarise(worst[:, None]).probs.argmax()) == decision


def test_the_exact_bound_stops_what_cannot_change() -> None:
    rule = StoppingRule(T, looks=(20, 25, 26, 30), prior_std=1e6)
    sure = torch.tensor([60.0, 0.0]).expand(T, 1, 2)
    assert predict_adaptive(Scripted(sure), numbered(1), rule).spent.tolist() == [26]


@pytest.mark.parametrize("confidence", [0.9, 0.99])
@pytest.mark.parametrize("kind", ["coins", "gaps"])
def test_decisions_differ_less_often_than_the_confidence_says(kind: str, confidence: float) -> None:
    """Two populations harder than data; the bound is that of a binomial, one chance in 10^6."""
    images, generator = 4000, torch.Generator().manual_seed(3)
    if kind == "coins":  # a pass is certain of one class, of which one has an image's own chance
        sign = torch.rand(T, images, generator=generator) < torch.rand(images, generator=generator)
        logits = 20 * torch.stack((sign.float(), 1 - sign.float()), -1)
    else:
        logits = 2 * torch.randn(T, images, 3, generator=generator)
        logits[..., 0] += 2 * torch.rand(images, generator=generator)
    rule = StoppingRule(T, confidence)
    margins, taken = Margins(rule), np.full(images, -1)
    for first, stop in rule.rounds:
        margins.update(logits[first:stop])
        now = margins.settled() & (taken < 0)
        taken[now] = margins.probs().argmax(-1)[now]
        if stop == rule.looks[-1]:
            early = int((taken >= 0).sum())
    differ = int((taken != margins.probs().argmax(-1)).sum())
    assert early > images / 20, "a rule that never stops is never wrong"
    assert differ <= stats.binom.isf(1e-6, images, 1 - confidence)
    assert differ < images * (1 - confidence)


def test_scored_predictions_are_those_of_the_timed_path() -> None:
    logits, rule = mixed(30, 5), StoppingRule(T, 0.95)
    pixels = torch.arange(30, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    split = Split("test", pixels, torch.zeros(30, dtype=torch.int64), (0.0,), (1 / 255,), 4)
    scored = evaluate_adaptive(Scripted(logits), split, (1, 7), rule, whole=True, opening=9)
    timed = predict_adaptive(Scripted(logits), numbered(30), rule)
    assert torch.equal(scored.spent, timed.spent)
    assert scored.adaptive.whole is not None
    assert torch.equal(scored.adaptive.whole.probs, timed.probs)
    assert torch.equal(scored.adaptive.opening, timed.probs[:9])
    assert sorted(scored.full) == [1, 7, T]
    for count, found in scored.full.items():
        assert found.whole is not None
        assert torch.equal(found.whole.probs, summarise(logits[:count]).probs)
    for i, t in enumerate(scored.spent.tolist()):
        alone = summarise(logits[:t, i : i + 1])
        for name in ("log_probs", "entropy", "expected_entropy", "mutual_information"):
            # Logarithms of sums may round otherwise in a larger batch.
            torch.testing.assert_close(
                getattr(scored.adaptive.whole, name)[i],
                getattr(alone, name)[0],
                rtol=1e-12,
                atol=1e-14,
            )


def test_settled_images_are_not_computed_again_and_rounds_say_what_was() -> None:
    sure = torch.tensor([40.0, 0.0]).expand(T, 32, 2).clone()
    sure[:, 7] = torch.randn(T, 2, generator=torch.Generator().manual_seed(1)) * 5
    predictor = Scripted(sure)
    found = predict_adaptive(predictor, numbered(32), StoppingRule(T))
    assert found.spent.tolist() == [T if i == 7 else 5 for i in range(32)]
    assert found.rounds[0] == (32, 5)
    assert {images for images, _ in found.rounds[1:]} == {1}
    assert sum(passes for _, passes in found.rounds) == T
    assert found.opening.shape == (5, 32, 2)
    assert all(len(passes) <= 10 for _, passes in predictor.calls), "no more in memory than that"
    assert [p.stop for _, p in predictor.calls[:-1]] == [p.start for _, p in predictor.calls[1:]]


@given(st.integers(1, 300), st.data())
def test_the_ladder_holds_what_is_left_in_few_sizes(images: int, data) -> None:
    left = data.draw(st.integers(1, images))
    assert left <= ladder(images, left) <= images
    assert ladder(images, left) <= 4 * left or ladder(images, left) == -(-images // 64)
    assert len({ladder(images, n) for n in range(1, images + 1)}) <= 4


@given(st.integers(6, 5000))
def test_the_schedule_grows_by_half_up_to_the_limit(limit: int) -> None:
    looks = schedule(limit)
    assert looks[0] == 5
    assert looks[-1] < limit <= -(-3 * looks[-1] // 2)
    assert all(b == math.ceil(1.5 * a) for a, b in pairwise(looks))


@pytest.mark.parametrize(
    ("limit", "confidence", "looks", "says"),
    [
        (5, 0.99, (), "larger limit than 5"),
        (50, 1.0, (), "--confidence is 1.0"),
        (50, 0.4, (), "--confidence is 0.4"),
        (50, math.nan, (), "--confidence is nan"),
        (50, 0.99, (8, 8), "larger limit than 50"),
    ],
)
def test_a_rule_that_is_none_is_refused(limit, confidence, looks, says) -> None:
    with pytest.raises(UserError, match=says):
        StoppingRule(limit, confidence, looks)


def test_the_audit_sees_other_passes_and_other_outputs() -> None:
    probs, spent = torch.rand(30, 2, dtype=torch.float64), torch.full((30,), 5)
    other, moved = probs.clone(), spent.clone()
    other[3, 0] += 1e-12
    moved[3] = 8
    audit = adaptive_outputs_match
    assert audit((probs, spent), (probs, spent), True) == "pass"
    assert audit((other, spent), (probs, spent), True).startswith("fail: timed and scored")
    assert audit((other, spent), (probs, spent), False) == "pass"
    assert audit((probs, moved), (probs, spent), True).startswith("fail: 1 of 30 images")
    assert audit((probs, moved), (probs, spent), False) == "pass"
    assert audit((probs, spent + 3), (probs, spent), False).startswith("fail: 30 of 30 images")
