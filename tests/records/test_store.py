"""The store: records come back equal, and what is not a record is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records_made import changed

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.fingerprint import Fingerprint
from sigmabench.harness.quantize.size import Size
from sigmabench.harness.records import store as store_module
from sigmabench.harness.records.envelope import Provenance
from sigmabench.harness.records.kind import SCHEMA_VERSION
from sigmabench.harness.records.record_file import HASH, NO_HASH, from_json, sealed, to_json
from sigmabench.harness.records.run_record import (
    RUN_RECORDS,
    Bandwidth,
    Fidelity,
    Paired,
    Quality,
    RunBody,
    RunRecord,
    Timing,
)
from sigmabench.harness.records.store import Policy, Store, fingerprint_hash
from sigmabench.harness.records.verdict import verdict
from sigmabench.harness.workload.cell import Cell

COMPARED = ("accuracy_percent", "nll_nats")


@pytest.fixture(scope="module")
def record() -> RunRecord:
    """One plain record, the same every time."""
    cell = Cell(
        "lenet", "1", "ab" * 8, "INT8", "headroom", "channel", "float", "minmax", "mean", "test",
        "none", 0, 0, 50, 1, "closed-loop", "native", "auto", 1, 1, "stream-v1", 0, 3,
    )  # fmt: skip
    fingerprint = Fingerprint(
        "cpu", ("avx2",), 2, 1, 2**34, None, "Linux", "3.12", {}, "c0de", None, {}
    )
    quality = Quality(10, (0,), {"nll": (0.1,)}, (0.5,), {}, {}, {})
    timing = Timing((10, 12), (2,), 3, 1, (), {"p50": None}, (10.0, 12.0), 1e8, 0.0)
    bandwidth = Bandwidth(1, 1, 1, 1, 4, 0.1, 10.0, 0.01, None, None)
    size = Size(10, 5, 1, 1, 1, 2, 5, 4.0, None)
    fidelity = Fidelity("conv1", 5, 1.0, 0.0, 0.0, 0.0, 0.1, 0.3, -0.2, 100000, None)
    made = Provenance(fingerprint, "sigmabench run", "2026-01-01T00:00:00Z")
    body = RunBody("avx2", {}, quality, timing, bandwidth, size, 1000, (fidelity,))
    return RunRecord(cell, made, verdict({"moments": "pass"}), body)


RAGGED: dict[str, tuple[dict[str, Any], str]] = {
    "paired empty": (
        {"paired": Paired("FP32", (1, 1), {}, {})},
        "paired.differences has no accuracy_percent and no nll_nats",
    ),
    "an interval lacks": (
        {"paired": Paired("FP32", (1, 1), dict.fromkeys(COMPARED, 0.0), {"nll_nats": None})},
        "paired.intervals has no accuracy_percent",
    ),
    "reliability ragged": (
        {"reliability": {"count": (1.0, 2.0), "confidence": (0.5,), "accuracy": (0.5, 0.5)}},
        "quality.reliability has values of different number (2 of count, 1 of confidence, 2 of",
    ),
    "reliability lacks": (
        {"reliability": {"count": (1.0,), "accuracy": (0.5,)}},
        "quality.reliability has no confidence",
    ),
    "thresholds ragged": (
        {"accuracy_vs_confidence": {"threshold": (0.1,), "accuracy": (), "share": (1.0,)}},
        "quality.accuracy_vs_confidence has values of different number",
    ),
    "a seed lacks": ({"scores": {"nll": ()}}, "quality.scores.nll has 0 values, and there are 1"),
}


@pytest.mark.parametrize("kind", RAGGED)
def test_parts_that_do_not_fit_are_named(kind: str, record: RunRecord) -> None:
    change, says = RAGGED[kind]
    if "paired" in change:
        odd = changed(record, **change)
    else:
        odd = changed(record, quality=replace(record.body.quality, **change))
    with pytest.raises(UserError, match=rf"^x is not a valid record: {re.escape(says)}.*again\.$"):
        from_json(to_json(RUN_RECORDS, odd).encode(), "x", RUN_RECORDS)


def test_saved_record_is_loaded_and_found(tmp_path: Path, record: RunRecord) -> None:
    store = Store(tmp_path / "results", RUN_RECORDS)
    assert not store.has(record.subject, record.fingerprint)
    assert store.find(record.subject, record.fingerprint) is None
    path = store.save(record)
    hashed = fingerprint_hash(record.fingerprint)
    assert path == tmp_path / "results" / "lenet" / hashed / f"{record.subject.key}.json"
    assert store.load(path) == record
    assert store.find(record.subject, record.fingerprint) == record
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no temporary file is left"


def test_raw_samples_lie_on_one_line(record: RunRecord) -> None:
    text = to_json(RUN_RECORDS, record)
    assert '"latency_ns": [10,12],\n' in text
    assert '\n  "format": "INT8",\n' in text


def test_what_is_made_of_records_may_lie_beside_them(tmp_path: Path, record: RunRecord) -> None:
    store = Store(tmp_path, RUN_RECORDS)
    store.save(record)
    beside = tmp_path / "report" / record.subject.workload / "ablation.json"
    beside.parent.mkdir(parents=True)
    beside.write_text("{}")
    assert store.homes() == [record.subject.workload]
    assert store.records() == [record]


def test_machines_and_commits_do_not_overwrite_each_other(
    tmp_path: Path, record: RunRecord
) -> None:
    store = Store(tmp_path, RUN_RECORDS)
    other = changed(record, fingerprint=replace(record.fingerprint, commit="c0ffee"))
    third = changed(record, fingerprint=replace(record.fingerprint, cpu="another"))
    assert len({store.save(r) for r in (record, other, third)}) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_numbers_are_not_written(
    tmp_path: Path, record: RunRecord, value: float
) -> None:
    bad = changed(record, timing=replace(record.body.timing, noise=value))
    with pytest.raises(ValueError, match="JSON compliant"):
        Store(tmp_path, RUN_RECORDS).save(bad)
    assert list(tmp_path.rglob("*")) == []


def test_failed_write_leaves_the_old_record(
    tmp_path: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, RUN_RECORDS)
    path = store.save(record)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        store.save(changed(record, command="another"))
    assert store.load(path) == record
    assert os.listdir(path.parent) == [path.name]


def test_query_filters_by_any_field_and_keeps_the_latest(tmp_path: Path, record: RunRecord) -> None:
    store = Store(tmp_path, RUN_RECORDS)
    later = changed(
        record,
        created="2026-02-01T00:00:00Z",
        fingerprint=replace(record.fingerprint, commit="c0ffee"),
    )
    batch32 = changed(
        record, subject=replace(record.subject, batch=32), created="2026-01-02T00:00:00Z"
    )
    other = changed(record, subject=replace(record.subject, workload="resnet"))
    for each in (record, later, batch32, other):
        store.save(each)
    assert store.records("lenet") == [batch32, later]
    assert store.records("lenet", latest=False) == [record, batch32, later]
    assert store.records(batch=32) == [batch32]
    assert store.records(workload="lenet", batch=(1, 2)) == [later]
    assert store.records(format="FP32") == []
    assert store.records("lenet", batch=1, fingerprint=record.fingerprint) == [record]
    assert len(store.records()) == 3
    with pytest.raises(UserError, match="did you mean batch"):
        store.records(bach=1)


def test_empty_or_absent_directory_has_no_records(tmp_path: Path) -> None:
    assert Store(tmp_path / "absent", RUN_RECORDS).records() == []
    assert not (tmp_path / "absent").exists()


def test_policies(tmp_path: Path, record: RunRecord) -> None:
    store = Store(tmp_path, RUN_RECORDS)
    store.save(record)
    cells = [replace(record.subject, batch=32), record.subject]
    assert store.missing(cells, record.fingerprint, Policy.ONLY_MISSING) == cells[:1]
    assert store.missing(cells, record.fingerprint, Policy("always")) == cells
    assert store.missing(cells, record.fingerprint, Policy("never")) == []


def edited(record: RunRecord, path: str, value: Any) -> bytes:
    """A record's JSON with one field replaced; `...` removes it. The hash is as it was."""
    tree = json.loads(to_json(RUN_RECORDS, record))
    *parts, name = path.split(".")
    place = tree
    for part in parts:
        place = place[part]
    place[name] = value
    if value is ...:
        del place[name]
    return json.dumps(tree).encode()


