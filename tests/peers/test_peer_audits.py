"""The audits of a comparison, by known answers: what each is told, and what it says of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sigmabench.harness.measure.watch import CoreWatch
from sigmabench.harness.predict.loop import summarise
from sigmabench.harness.records.peers_record import PeerRow
from sigmabench.harness.records.runtime_record import Contender
from sigmabench.harness.studies.peers import peer_audits as audits


def summary(*probs: float) -> object:
    p = torch.tensor(probs, dtype=torch.float64)
    return summarise(torch.stack([p, 1 - p], 1).log()[None], deterministic=True)


def row(name: str, format: str, **values: object) -> PeerRow:
    return PeerRow(Contender(name, name, format, "x", 1, (1000,) * 20, (4,) * 5), **values)


def test_another_network_is_noticed():
    same = {"a": summary(0.1, 0.9), "b": summary(0.1, 0.90004)}
    assert audits.same_network(same) == "pass"
    other = audits.same_network({**same, "c": summary(0.1, 0.8)})
    assert other == "fail: a and c: probabilities differ by 0.1, 0.0001 allowed"
    assert audits.same_network({"a": summary(0.1)}).startswith("not applicable")


def test_another_posterior_is_noticed():
    near = {"a": summary(0.5, 0.5), "b": summary(0.55, 0.45)}
    assert audits.same_posterior(near, 50) == "pass"
    far = {"a": summary(0.5, 0.5), "b": summary(0.95, 0.05)}
    told = audits.same_posterior(far, 50)  # 3 √((0.25 + 0.0475) / 50) = 0.2314
    assert told == "fail: a and b: probabilities 0.45 apart, 0.231 allowed"
    assert audits.same_posterior(far, 2) == "pass"
    sure = [0.01] * 91
    ninth = {"a": summary(*sure, *[0.01] * 9), "b": summary(*sure, *[0.99] * 9)}
    assert audits.same_posterior(ninth, 50).startswith("fail: a and b: probabilities 0.0882 apart")


def test_means_of_the_same_passes_are_never_told_apart():
    """The worst case: every pass is certain, and the same draw decides all images."""
    generator = np.random.default_rng(0)
    p = generator.random(40)
    failed = 0
    for _ in range(300):
        means = [(generator.random((50, 1)) < p).mean(axis=0) for _ in range(2)]
        both = {n: summary(*m.clip(1e-9, 1 - 1e-9)) for n, m in zip("ab", means, strict=True)}
        failed += audits.same_posterior(both, 50) != "pass"
    assert failed <= 2


def test_passes_that_are_the_same_are_noticed():
    p = torch.tensor([[0.2, 0.8], [0.5, 0.5]], dtype=torch.float64)
    same = summarise(p.log().expand(4, 2, 2), deterministic=False)
    assert audits.passes_differ({"a": same}, 4).startswith("fail: a draws nothing: its 4 passes")
    moved = torch.stack([p, p, p, p.flip(1)])
    assert audits.passes_differ({"a": summarise(moved.log(), deterministic=False)}, 4) == "pass"
    assert audits.passes_differ({"a": same}, 1).startswith("not applicable")


def test_another_sigma_is_noticed():
    weights = {"x": 150.0, "y": 1e5}
    good = row(
        "a", "FP32", std_ratio={"x": 1.06, "y": 0.99, "z": 1.0}
    )  # 6 / √(2 · 31 · 150) = 0.062
    assert audits.same_std([good], weights, 32) == "pass"
    wrong = row("b", "FP32", std_ratio={"x": 0.9, "y": 0.9})
    told = audits.same_std([good, wrong], weights, 32)
    assert told == "fail: b draws 0.900 of σ in float32"
    one = row("c", "FP32", std_ratio={"x": 1.0, "y": 0.9, "z": 1.0})
    told = audits.same_std([one], weights, 32)
    assert told == "fail: c draws 0.900 of σ of y in float32"
    # What is allowed beside 0.02: 6 / √(2 · 31 · 150) = 0.0622, of a single weight 0.762.
    for kept, result in ((1.0815, "pass"), (1.083, "fail"), (0.9185, "pass"), (0.917, "fail")):
        near = row("d", "FP32", std_ratio={"x": kept, "y": 1.0, "z": 1.0})
        assert audits.same_std([near], weights, 32).split(":")[0] == result
    for kept, result in ((1.78, "pass"), (1.784, "fail")):
        near = row("d", "FP32", std_ratio={"unnamed": kept, "y": 1.0, "z": 1.0})
        assert audits.same_std([near], weights, 32).split(":")[0] == result
    assert audits.same_std([], weights, 32).startswith("not applicable")


def test_weights_of_unequal_sigma_count_as_fewer():
    assert audits.effective(np.full((3, 5), 0.2)) == pytest.approx(15)
    assert audits.effective(np.array([1.0, 1e-6, 1e-6])) == pytest.approx(1)
    assert audits.effective(np.zeros(4)) == 0


def test_their_spread_is_that_of_so_few():
    generator = np.random.default_rng(0)
    std = generator.gamma(0.5, 1.0, 200)
    drawn = np.std(generator.normal(0, std, (2000, 32, 200)), axis=1, ddof=1)
    kept = np.sqrt(np.square(drawn).mean(axis=1) / np.square(std).mean())
    assert kept.std() == pytest.approx(1 / np.sqrt(2 * 31 * audits.effective(std)), rel=0.1)


def test_the_noisiest_is_named():
    assert audits.quiet([row("a", "FP32")]) == "pass"
    rough = np.repeat([1000, 2000, 3000, 1500, 2500], 4)
    loud = Contender("b", "b", "FP32", "x", 1, tuple(rough.tolist()), (4,) * 5)
    assert audits.quiet([row("a", "FP32"), PeerRow(loud)]).startswith("fail: b: run-to-run noise")
    assert audits.quiet([PeerRow(replace(loud, latency_ns=(), slices=()))]).startswith(
        "not applicable"
    )


LOST = "b: POSTERIOR LOST in x: 0.40 of σ kept."
INFLATED = "b: POSTERIOR INFLATED in y: {:.2f} times σ drawn."


@pytest.mark.parametrize(
    ("ratios", "told"),
    [
        ({}, ()),
        ({"x": 0.5, "y": 1.5}, ()),
        ({"w": 1.0, "y": 1.66, "x": 1.6, "z": 1.5}, (INFLATED.format(1.66),)),
        ({"w": 0.45, "x": 0.4, "y": 2.0, "z": 1.9}, (LOST, INFLATED.format(2))),
    ],
)
def test_a_posterior_lost_or_inflated_is_a_finding_and_fails_nothing(
    ratios: dict[str, float], told: tuple[str, ...]
) -> None:
    rows = [row("a", "FP32", std_ratio={"x": 1.0}), row("b", "INT8", std_ratio=ratios)]
    assert audits.findings(rows) == told
    found = audits.verdict(rows, {}, 12, {}, 32, CoreWatch())
    assert found.findings[: len(told)] == told
    assert not any(r.startswith("fail") for n, r in found.audits.items() if n != "not throttled")


def test_the_verdict_asks_each_audit_about_those_whom_it_concerns() -> None:
    """Everyone here is wrong in one way; each audit names the one whom it is about."""
    rows = [row(name, name.split()[1]) for name in ("a FP32", "b FP32", "c INT8")]
    rows += [row("d DNN_FP32", "DNN_FP32"), row("e DNN_FP32", "DNN_FP32")]
    rows[1] = replace(rows[1], std_ratio={"x": 0.9})
    rows[2] = replace(rows[2], std_ratio={"x": 0.7})
    p = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    alive = summarise(torch.stack([p, p.flip(1)]).log(), deterministic=False)
    still = summarise(p.flip(1).expand(2, 1, 2).log(), deterministic=False)
    summaries = {"a FP32": alive, "b FP32": alive, "c INT8": still,
                 "d DNN_FP32": summary(0.5), "e DNN_FP32": summary(0.6)}  # fmt: skip
    found = audits.verdict(rows, summaries, 2, {"x": 1e6}, 32, CoreWatch()).audits
    assert found["same deterministic network"].startswith("fail: d DNN_FP32 and e DNN_FP32: ")
    assert found["same Bayesian network"] == "pass"
    assert found["same σ"] == "fail: b FP32 draws 0.900 of σ in float32"
    assert found["draws"] == "fail: c INT8 draws nothing: its 2 passes are all the same"
    assert found["noise"] == "pass"
    assert set(found) >= {"cores free", "not throttled"}
    far = {"a FP32": summary(*[0.001] * 50), "b FP32": summary(*[0.999] * 50)}
    told = audits.verdict(rows, far, 50, {}, 32, CoreWatch()).audits["same Bayesian network"]
    assert told.startswith("fail: a FP32 and b FP32: probabilities 0.998 apart")
