"""Each audit, proven end to end: break what it watches in a backend and see the verdict turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file
from studied import studied

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.reference import ReferencePredictor
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.measure import watch
from sigmabench.harness.predict.cache import Scratch
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.run import measure as sweep
from sigmabench.harness.studies.run import scoring
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.workload import resolve_workload


class HalfSigma(ReferencePredictor):
    """Draws with half of σ: the peer's collapsed posterior, only milder."""

    def sample(self, layer, seed, mc):
        drawn, mean = super().sample(layer, seed, mc), self.artefact.layers[layer].mean
        return mean + (drawn - mean) // 2


class SamePasses(ReferencePredictor):
    """Draws the same weights in every MC pass."""

    def sample(self, layer, seed, mc):
        return super().sample(layer, seed, 0)


class ReusedWeights(ReferencePredictor):
    """Samples as it should when asked, but computes all passes with the first one's weights."""

    def logits(self, x, seed, passes):
        return super().logits(x, seed, range(1)).expand(len(passes), -1, -1)


class OtherInstructionSet(ReferencePredictor):
    """Says itself that something else ran than its backend claims."""

    def __init__(self, artefact):
        super().__init__(artefact)
        self.isa = "portable"


class CachedInputs(ReferencePredictor):
    """Answers faster when the images are those it saw last."""

    seen, now = 0, 0  # now: nanoseconds, of a clock that no other process slows

    def __init__(self, artefact):
        super().__init__(artefact)
        self.known = {}

    def logits(self, x, seed, passes):
        CachedInputs.now += 1_000_000
        if x.data_ptr() != self.seen:
            CachedInputs.now += 20_000_000
            self.seen = x.data_ptr()
        asked = (x.numpy().tobytes(), seed, passes)
        if asked not in self.known:
            self.known[asked] = super().logits(x, seed, passes)
        return self.known[asked]


class BetterWhenScored(ReferencePredictor):
    """Computes something else for the large batches of scoring than for timed ones."""

    def logits(self, x, seed, passes):
        logits = super().logits(x, seed, passes)
        return logits * 2 if len(x) > 2 else logits


class ForgetsToDrawLate(ReferencePredictor):
    """Draws until the first look, and computes later passes with the last weights it drew."""

    def logits(self, x, seed, passes):
        if passes.start == 0:
            return super().logits(x, seed, passes)
        kept = super().logits(x, seed, range(1))
        self.draws -= self.artefact.sampled_weights
        return kept.expand(len(passes), -1, -1)


def measured(
    kind: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mc: int = 3,
    seconds: float = 0.05,
    samples: int = 8,
    **choices: Any,
) -> RunRecord:
    """The record of one int8 cell whose predictor is of this kind."""
    backend = type(BACKENDS.get("reference"))
    monkeypatch.setattr(backend, "load", lambda self, artefact, threads, team=0: kind(artefact))
    # Noise of a shared machine is not what is tested here.
    monkeypatch.setattr(sweep.audits, "noise_bounded", lambda noise: "pass")
    few = 5 if choices.get("adaptive") else samples  # queries of many passes, in NumPy
    monkeypatch.setattr(sweep, "MIN_SAMPLES", few)
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=("INT8",),
        mc=(mc,),
        batches=(2,),
        backend="reference",
        seconds=seconds,
        seeds=2,
        **{"limit": 24, **choices},
    )
    return studied("run", plan, tmp_path)[-1]


@pytest.mark.parametrize(
    ("kind", "audits"),
    [
        pytest.param(HalfSigma, ["moments"], marks=pytest.mark.thorough),
        pytest.param(SamePasses, ["draws differ"], marks=pytest.mark.thorough),
        (ReusedWeights, ["every timed pass drew", "timed passes differ"]),
        pytest.param(OtherInstructionSet, ["instruction set"], marks=pytest.mark.thorough),
        (BetterWhenScored, ["scored the timed path"]),
    ],
)
def test_a_broken_backend_makes_the_record_invalid(kind, audits, tmp_path, monkeypatch):
    verdict = measured(kind, tmp_path, monkeypatch, samples=5).verdict
    assert all(verdict.audits[audit].startswith("fail: ") for audit in audits)
    assert not verdict.valid