def resealed(data: bytes) -> bytes:
    """JSON with the hash that it should have."""
    return sealed(json.dumps({**json.loads(data), HASH: NO_HASH})).encode()


def test_newer_schema_is_refused_with_the_way_out(tmp_path: Path, record: RunRecord) -> None:
    path = tmp_path / "lenet" / "00000000" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(edited(record, "schema_version", SCHEMA_VERSION + 1))
    with pytest.raises(UserError) as error:
        Store(tmp_path, RUN_RECORDS).records()
    message = str(error.value)
    assert (
        f"(schema {SCHEMA_VERSION + 1}, this one reads up to {SCHEMA_VERSION}): upgrade" in message
    )
    assert str(path) in message


def test_what_is_not_a_record_is_refused_by_name(tmp_path: Path, record: RunRecord) -> None:
    good = to_json(RUN_RECORDS, record).encode()
    cases = {
        b"": "cut short",
        good[: len(good) // 2]: "cut short",
        b"\xff\xfe\x00": "cut short",
        b"[" * 100_000: "cut short",
        b"[1, 2]": "schema_version",
        b"{}": "schema_version",
        edited(record, "schema_version", "1"): "schema_version",
        edited(record, "schema_version", True): "schema_version",
        edited(record, "provenance.command", ...): "provenance.command",
        edited(record, "subject", ...): "subject",
        edited(record, "verdict", None): "verdict",
        edited(record, "kind", "walk"): "is a record of kind 'walk', not a record",
        edited(record, "kind", 1): "is a record of kind '1', not a record",
        resealed(edited(record, "arrays", "lots")): "arrays: it is not a hash",
        edited(record, "body.peak_memory_bytes", "12"): "body.peak_memory_bytes",
        edited(record, "body.quality", {}): "body.quality.images",
        good.replace(b'"noise": 0.0', b'"noise": NaN'): "NaN",
        good.replace(b'"noise": 0.0', b'"noise": 1e999'): "the number 1e999",
        good.replace(b'"noise": 0.0', b'"noise": -1e999'): "the number -1e999",
        good.replace(b'"noise": 0.0', b'"noise": 1e300'): "the number 1e300",
        edited(record, "body.peak_memory_bytes", 10**400): "the number 1000",
        good.replace(b'"noise": 0.0', b'"noise": 0.0, "noise": 0.0'): "'noise' twice",
        good.replace(b'"noise": 0.0', b'"noise": 0.5'): "does not match its sha256",
        edited(record, "sha256", "0" * 64): "does not match its sha256",
        edited(record, "sha256", 12): "has lost its sha256",
        edited(record, "provenance.created", "2026-01-02"): "does not match its sha256",
        edited(record, "arrays", "0" * 64): "does not match its sha256",
    }
    assert good not in cases, "every replacement has to hit"
    for data, word in cases.items():
        with pytest.raises(UserError, match=r"lost\.json") as error:
            from_json(data, "lost.json", RUN_RECORDS)
        assert word in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="No such file"):
        Store(tmp_path, RUN_RECORDS).load(tmp_path / "absent.json")


