"""Methods on the clock: one race, T that is cut once, what is best for its time against a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from studied import studied

from sigmabench.harness.methods.method import LoadedMethod
from sigmabench.harness.methods.trunk import OnTrunk
from sigmabench.harness.race import turns
from sigmabench.harness.records.methods_record import METHOD_RECORDS, MethodRecord
from sigmabench.harness.records.runtime_record import OURS, Contender
from sigmabench.harness.records.verdict import PASS
from sigmabench.harness.records.verdict import verdict as verdict_of
from sigmabench.harness.studies.methods import analyse, at_equal_time, document, method_times
from sigmabench.harness.studies.methods.plan import MethodsPlan, plan

DIGITS = "lenet-digits"
ASKED: dict[str, Any] = {
    "methods": ("mean-field", "mean", "analytic"), "formats": ("FP32", "INT8"), "mc": (1, 3),
    "types": ("none",), "ood": (), "limit": 60, "fitted": 50, "seeds": 1, "batch": (2,),
    "threads": 1, "seconds": 0.002,
}  # fmt: skip


def planned(**choices: Any) -> MethodsPlan:
    return plan(DIGITS, scoring=True, **{**ASKED, **choices})[0]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[MethodRecord]:
    found: list[MethodRecord] = studied("methods", planned(), tmp_path_factory.mktemp("results"))
    return found


def believed(record: MethodRecord) -> MethodRecord:
    """With times that pass their audits, which so few of them may not."""
    verdict = verdict_of({"noise": PASS}) if record.subject.batch else None
    return MethodRecord(record.subject, record.provenance, verdict, record.body, record.arrays)


@pytest.fixture(scope="module")
def found(records: list[MethodRecord]) -> analyse.MethodsFindings:
    (findings,) = analyse.analyse([believed(one) for one in records], planned())
    return findings


def timed_at(times: Sequence[tuple[str, str, dict[int, float]]], records: Sequence[MethodRecord]):
    """The records, with times of one's own: milliseconds of a query of so many passes."""
    wanted = {(method, format): each for method, format, each in times}

    def moved(record: MethodRecord) -> MethodRecord:
        named = (record.subject.method, record.subject.format)
        if not record.subject.batch or named not in wanted:
            return record
        contenders = tuple(
            Contender(f"T = {mc}", OURS, named[1], "x", mc, (round(ms * 1e6),) * 30, (6,) * 5)
            for mc, ms in wanted[named].items()
        )
        body = replace(record.body, timed=contenders)
        return MethodRecord(record.subject, record.provenance, verdict_of({"noise": PASS}), body)

    return [moved(record) for record in records]


def test_every_method_is_timed_at_every_t_in_one_race(records: list[MethodRecord]) -> None:
    timed = [one for one in records if one.subject.batch]
    named = {(one.subject.method, one.subject.format) for one in timed}
    assert named == {
        ("mean-field", "FP32"), ("mean-field", "INT8"), ("mean", "FP32"), ("mean", "INT8"),
        ("analytic", "FP32"),
    }  # fmt: skip
    assert len({one.body.race for one in timed}) == 1
    for one in timed:
        assert one.verdict is not None
        assert [c.mc for c in one.body.timed] == list(one.subject.mc)
        assert all(min(c.latency_ns) > 0 for c in one.body.timed)
        assert {reference.name for reference in one.body.references} >= {"copy"}
        METHOD_RECORDS.check(one)