@pytest.mark.thorough
def test_a_backend_that_knows_its_input_again_makes_the_record_invalid(tmp_path, monkeypatch):
    """Turns must hold several queries each, or the cache misses once a turn."""
    ticking = SimpleNamespace(perf_counter_ns=lambda: CachedInputs.now)
    monkeypatch.setattr("sigmabench.harness.measure.clock.time", ticking)
    verdict = measured(CachedInputs, tmp_path, monkeypatch, mc=1, seconds=1).verdict
    assert verdict.audits["inputs not cached"].startswith("fail: ")
    assert not verdict.valid


def test_an_unbroken_backend_is_valid(tmp_path, monkeypatch):
    verdict = measured(ReferencePredictor, tmp_path, monkeypatch).verdict
    assert verdict.valid, verdict.audits


HARD = {"mc": 11, "adaptive": True, "confidence": 1 - 1e-9}  # no image stops at the first look


@pytest.mark.thorough
def test_an_unbroken_backend_is_valid_at_adaptive_t(tmp_path, monkeypatch):
    record = measured(ReferencePredictor, tmp_path, monkeypatch, mc=8, adaptive=True)
    assert record.subject.stopping == "auto 0.99"
    assert record.verdict.valid, record.verdict.audits
    assert record.verdict.audits["scored the timed path"] == "pass"
    assert record.verdict.audits["every timed pass drew"] == "pass"
    assert record.verdict.audits["inputs not cached"].startswith("not applicable: ")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "audit"),
    [
        (ForgetsToDrawLate, "every timed pass drew"),
        (ReusedWeights, "timed passes differ"),
        (BetterWhenScored, "scored the timed path"),
    ],
)
def test_a_broken_backend_makes_an_adaptive_record_invalid(kind, audit, tmp_path, monkeypatch):
    verdict = measured(kind, tmp_path, monkeypatch, **HARD).verdict
    assert verdict.audits[audit].startswith("fail: ")
    assert not verdict.valid


def test_an_adaptive_cell_says_what_it_spent_and_changed(tmp_path):
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=("INT8", "DNN_INT8"),
        mc=(1, 12),
        batches=(1, 4),
        limit=40,
        seconds=0.02,
        seeds=2,
        adaptive=True,
        confidence=0.999,
    )
    records = studied("run", plan, tmp_path)
    assert [(r.subject.format, r.subject.mc, r.subject.stopping) for r in records[:4]] == [
        ("INT8", 1, "fixed"),
        ("DNN_INT8", 1, "fixed"),
        ("INT8", 12, "fixed"),
        ("INT8", 12, "auto 0.999"),
    ]
    full, found = records[2:4]
    spent = found.body.adaptive
    assert full.body.adaptive is None
    assert spent is not None
    assert (spent.confidence, spent.limit, spent.looks) == (0.999, 12, (5, 8, 12))
    for images, mean in zip(spent.images, spent.mean_passes, strict=True):
        assert sum(images) == 40
        assert mean == sum(n * t for n, t in zip(images, spent.looks, strict=True)) / 40
    assert set(spent.differences) == set(found.body.quality.scores)
    for name, values in spent.differences.items():
        for seed, value in enumerate(values):
            expected = found.body.quality.scores[name][seed] - full.body.quality.scores[name][seed]
            assert value == pytest.approx(expected, abs=1e-12)
    assert 5 <= spent.query_passes <= 12
    assert found.body.timing.interleaved_with == full.body.timing.interleaved_with
    assert found.body.timing.images_per_second == pytest.approx(1e9 / spent.mean_latency_ns)
    assert found.body.bandwidth.pass_bytes == full.body.bandwidth.pass_bytes
    assert found.body.bandwidth.paper_ratio is None


def test_cells_of_one_batch_and_mc_are_timed_in_turns(tmp_path):
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=("INT8", "DNN_FP32", "FP32", "FP32"),
        mc=(2, 3),
        batches=(1,),
        limit=8,
        seconds=0.02,
        seeds=1,
    )
    records = studied("run", plan, tmp_path)
    assert len(records) == 5
    by_key = {record.subject.key: record for record in records}
    for record in records:
        together = [by_key[key].subject for key in record.body.timing.interleaved_with]
        passes = max(cell.mc for cell in together)  # one of DNN_FP32, which is with the most
        assert [cell.mc for cell in together if cell.format != "DNN_FP32"] == [passes] * 2
        assert len(together) == (3 if passes == 3 else 2)
        by_race = {r.subject for r in records if r.body.timing.race == record.body.timing.race}
        assert by_race == set(together)
        assert record.verdict.audits["cores free"].startswith(("pass", "not applicable"))
        assert record.verdict.audits["not throttled"].startswith(("pass", "not applicable"))