def test_the_hash_is_of_the_text_with_zeros_in_its_place(record: RunRecord) -> None:
    text = to_json(RUN_RECORDS, record)
    told = json.loads(text)["sha256"]
    assert text.count(told) == 1
    assert text.rstrip().endswith(f'"sha256": "{told}"\n}}')
    assert told == hashlib.sha256(text.replace(told, "0" * 64).encode()).hexdigest()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_no_changed_byte_is_believed(record: RunRecord, where: float, change: int) -> None:
    good = to_json(RUN_RECORDS, record).encode()
    at = int(where * len(good))
    with pytest.raises(UserError, match=r"^x "):
        from_json(good[:at] + bytes([good[at] ^ change]) + good[at + 1 :], "x", RUN_RECORDS)


def test_a_record_that_should_have_a_hash_is_not_believed_without(record: RunRecord) -> None:
    """Those of older versions are: see the layouts of before."""
    with pytest.raises(UserError, match="has lost its sha256"):
        from_json(edited(record, "sha256", ...), "x", RUN_RECORDS)


def test_a_record_under_another_cells_name_is_refused(tmp_path: Path, record: RunRecord) -> None:
    store = Store(tmp_path, RUN_RECORDS)
    path = store.save(record)
    copy = path.with_name(f"{replace(record.subject, batch=9).key}.json")
    copy.write_bytes(path.read_bytes())
    for read in (store.records, lambda: store.load(copy)):
        with pytest.raises(
            UserError, match=rf"{copy.name} holds the record whose place is .*"
        ) as e:
            read()
        assert path.name in str(e.value)
        assert "\n" not in str(e.value)


def test_unwritable_directories_are_found_before_measuring(tmp_path: Path) -> None:
    Store(tmp_path / "new" / "deep", RUN_RECORDS).ensure_writable()
    assert list((tmp_path / "new" / "deep").iterdir()) == []
    blocker = tmp_path / "file"
    blocker.write_text("")
    for path in (blocker, blocker / "results", Path("/proc/self/results")):
        with pytest.raises(UserError, match="--results"):
            Store(path, RUN_RECORDS).ensure_writable()


def test_read_only_directory(
    tmp_path: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:  # root may write anywhere, so permissions prove nothing
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(UserError, match="Permission denied; name another directory"):
        Store(tmp_path, RUN_RECORDS).ensure_writable()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        Store(tmp_path, RUN_RECORDS).save(record)


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden"])
def test_workload_names_stay_inside(tmp_path: Path, record: RunRecord, name: str) -> None:
    with pytest.raises(UserError, match="workload name"):
        Store(tmp_path, RUN_RECORDS).save(
            changed(record, subject=replace(record.subject, workload=name))
        )


def test_import_is_light() -> None:
    code = (
        "import sys, sigmabench.harness.records.store\n"
        "sys.exit(bool({'torch', 'safetensors', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_how_a_cell_stops_is_part_of_its_key_only_where_it_is_not_fixed(record: RunRecord) -> None:
    known = asdict(record.subject)
    for later in (
        "stopping",
        "team",
        "sigma_grid",
        "rounding",
        "shifted",
        "data",
        "network",
        "seconds",
        "processes",
        "method",
        "temperature",
        "members",
    ):
        del known[later]
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    assert record.subject.key == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert replace(record.subject, method="mean").key == record.subject.key, "others imply it"
    adaptive = [replace(record.subject, stopping=f"auto {c}") for c in (0.9, 0.99)]
    assert len({record.subject.key, *(cell.key for cell in adaptive)}) == 3
    assert [cell.confidence for cell in (record.subject, *adaptive)] == [None, 0.9, 0.99]
