"""Timing in several fresh processes: what each measured is kept until all have, and stored as one
record; a study that stops goes on with the process that it was at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from records_made import changed

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.records.verdict import verdict
from sigmabench.harness.studies import fresh
from sigmabench.harness.studies.run import measure, scoring
from sigmabench.harness.studies.run.joined import joined

#: A study is made again for each process.
pytestmark = pytest.mark.thorough

ASKED = (
    *("run", "lenet-digits", "--formats", "FP32,INT8", "--mc", "2", "--batch", "2"),
    *("--limit", "40", "--seeds", "1", "--seconds", "0.02", "--processes", "2"),
)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[fresh.Fresh]:
    """Each process's work done in this one, and what they were given."""
    jobs: list[fresh.Fresh] = []

    def run(job: fresh.Fresh, report: Any) -> None:
        jobs.append(job)
        job.measure(report)

    monkeypatch.setattr(fresh, "_run", run)
    return jobs


def asked(results: Path, *more: str, status: int = 0) -> Any:
    done = CliRunner().invoke(main, [*ASKED, "--results", str(results), "--json", *more])
    assert done.exit_code == status, done.output
    return json.loads(done.stdout) if not status else done.stderr


def records(results: Path) -> list[RunRecord]:
    return Store(results, RUN_RECORDS).records()


def test_every_process_has_its_samples_in_the_record(tmp_path, here):
    asked(tmp_path)
    assert [job.process for job in here] == [0, 1]
    for record in records(tmp_path):
        timing = record.body.timing
        assert record.subject.processes == len(timing.processes) == 2
        assert sum(timing.processes) == len(timing.slices)
        assert sum(timing.slices) == len(timing.latency_ns)
        assert record.verdict.audits["processes agree"] == "pass"
        assert {one.name for one in record.body.references} >= {"copy", "empty program"}
        assert all(len(one.processes) == 2 for one in record.body.references)
        assert record.arrays["label"].shape == (40,)
    assert not list(tmp_path.rglob(fresh.PROCESSES))
    assert not list(tmp_path.rglob("*.tmp"))


def test_later_processes_find_nothing_again(tmp_path, here, monkeypatch):
    """Scores, sizes and what sampled weights keep are those of the first; the artefacts agree."""
    scored, judged = [], []
    outcomes, fidelities = scoring.outcomes, measure.fidelities
    monkeypatch.setattr(scoring, "outcomes", lambda *a, **k: scored.append(1) or outcomes(*a, **k))
    monkeypatch.setattr(measure, "fidelities", lambda *a: judged.append(1) or fidelities(*a))
    told = asked(tmp_path, "--processes", "3")
    assert [job.process for job in here] == [0, 1, 2]
    assert len(scored) == len(judged) == 2  # formats
    monkeypatch.undo()
    alone = asked(tmp_path / "alone", "--processes", "1")
    assert told
    assert alone
    three = {one.subject.format: one.body for one in records(tmp_path)}
    for one in records(tmp_path / "alone"):
        body = three[one.subject.format]
        assert (body.quality, body.size, body.fidelity, body.artefact) == (
            one.body.quality,
            one.body.size,
            one.body.fidelity,
            one.body.artefact,
        )


def test_it_goes_on_with_the_process_that_it_was_at(tmp_path, here, monkeypatch):
    measure = fresh.Fresh.measure

    def stops(job: fresh.Fresh, report: Any) -> None:
        if job.process == 1:
            raise UserError("stopped")
        measure(job, report)

    monkeypatch.setattr(fresh.Fresh, "measure", stops)
    assert "stopped" in asked(tmp_path, status=2)
    assert not records(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert len(first) == 2
    monkeypatch.setattr(fresh.Fresh, "measure", measure)
    here.clear()
    asked(tmp_path)
    assert [job.process for job in here] == [1]
    one = json.loads(first[f"{records(tmp_path)[0].subject.key}.json"])
    kept = tuple(one["body"]["timing"]["latency_ns"])
    assert records(tmp_path)[0].body.timing.latency_ns[: len(kept)] == kept


def test_always_begins_anew(tmp_path, here):
    asked(tmp_path)
    before = records(tmp_path)[0].body.timing.race
    asked(tmp_path, "--policy", "always")
    assert len(here) == 4
    assert records(tmp_path)[0].body.timing.race != before


def test_one_process_and_two_are_other_records(tmp_path, here):
    asked(tmp_path)
    asked(tmp_path, "--processes", "1")
    assert sorted({one.subject.processes for one in records(tmp_path)}) == [1, 2]


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_processes_get_one_sentence(tmp_path, count):
    assert "--processes is" in asked(tmp_path, "--processes", count, status=2)


def test_a_real_process_measures_and_a_killed_one_gets_one_sentence(tmp_path, monkeypatch):
    asked(tmp_path)
    assert {len(one.body.timing.processes) for one in records(tmp_path)} == {2}
    monkeypatch.setattr(fresh, "_life", _ends)
    told = asked(tmp_path, "--policy", "always", status=2)
    assert "was killed" in told


def _ends(job: object, connection: object) -> None:
    raise SystemExit(1)


def test_the_verdict_is_of_all_processes(tmp_path, here):
    asked(tmp_path)
    one = records(tmp_path)[0]
    audits = {**one.verdict.audits, "cores free": "pass"}
    good = changed(one, verdict=verdict(audits))
    bad = changed(one, verdict=verdict({**audits, "cores free": "fail: taken"}, ("told",)))
    found = joined([good, bad]).verdict
    assert found is not None
    assert found.audits["cores free"] == "fail: taken"
    assert found.findings == ("told",)
    other = changed(good, quality=replace(good.body.quality, images=7))
    disagree = joined([good, other]).verdict
    assert disagree is not None
    assert disagree.audits["processes agree"].startswith("fail")