def test_a_quota_is_a_finding_and_throttling_an_audit_of_every_record(tmp_path, monkeypatch):
    """The control group says that it stopped the process twice more at each look."""
    looks = iter(range(0, 100, 2))
    monkeypatch.setattr(watch, "throttled", lambda: next(looks))
    monkeypatch.setattr(watch, "quota", lambda: 1.5)
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=("INT8", "FP32"),
        mc=(1,),
        batches=(1,),
        limit=8,
        seconds=0.02,
        seeds=1,
    )
    for record in studied("run", plan, tmp_path):
        assert "the CPU quota allows 1.5 cores" in record.verdict.findings
        assert record.verdict.audits["not throttled"].startswith("fail: the CPU quota of 1.5 cores")
        assert not record.verdict.valid


ADAPTIVE = pytest.param(True, marks=pytest.mark.thorough)


@pytest.mark.parametrize("adaptive", [False, ADAPTIVE])
def test_scores_of_a_run_that_was_stopped_are_not_computed_again(tmp_path, monkeypatch, adaptive):
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=("INT8", "FP32", "DNN_FP32"),  # the last is timed at T = 1 alone
        mc=(1, 6),
        adaptive=adaptive,
        batches=(2,),
        limit=8,
        seconds=0.02,
        seeds=2,
    )
    whole = studied("run", plan, tmp_path / "whole")
    store = Store(tmp_path / "stopped", RUN_RECORDS)
    with monkeypatch.context() as patched:
        patched.setattr(
            sweep.RunMeasurer, "_group", stopped := _stop_at_second(sweep.RunMeasurer._group)
        )
        with pytest.raises(KeyboardInterrupt):
            studied("run", plan, store.path)
    assert 0 < len(store.records()) < len(whole)
    assert stopped.calls == 2
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "outcomes", None)
        patched.setattr(scoring, "evaluate_adaptive", None)
        found = studied("run", plan, store.path)
    assert [record.subject for record in found] == [record.subject for record in whole]
    assert [record.body.quality for record in found] == [record.body.quality for record in whole]
    assert [record.body.paired for record in found] == [record.body.paired for record in whole]
    assert all(
        record.body.paired
        for record in found
        if not record.subject.adaptive and record.subject.mc > 1
    )
    assert not list(tmp_path.rglob(".predictions"))


@pytest.mark.parametrize(
    ("records", "adaptive"),
    [(5, False), pytest.param(8, True, marks=pytest.mark.thorough), (6, False)],
)
def test_predictions_of_a_killed_run_are_gone_once_all_records_are_there(
    tmp_path, monkeypatch, records, adaptive
):
    """Also of a format whose records were stored before, and of a run that stored all of them."""
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=("FP32", "INT8", "INT8_SIGMA1"),
        mc=(1, 6),
        adaptive=adaptive,
        batches=(2,),
        limit=8,
        seconds=0.01,
        seeds=1,
    )
    store, save = Store(tmp_path, RUN_RECORDS), Store.save
    left = iter(range(records))

    def killed(self, record):
        if next(left, None) is None:
            raise KeyboardInterrupt
        save(self, record)

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(Store, "save", killed)
        patched.setattr(Scratch, "clear", lambda self, keys: None)
        studied("run", plan, store.path)
    assert len(store.records()) == records
    assert list(tmp_path.rglob(".predictions"))
    before = {record.created for record in store.records()}
    found = studied("run", plan, store.path)
    assert not list(tmp_path.rglob(".predictions"))
    assert before <= {record.created for record in found}, "nothing is measured again"


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_run_keeps_numbers_of_each_image_not_of_each_class(tmp_path, monkeypatch, adaptive):
    monkeypatch.setattr(Scratch, "clear", lambda self, keys: None)
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=("INT8",),
        mc=(6,),
        adaptive=adaptive,
        batches=(2,),
        limit=20,
        seconds=0.01,
        seeds=2,
    )
    studied("run", plan, tmp_path)
    kept = [load_file(path) for path in tmp_path.rglob(".predictions/*.safetensors")]
    assert len(kept) == 2, "one a seed"
    for name, values in ((n, v) for one in kept for n, v in one.items()):
        assert values.shape == ((2 * 2, 10) if name.startswith("opening/") else (20,)), name


