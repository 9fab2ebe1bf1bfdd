"""Exported values: all of what is stored, read back by other programs, and nothing twice."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hostile import HOSTILE, steering
from records_made import changed
from report import factory
from shift import shift_factory
from unpublished import UNPUBLISHED

from sigmabench.harness.cli.main import main
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.shift_record import SHIFT_RECORDS, ShiftRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.report.export_columns import VALUE_COLUMNS, record_columns
from sigmabench.harness.report.values import Value, values
from sigmabench.harness.studies.known import loadable
from sigmabench.harness.workload.cell import Cell

RESULTS = Path(__file__).parents[2] / "results"
KINDS = {one.plan.KIND.name: one.plan.KIND for one in loadable().values()}
#: Of bodies: which draw or pass a value is of, which the columns seed and T say.
TOLD = ("seeds", "looks", "mc")


@cache
def of_each_kind() -> dict[str, Any]:
    """A record of every kind: a published one, and one that is made up where none is."""
    found = {name: made() for name, made in UNPUBLISHED.items()}
    for name, kind in KINDS.items():
        for _, record in Store(RESULTS, kind).each():
            found.setdefault(name, record)
            break
    return found


def numbers(tree: Any, name: str = "") -> Iterator[float]:
    """Every number of a body, however deep."""
    if isinstance(tree, dict):
        for key, each in tree.items():
            yield from () if key in TOLD else numbers(each, key)
    elif isinstance(tree, (list, tuple)):
        for each in tree:
            yield from numbers(each, name)
    elif isinstance(tree, (int, float)):
        yield tree


def of(record: Any, metric: str, samples: bool = False) -> list[Value]:
    return [one for one in values(record, samples) if one.metric == metric]


def shifted(name: str) -> ShiftRecord:
    arrays = {"confidence": np.full(3, 0.5)}
    scores = {"accuracy": (50.0, 75.0), "nll": (0.5, 0.25)}
    return shift_factory.record(shift_factory.cell(format=name), arrays, scores, (1, 4))


def given(results: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", "--results", str(results), *arguments])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Four runs, an older one of other code in a pack, and two shifts."""
    runs: Store[Any] = Store(tmp_path / "results", RUN_RECORDS)
    first, *others = factory.grid(("FP32", "INT8"), (1, 10), (1,))
    older = replace(first.fingerprint, computing="0lder0lder0lder0")
    made = replace(first.provenance, fingerprint=older, created="2029-01-01T00:00:00Z")
    runs.save(replace(first, provenance=made))
    for _ in runs.pack():
        pass
    for record in (first, *others):
        runs.save(record)
    shifts: Store[Any] = Store(tmp_path / "results", SHIFT_RECORDS)
    for name in ("FP32", "INT8"):
        shifts.save(shifted(name))
    return tmp_path / "results"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_number_of_every_kind_is_a_value(kind: str) -> None:
    if kind not in of_each_kind():
        pytest.skip(f"no record of {kind} is published")
    record = of_each_kind()[kind]
    expected = Counter(map(float, numbers(asdict(record.body))))
    found: Counter[float] = Counter()
    for one in values(record, samples=True):
        told = (one.value, one.low, one.high)
        found.update(float(number) for number in told if number is not None)
    assert not expected - found


def test_what_a_run_scored_and_took_is_told_with_seed_t_interval_and_unit() -> None:
    record = factory.record(format="INT8", mc=10)
    body = record.body
    for metric, unit in (("accuracy", "%"), ("nll", "nats"), ("brier", "")):
        found = of(record, metric)
        assert [one.value for one in found] == list(body.quality.scores[metric])
        assert [(one.seed, one.passes, one.unit) for one in found] == [
            (seed, 10, unit) for seed in body.quality.seeds
        ]
    (latency,) = of(record, "latency_p50")
    assert latency.value == body.timing.percentiles_ns["p50"]
    assert (latency.low, latency.high) == body.timing.p50_ci95_ns
    assert latency.unit == "ns"
    (difference,) = of(record, "accuracy.difference")
    assert (difference.value, difference.unit, difference.part) == (-0.12, "%", "to FP32")
    assert (difference.low, difference.high) == pytest.approx((-0.42, 0.18))
    assert [one.part for one in of(record, "fidelity.std_ratio")] == ["conv1", "fc1", "fc2"]
    assert of(record, "peak_memory_bytes")[0].unit == "B"


