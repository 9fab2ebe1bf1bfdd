"""A query that would take long has fewer passes than T, and the record and tables say so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sigmabench.harness.measure import query as queries
from sigmabench.harness.measure.query import Query
from sigmabench.harness.race.references import References


class Slow:
    """Takes so many seconds per pass, by a clock of its own."""

    now = 0.0

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked: list[int] = []

    def logits(self, x: torch.Tensor, seed: int, passes: range) -> torch.Tensor:
        Slow.now += self.seconds * len(passes)
        self.asked.append(len(passes))
        return torch.zeros(len(passes), len(x), 2)


@pytest.mark.parametrize(
    ("seconds", "mc", "threads", "passes"),
    [(0.001, 50, 2, 50), (0.1, 50, 2, 10), (0.15, 50, 4, 4), (0.4, 50, 2, 2), (3.0, 50, 2, 1)],
)
def test_passes_fit_into_a_query(monkeypatch, seconds, mc, threads, passes):
    monkeypatch.setattr(queries.time, "perf_counter", lambda: Slow.now)
    cell = SimpleNamespace(mc=mc, batch=3, seed=0, seeds=1, adaptive=False, threads=threads)
    one = Query(Slow(seconds * 0.999), [torch.zeros(3, 1)], cell, None)
    one.short()
    assert len(one.passes) == passes
    assert one.whole == (passes == mc)
    one(0)
    assert one.rounds == [((3, passes),)]
    assert one.kept[0].logits.shape[0] == passes


def test_references_are_timed_once_a_turn():
    fixed = References(1)
    for _ in range(3):
        fixed()
    assert [one.name for one in fixed.taken()] == ["int8 product", "copy", "empty program"]
    for one in fixed.taken():
        assert len(one.latency_ns) == 3
        assert min(one.latency_ns) > 0