def test_formats_that_come_later_are_compared_as_in_one_run(tmp_path: Path) -> None:
    def plan(*formats: str) -> Plan:
        return Plan(
            resolve_workload("lenet-digits"),
            formats=formats,
            mc=(1, 4),
            batches=(2,),
            seconds=0.01,
            seeds=2,
            limit=40,
        )

    names = ("DNN_FP32", "FP32", "INT8", "DNN_INT8")
    whole = studied("run", plan(*names), tmp_path / "whole")
    store = Store(tmp_path / "later", RUN_RECORDS)
    first = studied("run", plan(*names[:2]), store.path)
    found = studied("run", plan(*names), store.path)
    assert [record.subject for record in found] == [record.subject for record in whole]
    assert [record.body.paired for record in found] == [record.body.paired for record in whole]
    assert sum(record.body.paired is not None for record in found) == 5  # of 6, less DNN_FP32
    kept = {record.created for record in first}
    assert {r.created for r in found if r.subject.format in names[:2]} == kept, "not timed again"


def _stop_at_second(group):
    def stopped(self, *arguments):
        stopped.calls += 1
        if stopped.calls == 2:
            raise KeyboardInterrupt
        return group(self, *arguments)

    stopped.calls = 0
    return stopped


def test_a_batch_larger_than_the_split_is_refused(tmp_path):
    plan = Plan(resolve_workload("lenet-digits"), batches=(64,), limit=20)
    with pytest.raises(UserError, match="--batch is 64, more than the 20 images"):
        studied("run", plan, tmp_path)


def test_peak_memory_and_bandwidth_are_those_of_the_cell(tmp_path):
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=("INT8", "FP32"),
        mc=(2,),
        batches=(1,),
        limit=8,
        seconds=0.02,
        seeds=1,
    )
    int8, fp32 = studied("run", plan, tmp_path)
    weights = int8.body.size.weights
    assert int8.body.bandwidth.mean_bytes >= weights
    assert fp32.body.bandwidth.mean_bytes >= 4 * weights
    assert int8.body.bandwidth.pass_bytes < fp32.body.bandwidth.pass_bytes
    assert int8.body.bandwidth.paper_ratio == 8
    assert fp32.body.bandwidth.paper_ratio is None
    for record in (int8, fp32):
        moved = record.body.bandwidth.pass_bytes * record.subject.mc
        seconds = record.subject.batch / record.body.timing.images_per_second
        assert record.body.bandwidth.achieved_gb_per_s == pytest.approx(moved / seconds / 1e9)
        assert record.body.peak_memory_bytes > 10**8


def test_differences_are_to_what_the_same_run_scored(tmp_path: Path) -> None:
    names = ("FP32", "INT8", "DNN_FP32", "DNN_INT8")
    plan = Plan(
        resolve_workload("lenet-digits"),
        formats=names,
        mc=(1, 4),
        batches=(2,),
        seconds=0.01,
        seeds=2,
        limit=64,
    )
    store = Store(tmp_path, RUN_RECORDS)
    found = {(r.subject.format, r.subject.mc): r for r in studied("run", plan, store.path)}
    assert found["DNN_FP32", 1].body.paired is None
    for format_, reference, mc, other in (
        ("INT8", "FP32", 4, 4),
        ("FP32", "DNN_FP32", 4, 1),
        ("DNN_INT8", "DNN_FP32", 1, 1),
    ):
        beside = found[format_, mc].body.paired
        assert beside is not None
        assert beside.reference == reference
        for metric, score in (("accuracy_percent", "accuracy"), ("nll_nats", "nll")):
            mine = found[format_, mc].body.quality.scores[score]
            others = found[reference, other].body.quality.scores[score]
            assert beside.differences[metric] == pytest.approx(
                sum(mine) / len(mine) - sum(others) / len(others)
            )
        assert beside.seeds == (len(mine), len(others))
    again = {(r.subject.format, r.subject.mc): r for r in studied("run", plan, store.path)}
    assert again["INT8", 4].body.paired == found["INT8", 4].body.paired, "read back from its file"
