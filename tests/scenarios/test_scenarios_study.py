"""`sigmabench scenarios` on the embedded digits, what of it is refused, and what its tables say."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from studied import studied

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.measure import loadgen
from sigmabench.harness.measure.host import Model
from sigmabench.harness.measure.load_test import LoadTest
from sigmabench.harness.records.envelope import Arrays, Provenance
from sigmabench.harness.records.load_record import (
    ACCURACY,
    EMPTY,
    LOADS,
    PERFORMANCE,
    Generated,
    LoadBody,
    LoadRecord,
    LoadSubject,
)
from sigmabench.harness.records.store import Store
from sigmabench.harness.records.verdict import PASS, verdict
from sigmabench.harness.report.rendering import terminal
from sigmabench.harness.studies.scenarios import measure
from sigmabench.harness.studies.scenarios.analyse import analyse, cost, counted, explained, findings
from sigmabench.harness.studies.scenarios.document import document
from sigmabench.harness.studies.scenarios.measure import accepted, joined
from sigmabench.harness.studies.scenarios.plan import plan
from sigmabench.harness.studies.scenarios.under_test import faster
from sigmabench.harness.studies.under_load import UnderLoad
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import prepare
from sigmabench.harness.workload.workload import WORKLOADS

needs_loadgen = pytest.mark.skipif(
    loadgen.unavailable() is not None, reason=str(loadgen.unavailable())
)
HAS = loadgen.unavailable() is None


def asked(**choices: Any) -> Any:
    given: dict[str, Any] = {"formats": ("INT8",), "mc": (4,), "limit": 40, "threads": 1}
    return plan("lenet-digits", scoring=True, **{**given, **choices})


@pytest.mark.thorough
def test_a_workload_is_tested_and_stored(tmp_path: Path) -> None:
    names = ("closed-loop", "server") if HAS else ("closed-loop",)
    made, lines = asked(scenarios=names, rate=200.0 if HAS else None)
    assert lines == ()
    records = studied("scenarios", made, tmp_path)
    assert [one.subject.scenario for one in records] == list(names)
    assert studied("scenarios", made, tmp_path) == records
    for record in records:
        assert record.verdict.quality.outcome == "valid"
        assert record.body.passes == 4
        assert [one.purpose for one in record.body.tests] == [EMPTY, PERFORMANCE, ACCURACY]
        (place,) = (n for n, one in enumerate(record.body.tests) if one.purpose == PERFORMANCE)
        assert len(record.service_ns(place)) == record.body.tests[place].samples
        assert (record.arrays[f"{place}.mc"] == 4).all()
        assert record.arrays["nll"].mean() == pytest.approx(record.body.nll, rel=1e-5)
        assert 100 * record.arrays["correct"].mean() == pytest.approx(record.body.accuracy)
        logs = Store(tmp_path, LOADS).logs(record.subject, record.fingerprint)
        kept = [one.logs for one in record.body.tests if one.logs]
        assert all((logs / name / loadgen.DETAIL).is_file() for name in kept)
        assert bool(kept) == (record.subject.scenario == "server")
    assert records[0].body.nll == pytest.approx(records[-1].body.nll, rel=1e-5)  # one seed
    (found,) = analyse(records)
    assert terminal(document(found))


def test_what_needs_the_package_is_left_out_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadgen, "unavailable", lambda: "It is not here.")
    made, lines = asked()
    assert made.scenarios == ("closed-loop",)
    assert lines == ("Without single-stream, multi-stream, server, offline: It is not here.",)
    with pytest.raises(UserError, match=r"scenario server cannot be measured: It is not here\."):
        asked(scenarios=("server",))
    assert plan("lenet-digits", scoring=False)[0].scenarios[-1] == "offline"


class Slow:
    """In place of a process: a batch takes a second per image and pass, and nothing answers."""

    def __init__(self, model: Model) -> None:
        self.format = model.artefact.header.format

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def ask(self, method: str, *given: Any, limit: float) -> Any:
        if method != "shape_seconds":
            raise UserError(f"{self.format} was tested.")
        each = 1e-3 if self.format == "INT8" else 1.0
        return {(images, mc): each * images * mc for images, mc in given[0]}


def test_seconds_that_hold_too_few_queries_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "UnderLoad", Slow)
    if HAS:
        with pytest.raises(UserError, match=r"--seconds 2 at --rate 10 hold about 20 queries, and"):
            asked(scenarios=("server",), seconds=2.0, rate=10.0)
    made, _ = asked(scenarios=("closed-loop",), formats=("FP32",), seconds=9.0)
    # 4 passes would take 4 s: a query has one.
    with pytest.raises(UserError, match=r"--seconds 9 of closed-loop hold about 9 queries of 1 s"):
        studied("scenarios", made, tmp_path)
    told: list[str] = []
    made, _ = asked(scenarios=("closed-loop",), formats=("FP32", "INT8"), seconds=9.0)
    with pytest.raises(UserError, match=r"INT8 was tested"):  # the other one went on
        studied("scenarios", made, tmp_path, report=lambda phase, *_: told.append(phase))
    (refused,) = (one for one in told if "hold about" in one)
    assert refused.startswith("FP32: --seconds 9 of closed-loop hold about 9 queries")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "0"], "--batch is 0"),
        (["--latency", "0"], "--latency is 0"),
        (["--rate", "-1"], "--rate is -1"),
        (["--scenarios", "sever"], "did you mean server?"),
        (["--split", "train"], "is not scored"),
    ],
)
def test_bad_input_is_one_sentence(options: list[str], words: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["scenarios", "lenet-digits", "--results", str(tmp_path), *options]
    )
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def model() -> Model:
    prepared = prepare(Plan(WORKLOADS.get("lenet-digits"), formats=("INT8",)))
    return Model(prepared.artefact("INT8"), "reference", 1, prepared.splits.validation, 0)


@pytest.fixture
def process(model: Model) -> Iterator[UnderLoad]:
    with UnderLoad(model) as one:
        yield one


def test_a_process_that_does_not_answer_is_stopped(process: UnderLoad) -> None:
    with pytest.raises(UserError, match=r"\(nlls\) had not ended after 0 s and was stopped"):
        process.ask("nlls", 50, range(50), limit=0.0)
    assert not process._process.is_alive()


def test_a_process_that_dies_is_named(process: UnderLoad) -> None:
    os.kill(process._process.pid or 0, signal.SIGKILL)
    with pytest.raises(UserError, match=r"ended \(nlls, status -9\), perhaps because memory"):
        process.ask("nlls", 1, (0,), limit=60.0)


MADE = Provenance.now(fingerprint(), "test")
SUBJECT = LoadSubject(
    "lenet-digits", "1", "0" * 16, "single-stream", "INT8", "native", 10, 32, "validation", 0, 2, 0
)
TEST = Generated(
    purpose=PERFORMANCE,
    rate=0.0,
    valid=True,
    duration_met=True,
    queries_met=True,
    early_stopping_met=True,
    latency_met=None,
    early_stopping="",
    queries=100,
    samples=100,
    late=None,
    percentiles_ns={"50.00": 1e7, "90.00": 1.2e7, "99.00": 2e7},
    own_percentiles_ns={"50.00": 0.99e7, "90.00": 1.19e7},
    samples_per_second=None,
    sent_per_second=None,
    errors=(),
    settings={"min_duration_ms": 2000, "min_query_count": 64, "qsl_rng_seed": 5},
    mlperf={"min_duration_ms": 600_000, "min_query_count": 100},
    percentile=0.9,
    version="6.0",
)
NOTHING = replace(TEST, purpose=EMPTY, percentiles_ns={"50.00": 1e5}, own_percentiles_ns={})


def record(*tests: Generated, **subject: Any) -> LoadRecord:
    body = LoadBody("a" * 64, 10, 32, {"1": 0.01, "32": 0.2}, tests, 98.0, 0.05, 200)
    made = replace(SUBJECT, **subject)
    arrays = {
        "nll": np.zeros(200, np.float32),
        "correct": np.ones(200, np.uint8),
        "1.service_ns": np.full(100, 5, np.int64),
    }
    return LoadRecord(
        made,
        Provenance.now(fingerprint(), "test"),
        verdict({"noise": PASS}),
        body,
        Arrays.of(arrays),
    )


def said(*records: LoadRecord) -> str:
    (found,) = analyse(records)
    made = document(found)
    return " ".join(str(one) for one in (made.sheets, made.conclusions))


def test_a_dear_generator_and_clocks_that_disagree_are_findings() -> None:
    (found,) = analyse([record(NOTHING, TEST)])
    assert list(findings(found)) == []
    one = cost(found.records[0])
    assert one is not None
    assert one.share == pytest.approx(0.01)
    assert one.differs == pytest.approx(1.2 / 1.19 - 1)
    dear = record(replace(NOTHING, percentiles_ns={"50.00": 6e5}), TEST)
    late = record(NOTHING, replace(TEST, own_percentiles_ns={"90.00": 1.1e7}))
    assert "takes 6 % of what a query takes, more than 5 %" in said(dear)
    assert "differs from ours of the same queries by 9 %, more than 5 %" in said(late)
    short = replace(TEST, percentiles_ns={"50.00": 4e6, "90.00": 5e6})
    one = cost(record(NOTHING, replace(short, own_percentiles_ns={"90.00": 4e6})))
    assert one is not None
    assert one.differs is None  # shorter than 5 ms


def test_settings_that_mlperf_has_otherwise_are_unofficial() -> None:
    text = said(record(NOTHING, TEST))
    assert "'min_duration_ms', '600,000', '2,000'" in text
    assert "qsl_rng_seed" not in text
    assert "Unofficial: none of these is a result of MLPerf." in text


@pytest.mark.parametrize(
    ("scenario", "changes", "words"),
    [
        ("single-stream", {"duration_met": False}, "it ended before its 2 s were over"),
        ("single-stream", {"queries_met": False, "queries": 9}, "had 9 queries, and needs 64"),
        (
            "single-stream",
            {"early_stopping_met": False, "queries": 63},
            "63 queries do not tell at 99 % confidence what 90 % of all take at most; that needs "
            "64",
        ),
        (
            "server",
            {"latency_met": False, "early_stopping_met": False, "percentile": 0.99},
            "fewer than 99 % of the queries were answered within 15 ms",
        ),
        (
            "server",
            {"early_stopping_met": False, "percentile": 0.99, "late": 3},
            "3 queries of 100 took longer than 15 ms: with so few queries",
        ),
        ("offline", {"errors": ("Too many.",)}, "LoadGen reports: Too many"),
    ],
)
def test_invalid_is_told_in_plain_words(scenario: str, changes: dict[str, Any], words: str) -> None:
    settings = {**TEST.settings, "server_target_latency_ns": 15_000_000}
    test = replace(TEST, valid=False, settings=settings, **changes)
    (reason,) = explained(test, scenario)
    assert words in reason
    assert f"INT8 in {scenario} is INVALID: {reason}." in said(
        record(NOTHING, test, scenario=scenario)
    )


def test_the_first_valid_test_counts_else_the_last() -> None:
    bad, good = replace(TEST, valid=False, rate=4.0), replace(TEST, rate=2.0)
    assert counted(record(bad, good, replace(TEST, rate=1.0))) == [good]
    assert counted(record(replace(bad, rate=8.0), bad)) == [bad]
    assert accepted([NOTHING, bad, good]) == PASS
    assert accepted([bad]).startswith("fail: the load generator calls no test valid")
    assert "reports an error (x)" in accepted([good, replace(NOTHING, errors=("x",))])
    assert accepted([replace(TEST, valid=None)]).startswith("not applicable")


def test_a_test_that_ran_out_is_a_better_pilot() -> None:
    asked = LoadTest("single-stream", PERFORMANCE, 2.0, 64, 40, 40, 0.9, query_ns=9e7)
    again = faster(asked, replace(TEST, valid=False, duration_met=False))
    assert (again.query_ns, again.queries) == (1e7 / 2, 64)
    offline = replace(asked, scenario="offline", rate=100.0)
    assert faster(offline, replace(TEST, samples_per_second=400.0)).rate == 600.0


def test_processes_are_joined() -> None:
    both = joined([record(NOTHING, TEST), record(NOTHING, replace(TEST, queries=50))])
    assert [test.process for test in both.body.tests] == [0, 0, 1, 1]
    assert {"1.service_ns", "3.service_ns", "nll", "correct"} == set(both.arrays)
    one = LoadRecord(
        both.subject,
        Provenance.now(fingerprint(), "test"),
        both.verdict,
        both.body,
        Arrays.of(both.arrays),
    )
    assert len(counted(one)) == 2
