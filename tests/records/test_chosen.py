"""Which stored records a report shows: known answers, and one sentence for what cannot be asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from records_made import changed
from report import factory

from sigmabench.harness.bundle.packing import kinds
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.fingerprint import Machine
from sigmabench.harness.records.chosen import Chosen
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.known import STUDIES
from sigmabench.harness.studies.study import Study

ONE, OTHER = (
    Machine("Synthetic", "CPU", "6", "173", stepping, ("avx2",), 2, 4, {}, "") for stepping in "13"
)
IN_PART = None


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FP32 and INT8 at T 1 and 10, each day on another machine; the third is recorded in part."""
    folder = tmp_path_factory.mktemp("stored") / "results"
    for day, machine in enumerate((ONE, OTHER, IN_PART), 1):
        place = factory.fingerprint(machine=machine, computing="c0de")
        for record in factory.grid(("FP32", "INT8"), (1, 10), (1,), machine=place):
            Store(folder, RUN_RECORDS).save(
                changed(record, created=f"2030-01-0{day}T12:00:00+00:00")
            )
    return folder


def report(results: Path, *options: str) -> tuple[int, str]:
    """Exit status and output."""
    ran = CliRunner().invoke(main, ["report", "--results", str(results), "--json", *options])
    return ran.exit_code, ran.output


CASES = {
    (): 12,
    ("--where", "format=INT8"): 6,
    ("--where", "format=INT8,mc=10"): 3,
    ("--where", " mc = 1 , mc=10,format=FP32"): 6,
    ("--where", "seconds=1"): 12,
    ("--where", "workload=synthetic,stopping=fixed,team=0"): 12,
    ("--machine", ONE.hash): 4,
    ("--machine", OTHER.hash[:4].upper()): 4,
    ("--since", "2030-01-02"): 8,
    ("--since", "2030-01-02T12:00:00Z"): 8,
    ("--since", "2030-01-02T12:00:01"): 4,
    ("--since", "2030-01-02T14:00:01+02:00"): 4,
    ("--machine", ONE.hash, "--since", "2030-01-01", "--where", "format=FP32,mc=1"): 1,
}


@pytest.mark.parametrize("options", CASES, ids=" ".join)
def test_records_that_are_asked_for(results: Path, options: tuple[str, ...]) -> None:
    status, output = report(results, *options)
    assert status == 0, output
    assert len(json.loads(output)) == CASES[options]


REFUSED = {
    ("--where", "formt=INT8"): "There is no cell field named 'formt'; did you mean format?",
    ("--where", "format"): "is not FIELD=VALUE,…",
    ("--where", ""): "is not FIELD=VALUE,…",
    ("--where", "mc=ten"): "--where has mc=ten; mc is a whole number.",
    ("--where", "seconds=long"): "seconds is a number.",
    ("--where", "format=FP8"): "No record matches --where, --machine and --since",
    ("--machine", "zzzz"): "There is no machine with such records named 'zzzz'",
    ("--machine", " "): "--machine names nothing",
    ("--since", "yesterday"): "--since 'yesterday' is not a date or a time",
    ("--since", "2030-13-01"): "--since '2030-13-01' is not a date or a time",
    ("--since", "2031-01-01"): "No record matches --where, --machine and --since",
    ("--list", "--machine", "ab"): "--list covers all records; leave out --machine.",
    ("--claims", "--where", "mc=1"): "--claims covers all records; leave out --where.",
}


def test_records_without_a_whole_machine_are_not_chosen_by_one() -> None:
    records = factory.grid(("FP32",), (1,), (1,))
    assert all(one.fingerprint.machine is None for one in records)
    with pytest.raises(UserError, match=r"^--machine: none of these records names its whole"):
        Chosen({}, "ab", None).of(records)


@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_what_cannot_be_asked_is_told_in_one_sentence(
    results: Path, options: tuple[str, ...]
) -> None:
    status, output = report(results, *options)
    assert status == 2
    assert REFUSED[options] in output
    assert output.count("\n") == 1


def test_a_start_that_several_machines_share_is_not_enough(results: Path) -> None:
    machines = (replace(ONE, stepping=str(number)) for number in range(17))
    store = Store(results.parent / "many", RUN_RECORDS)
    for machine in machines:
        store.save(factory.record(machine=factory.fingerprint(machine=machine, computing="c0de")))
    shared = next(d for d in "0123456789abcdef" if _beginning(store, d) > 1)
    status, output = report(store.path, "--machine", shared)
    assert status == 2
    assert f"--machine {shared} may be " in output


def _beginning(store: Store, digit: str) -> int:
    found = (record.fingerprint.machine for record in store.records())
    return sum(machine is not None and machine.hash.startswith(digit) for machine in found)


def test_a_damaged_date_in_a_record_is_named(results: Path) -> None:
    store = Store(results.parent / "undated", RUN_RECORDS)
    record = changed(factory.record(), created="some day")
    store.save(record)
    status, output = report(store.path, "--since", "2030-01-01")
    assert status == 2
    assert f"Record {record.subject.key}: created 'some day' is not a date or a time" in output
    assert report(store.path)[0] == 0


@pytest.mark.parametrize(
    ("plan", "says"),
    [(None, "No module named 'lame_package'"), ("raise ValueError('no licence')", "no licence")],
)
def test_a_study_whose_modules_cannot_be_loaded_is_named_and_the_others_are_shown(
    plan: str | None,
    says: str,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if plan is not None:
        (tmp_path / "lame_package").mkdir()
        (tmp_path / "lame_package" / "__init__.py").touch()
        (tmp_path / "lame_package" / "plan.py").write_text(plan)
        monkeypatch.syspath_prepend(str(tmp_path))
    usable = {**STUDIES.usable(), "lame": Study("lame", "lame_package", "of another package")}
    monkeypatch.setattr(STUDIES, "usable", lambda: usable)
    status, output = report(results, "--list")
    assert status == 2
    assert "The study 'lame' cannot be loaded" in output
    assert says in output
    assert '"study": "run"' in output
    assert "run" in kinds()
