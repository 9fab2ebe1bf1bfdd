"""Arrays beside records: there before them, once for several, and believed only as written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from records.anything import same
from records_made import changed
from shift import shift_factory

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records import array_file as array_file_module
from sigmabench.harness.records import record_file
from sigmabench.harness.records.array_file import array_file
from sigmabench.harness.records.envelope import Arrays
from sigmabench.harness.records.shift_record import SHIFT_RECORDS, ShiftRecord
from sigmabench.harness.records.store import Store

ARRAYS = {"confidence": np.linspace(0, 1, 7), "correct": np.arange(7) % 2}


@pytest.fixture
def record() -> ShiftRecord:
    return shift_factory.record(shift_factory.cell(format="INT8"), ARRAYS)


@pytest.fixture
def store(tmp_path: Path) -> Store[ShiftRecord]:
    return Store(tmp_path, SHIFT_RECORDS)


def beside(path: Path, record: ShiftRecord) -> Path:
    return array_file(path.parent, record.arrays.sha256)


def test_they_come_back_as_they_were(store: Store[ShiftRecord], record: ShiftRecord) -> None:
    path = store.save(record)
    assert {one.name for one in path.parent.iterdir()} == {
        path.name, f"{record.arrays.sha256[:16]}.safetensors",
    }  # fmt: skip
    assert same(store.load(path), record)
    assert store.load(path).arrays["confidence"].dtype == np.float32


def test_a_record_without_arrays_has_no_file_beside_it(
    store: Store[ShiftRecord], record: ShiftRecord
) -> None:
    path = store.save(changed(record, arrays=Arrays.of({})))
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert dict(store.load(path).arrays) == {}


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda _: b"{}" * 99])
def test_damaged_ones_are_named_when_they_are_asked_for(
    store: Store[ShiftRecord], record: ShiftRecord, damage: object
) -> None:
    path = store.save(record)
    file = beside(path, record)
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    (found,) = store.records()
    assert found == record, "what its text says is there"
    with pytest.raises(UserError, match=r"^The arrays .* are damaged .*run again\.$") as error:
        found.array("confidence")
    assert str(file) in str(error.value)


def test_missing_ones_are_named(store: Store[ShiftRecord], record: ShiftRecord) -> None:
    path = store.save(record)
    beside(path, record).unlink()
    with pytest.raises(UserError, match=r"^The arrays .* cannot be read \(No such file") as error:
        store.load(path).array("confidence")
    assert str(beside(path, record)) in str(error.value)


def test_a_pipe_in_their_place_is_not_waited_for(
    store: Store[ShiftRecord], record: ShiftRecord
) -> None:
    path = store.save(record)
    beside(path, record).unlink()
    os.mkfifo(beside(path, record))
    with pytest.raises(UserError, match="it is not a regular file"):
        store.load(path).array("confidence")


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": np.zeros(7, np.float32)},
        {"confidence": np.linspace(0, 1, 7)},
        {"correct": np.arange(7).astype(np.int32) % 2},
        {"more": np.zeros(1)},
    ],
    ids=("a number", "a type", "another type", "one more"),
)
def test_changed_ones_are_not_believed(
    store: Store[ShiftRecord], record: ShiftRecord, change: dict[str, np.ndarray]
) -> None:
    path = store.save(record)
    safetensors.numpy.save_file({**record.arrays, **change}, beside(path, record))
    with pytest.raises(UserError, match=r"were changed after they were written; restore the file"):
        store.load(path).array("confidence")
    store.save(record)
    assert same(store.load(path), record), "saved again, they are whole again"


def test_a_shape_counts_too() -> None:
    flat = np.arange(6.0)
    digests = {Arrays.of({"a": one}).sha256 for one in (flat, flat.reshape(2, 3), flat[:, None])}
    assert len(digests) == 3


def test_the_order_of_bytes_and_of_names_does_not_count() -> None:
    one = Arrays.of({"a": np.arange(3.0), "b": np.ones(2)})
    other = Arrays.of({"b": np.ones(2), "a": np.arange(3.0).astype(">f8")})
    assert one == other
    assert one != Arrays.of({"a": np.ones(2), "b": np.arange(3.0)})


def test_two_records_share_a_file(store: Store[ShiftRecord], record: ShiftRecord) -> None:
    other = changed(record, subject=shift_factory.cell(format="INT8_SIGMA1"))
    path, second = store.save(record), store.save(other)
    assert beside(path, record) == beside(second, other)
    assert len(list(path.parent.glob("*.safetensors"))) == 1
    before = beside(path, record).stat().st_mtime_ns
    store.save(other)
    assert beside(path, record).stat().st_mtime_ns == before, "it is not written again"
    assert same(store.load(path), record)
    assert same(store.load(second), other)


def test_a_record_is_never_there_without_them(
    store: Store[ShiftRecord], record: ShiftRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed between the two leaves arrays without a record, and no record."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(record_file, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            store.save(record)
    assert store.records() == []
    folder = store.folder(record.subject.home, record.fingerprint)
    assert [one.suffix for one in folder.iterdir()] == [".safetensors"]
    assert same(store.load(store.save(record)), record)
    with monkeypatch.context() as patched:
        patched.setattr(array_file_module, "put_atomically", killed)
        other = changed(record, arrays=Arrays.of({"confidence": np.ones(7, np.float32)}))
        with pytest.raises(KeyboardInterrupt):
            store.save(other)
    assert all(map(same, store.records(), [record])), "the old one, whole"


def test_arrays_are_read_once_and_only_when_asked_for(
    store: Store[ShiftRecord], record: ShiftRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.save(record)
    asked: list[Path] = []
    read = array_file_module.arrays_in
    monkeypatch.setattr(array_file_module, "arrays_in", lambda one: asked.append(one) or read(one))
    found = store.load(path)
    assert asked == []
    assert [len(found.arrays[name]) for name in ("confidence", "correct")] == [7, 7]
    assert asked == [beside(path, record)]