def test_a_cut_query_has_the_passes_that_it_had() -> None:
    record = factory.record(mc=50)
    cut = changed(record, timing=replace(record.body.timing, passes=7))
    assert {one.passes for one in of(cut, "latency_p50")} == {7}
    assert {one.passes for one in of(cut, "nll")} == {50}


def test_what_is_not_defined_has_no_row() -> None:
    assert of(factory.record(mc=1), "mutual_information") == []


def test_adaptive_passes_are_told_apart_by_seed_and_look() -> None:
    record = factory.adapted()
    spent = record.body.adaptive
    assert spent is not None
    assert [(one.seed, one.value) for one in of(record, "adaptive.mean_passes")] == [
        *enumerate(spent.mean_passes)
    ]
    images = of(record, "adaptive.images")
    assert [one.passes for one in images] == [*spent.looks] * 3
    assert [one.value for one in images[:7]] == [*spent.images[0]]


def test_a_shift_scores_every_prefix() -> None:
    found = of(shifted("INT8"), "nll")
    assert [(one.passes, one.seed, one.value) for one in found] == [(1, 0, 0.5), (4, 0, 0.25)]


def test_a_race_tells_each_contender_by_its_median() -> None:
    record = of_each_kind()["passes"]
    found = {one.part: one for one in of(record, "latency_p50")}
    for contender in record.body.contenders:
        if contender.unavailable:
            assert contender.name not in found
        elif len(contender.processes) < 2:
            assert found[contender.name].value == np.median(contender.latency_ns)
            assert found[contender.name].passes == contender.mc


def test_raw_times_come_where_they_are_asked_for() -> None:
    record = factory.record()
    assert of(record, "latency") == []
    found = of(record, "latency", samples=True)
    assert tuple(one.value for one in found) == record.body.timing.latency_ns
    assert [one.place for one in found] == [*range(len(found))]


def test_there_is_a_column_for_every_field_of_a_subject() -> None:
    columns = record_columns([RUN_RECORDS])
    assert [name for name in columns if name.startswith("subject_")] == [
        f"subject_{name}" for name in asdict(factory.cell())
    ]
    assert {"machine", "machine_stepping", "commit", "computing", "task", "verdict_valid"} <= set(
        columns
    )
    assert [*VALUE_COLUMNS] == ["metric", "part", "place", "T", "seed", "value", "low", "high",
                                "unit"]  # fmt: skip
    every = record_columns([*KINDS.values()])
    assert columns.keys() < every.keys()
    assert every["subject_mc"] == "text"  # several numbers of passes in methods, one in a run
    assert "subject_choice_options_range" in every  # of a class within the subject


def test_csv_holds_what_the_records_do(results: Path) -> None:
    done = given(results, "--study", "run", "--samples", "--out", str(results / "runs.csv"))
    assert done.exit_code == 0, done.output
    found = rows((results / "runs.csv").read_text())
    store: Store[Any] = Store(results, RUN_RECORDS)
    records = {f"{place.relative_to(results)}": one for place, one in store.each()}
    assert len(records) == 5
    assert {row["record"] for row in found} == set(records)
    for place, record in records.items():
        mine = [row for row in found if row["record"] == place]
        assert len(mine) == len([*values(record, samples=True)])
        assert {row["subject_mc"] for row in mine} == {str(record.subject.mc)}
        assert {row["latest"] for row in mine} == {str(record.created[:4] == "2030").lower()}
        assert {row["task"] for row in mine} == {record.body.timing.race}
    assert json.loads(found[0]["packages"]) == factory.fingerprint().packages