def test_what_takes_long_has_fewer_passes_and_is_timed_once(
    records: list[MethodRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = next(
        replace(one.subject, mc=(1, 4, 20, 50), threads=2)
        for one in records
        if one.subject.batch and one.subject.method == "mean-field"
    )

    def passes(seconds: float, asked: Any = subject, by: Any = None) -> tuple[int, ...]:
        monkeypatch.setattr(
            method_times.MethodRunner,
            "query",
            lambda self, index, count: int(seconds * 1e9 * count),
        )
        loaded = LoadedMethod(by, "float", (), 0, 1)
        return method_times._passes(asked, loaded, (), None)

    limit = turns.RACE_QUERY_SECONDS
    assert passes(limit / 100) == (1, 4, 20, 50)
    assert passes(limit / 20.5) == (1, 4, 20)
    assert passes(limit / 11) == (1, 4, 10)
    assert passes(limit) == (1,)
    assert passes(10 * limit) == (1,)
    members = replace(subject, method="ensemble", mc=(2, 3, 5))
    assert passes(10 * limit, members) == (2, 3, 5)
    shared = OnTrunk(None, None, (1, 1, 1))  # type: ignore[arg-type]
    assert passes(10 * limit, by=shared) == (1, 4, 20, 50)


def test_times_of_more_passes_follow_from_those_that_fit(
    records: list[MethodRecord],
) -> None:
    times = [("mean-field", "INT8", {1: 2.0}), ("mean", "INT8", {1: 1.5})]
    (found,) = analyse.analyse(timed_at(times, records), planned())
    made = {(o.method, o.format, o.mc): o for o in at_equal_time.costs(found, 2)}
    assert made["mean-field", "INT8", 3].milliseconds == pytest.approx(6.0)
    assert made["mean-field", "INT8", 3].per_image == pytest.approx(3.0)
    assert at_equal_time.unit(list(made.values())) == pytest.approx(2.0)


def test_the_best_within_a_budget_is_chosen_on_validation_images(
    records: list[MethodRecord],
) -> None:
    times = [
        ("mean-field", "INT8", {1: 2.0, 3: 5.0}), ("mean-field", "FP32", {1: 3.0, 3: 9.0}),
        ("mean", "INT8", {1: 1.9}), ("mean", "FP32", {1: 2.5}), ("analytic", "FP32", {1: 40.0}),
    ]  # fmt: skip
    (found,) = analyse.analyse(timed_at(times, records), planned())
    made = at_equal_time.costs(found, 2)
    for method in ("mean-field", "mean", "analytic"):
        for budget in (1.0, 2.0, 2.6, 5.5, 9.5, 100.0):
            fit = [o for o in made if o.method == method and o.milliseconds <= budget]
            expected = sorted(fit, key=lambda o: o.chosen_by)[:1]
            best = at_equal_time.best_within(made, method, budget)
            assert [best] == expected or (best is None and not expected)
    rows = at_equal_time.budget_sheet(found, 2).rows
    assert {row[1] for row in rows if row[0] == "1×"} == {"mean-field", "mean"}
    assert {row[1] for row in rows if row[0] == "50×"} == {"mean-field", "mean", "analytic"}
    by_test = min(made, key=lambda o: o.score("nll") or 0.0)
    assert by_test in at_equal_time.front(made, "nll")


def test_nothing_on_the_front_is_beaten_and_all_else_is(found: analyse.MethodsFindings) -> None:
    made = at_equal_time.costs(found, 2)
    for metric in at_equal_time.SCORES:
        best = at_equal_time.front(made, metric)
        for one in made:
            beaten = any(
                other.milliseconds <= one.milliseconds
                and (other.score(metric) or 0.0) <= (one.score(metric) or 0.0)
                and other is not one
                for other in made
            )
            assert (one in best) or beaten


def test_other_networks_times_are_not_these(records: list[MethodRecord]) -> None:
    others = [
        MethodRecord(
            one.subject, one.provenance, one.verdict, replace(one.body, artefacts=("other",))
        )
        if one.subject.batch
        else one
        for one in records
    ]
    (found,) = analyse.analyse(others, planned())
    assert at_equal_time.costs(found, 2) == []
    assert at_equal_time.figure(found, 2) is None


def test_the_document_has_a_chart_for_each_batch(found: analyse.MethodsFindings) -> None:
    made = document.document(found)
    names = [one.name for one in made.figures() if not isinstance(one, str)]
    assert names == ["methods_time_batch2", "methods"]
    assert any(sheet.title == "At equal time, batch 2" for sheet in made.sheets)
    costed = made.values["costs"]
    assert len(costed) == len(at_equal_time.costs(found, 2))
    assert all(row["interval"][0] <= row["milliseconds"] <= row["interval"][1] for row in costed)


def test_processes_join_as_one(tmp_path: Path, records: list[MethodRecord]) -> None:
    from sigmabench.harness.studies.methods.measure import joined

    one = next(r for r in records if r.subject.batch and r.subject.method == "mean")
    whole = joined([one, one, one])
    (contender,) = whole.body.timed
    (part,) = one.body.timed
    assert contender.latency_ns == part.latency_ns * 3
    assert contender.processes == (len(part.slices),) * 3
    assert whole.verdict is not None