def test_pandas_reads_csv_and_json_lines_alike(results: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    for form in ("csv", "jsonl"):
        assert given(results, "--format", form, "--out", str(results / form)).exit_code == 0
    table = pandas.read_csv(results / "csv", low_memory=False)
    lines = pandas.read_json(results / "jsonl", lines=True, precise_float=True)
    assert [*table.columns] == [*lines.columns]
    assert table["value"].tolist() == pytest.approx(lines["value"].tolist())
    scores = lines[(lines.metric == "nll") & (lines.study == "run") & lines.latest]
    expected = [
        score
        for record in factory.grid(("FP32", "INT8"), (1, 10), (1,))
        for score in record.body.quality.scores["nll"]
    ]
    assert sorted(scores["value"]) == pytest.approx(sorted(expected))  # type: ignore[type-var]
    assert set(scores["T"]) == {1, 10}


def test_duckdb_reads_all_three_alike(results: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    asked = (
        'SELECT study, record, metric, part, place, "T", seed, value, low, high, unit, '
        "subject_format, latest, machine, verdict_valid FROM "
    )
    found = []
    for form, reader in (
        ("csv", "read_csv('{}', all_varchar = false, sample_size = -1)"),
        ("jsonl", "read_json('{}', sample_size = -1)"),
        ("parquet", "read_parquet('{}')"),
    ):
        path = results / f"all.{form}"
        done = given(results, "--format", form, "--samples", "--out", str(path))
        assert done.exit_code == 0, done.output
        with duckdb.connect() as connection:
            rows = connection.execute(asked + reader.format(path)).fetchall()
        found.append([tuple("" if cell is None else cell for cell in row) for row in rows])
    assert len(found[0]) > 1000
    assert found[1] == found[2]  # in the same order
    assert [row[:2] + row[7:8] for row in found[0]] == [row[:2] + row[7:8] for row in found[2]]


def test_parquet_keeps_types(results: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    path = results / "all.parquet"
    assert (
        given(results, "--study", "run", "--format", "parquet", "--out", str(path)).exit_code == 0
    )
    with duckdb.connect() as connection:
        told = connection.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
    types = {name: of for name, of, *_ in told}
    assert types["subject_mc"] == types["T"] == types["memory_bytes"] == "BIGINT"
    assert types["value"] == types["subject_seconds"] == types["cpu_quota"] == "DOUBLE"
    assert types["latest"] == types["verdict_valid"] == "BOOLEAN"
    assert types["subject_format"] == types["packages"] == "VARCHAR"


def test_without_duckdb_parquet_is_refused_in_a_sentence(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    done = given(results, "--format", "parquet", "--out", str(results / "all.parquet"))
    assert done.exit_code == 2
    assert done.stderr.endswith(
        "sigmabench: Parquet takes the package duckdb, which is not installed; `pip install "
        "'sigmabench[parquet]'` installs it, or give --format csv or jsonl.\n"
    )
    assert not (results / "all.parquet").exists()


def test_a_damaged_record_is_named_and_the_others_are_exported(results: Path) -> None:
    whole = rows(given(results).stdout)
    damaged = next(results.glob("synthetic/*/*.json"))
    damaged.write_text(damaged.read_text()[:-40])
    done = given(results)
    assert done.exit_code == 2
    assert str(damaged) in done.stderr
    left = [row for row in whole if row["record"] != str(damaged.relative_to(results))[:-5]]
    assert [row["value"] for row in rows(done.stdout)] == [row["value"] for row in left]
    assert 0 < len(left) < len(whole)


def test_a_record_whose_parts_do_not_fit_is_named(results: Path) -> None:
    store: Store[Any] = Store(results, SHIFT_RECORDS)
    record = shifted("BF16")
    store.save(changed(record, mc=(1,)))
    done = given(results, "--study", "shift")
    assert done.exit_code == 2
    assert f"{record.subject.key} cannot be exported, for its parts do not fit" in done.stderr
    assert {row["subject_format"] for row in rows(done.stdout)} == {"FP32", "INT8"}


def test_a_file_is_written_whole_or_not_at_all(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = results / "old.csv"
    path.write_text("as it was")
    before = set(results.iterdir())
    done = given(results, "--where", "format=INT4", "--out", str(path))
    assert done.exit_code == 2
    assert "No record matches" in done.stderr
    monkeypatch.setattr(
        "sigmabench.harness.report.exported.record_cells", lambda *_: 1 / 0
    )  # after the file has its head
    assert isinstance(given(results, "--out", str(path)).exception, ZeroDivisionError)
    assert path.read_text() == "as it was"
    assert set(results.iterdir()) == before
    monkeypatch.undo()
    assert "cannot be written" in given(results, "--out", str(results)).stderr


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--where", "format=INT8,mc=10"], [("run", "INT8", "10")]),
        (["--where", "format=INT8", "--study", "shift"], [("shift", "INT8", "4")]),
        (["--since", "2031-01-01", "--where", "format=FP32,mc=50"], []),
        (["synthetic", "--where", "mc=1", "--since", "2030"], None),
    ],
)
def test_selection_is_that_of_report(
    flags: list[str], expected: list[tuple[str, str, str]] | None, results: Path
) -> None:
    done = given(results, *flags)
    found = {(row["study"], row["subject_format"], row["subject_mc"]) for row in rows(done.stdout)}
    if expected is None:
        assert "'2030' is not a date or a time" in done.stderr
        assert done.exit_code == 2
        return
    assert found == set(expected)
    assert done.exit_code == (0 if expected else 2)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--where", "fromat=INT8"], "fromat"),
        (["--where", "format=INT8,choice=x"], "choice"),
        (["--where", "network=resnet50,method=mean,bits=1"], "bits"),
        (["--study", "runs"], "runs"),
        (["--format", "xlsx"], "xlsx"),
        (["--format", "parquet"], "name a file with --out"),
        (["other-workload"], "other-workload"),
        (["--machine", "ffff"], "none of these records names its whole machine"),
    ],
)
def test_what_is_not_known_is_said(flags: list[str], said: str, results: Path) -> None:
    done = given(results, *flags)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_one_of_two_machines(tmp_path: Path) -> None:
    store: Store[Any] = Store(tmp_path, RUN_RECORDS)
    machines = [factory.machine(), factory.machine(L2="1M")]
    for one in machines:
        store.save(factory.record(machine=factory.fingerprint(machine=one, computing="c0de")))
    found = rows(given(tmp_path, "--machine", machines[1].hash[:6]).stdout)
    assert {row["machine"] for row in found} == {machines[1].hash}
    assert {row["machine_caches"] for row in found} == {'{"L2": "1M"}'}
    both = given(tmp_path, "--machine", "")
    assert both.exit_code == 2


def test_text_is_neither_a_formula_nor_steers_a_terminal(tmp_path: Path) -> None:
    record = factory.record(workload="w", posterior=f"=1+1{HOSTILE}")
    Store(tmp_path, RUN_RECORDS).save(record)
    for form in ("csv", "jsonl"):
        shown = given(tmp_path, "--format", form).stdout
        assert not steering(shown)
        assert "=1+1" in shown
    (told, *_) = {row["subject_posterior"] for row in rows(given(tmp_path).stdout)}
    assert told.startswith("'=1+1")


def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    def fill(folder: Path, count: int) -> None:
        store: Store[RunRecord] = Store(folder, RUN_RECORDS)
        for place in range(count):
            store.save(factory.record(posterior=f"{place:016x}", slices=2, queries=4000))
        for _ in store.pack():
            pass

    def peak(folder: Path) -> int:
        tracemalloc.start()
        try:
            assert given(folder, "--out", str(folder / "all.csv")).exit_code == 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    fill(tmp_path / "few", 2)
    fill(tmp_path / "many", 8)
    peak(tmp_path / "few")  # what is imported and kept
    assert peak(tmp_path / "many") < 1.3 * peak(tmp_path / "few")


def test_exporting_loads_no_torch(results: Path) -> None:
    code = (
        "import sys; from sigmabench.harness.cli.main import main\n"
        "try: main(['export', '--results', sys.argv[1], '--out', sys.argv[1] + '/all.csv'])\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(results)], check=True)


def test_a_subject_may_have_whole_numbers_of_64_bits_alone(results: Path) -> None:
    record = factory.record(workload="w")
    cell: Cell = replace(record.subject, seed=2**63)
    Store(results, RUN_RECORDS).save(replace(record, subject=cell))
    done = given(results, "w")
    assert "takes more than 64 bits" in done.stderr
    assert done.exit_code == 2
