"""Packs: many records in one file, equal to those that it stands for; damage costs one record."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from records.anything import KINDS, same
from records.test_layouts import KEYS, LAYOUTS, read
from records_made import changed
from report import factory
from shift import shift_factory

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import memory_limit
from sigmabench.harness.records import pack as pack_module
from sigmabench.harness.records import store as store_module
from sigmabench.harness.records.array_file import arrays_in
from sigmabench.harness.records.envelope import Record
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.shift_record import SHIFT_RECORDS, ShiftRecord
from sigmabench.harness.records.store import Policy, Store, strangers

ALL = list[Record[Any, Any]]


def runs() -> list[RunRecord]:
    return factory.grid(("FP32", "INT8"), (1, 10), (1,))


def shifts(count: int = 4) -> list[ShiftRecord]:
    """Each with arrays of its own, but for the last two, which share theirs."""
    formats = ("FP32", "INT8", "INT8_SIGMA1", "INT8_SIGMA2")[:count]
    return [
        shift_factory.record(
            shift_factory.cell(format=name),
            {"confidence": np.full(5, min(i, 2) / 4), "correct": np.arange(5) % 2},
        )
        for i, name in enumerate(formats)
    ]


def stored(path: Path, records: Any, kind: Any) -> Store[Any]:
    store: Store[Any] = Store(path, kind)
    for record in records:
        store.save(record)
    return store


def packed(store: Store[Any]) -> list[str]:
    """Names of the files that are left in the one folder of records."""
    for _ in store.pack():
        pass
    (folder,) = {path.parent for path in store.path.rglob("*") if path.is_file()}
    return sorted(path.name for path in folder.iterdir())


def equal(found: ALL, expected: ALL) -> bool:
    """The same records, in any order."""
    keyed = [{one.subject.key: one for one in records} for records in (found, expected)]
    return keyed[0].keys() == keyed[1].keys() and all(
        same(keyed[0][key], keyed[1][key]) for key in keyed[0]
    )


@pytest.mark.parametrize(("made", "kind"), [(runs, RUN_RECORDS), (shifts, SHIFT_RECORDS)])
def test_records_are_read_from_a_pack_as_before(made: Any, kind: Any, tmp_path: Path) -> None:
    records = made()
    store = stored(tmp_path, records, kind)
    files = packed(store)
    assert files == [f"{kind.name}.jsonl"] + [f"{kind.name}.safetensors.gz"] * (made is shifts)
    for again in (store, Store(tmp_path, kind)):
        assert equal(again.records(), records)
        assert again.homes() == ["synthetic"]
        one = records[1]
        assert again.has(one.subject, one.fingerprint)
        assert same(again.find(one.subject, one.fingerprint), one)  # type: ignore[arg-type]
        subjects = [record.subject for record in records]
        assert again.missing(subjects, one.fingerprint, Policy.ONLY_MISSING) == []
        int8 = [record for record in records if record.subject.format == "INT8"]
        assert equal(again.records(format="INT8"), int8)


def test_a_pack_whose_arrays_are_not_compressed_is_read_and_packed_anew(tmp_path: Path) -> None:
    first, *others = shifts()
    store = stored(tmp_path, others, SHIFT_RECORDS)
    packed(store)
    (file,) = tmp_path.rglob("*.safetensors.gz")
    before = file.with_suffix("")
    before.write_bytes(gzip.decompress(file.read_bytes()))
    file.unlink()
    assert equal(Store(tmp_path, SHIFT_RECORDS).records(), others)
    store = Store(tmp_path, SHIFT_RECORDS)
    store.save(first)
    assert packed(store) == ["shift.jsonl", "shift.safetensors.gz"]
    assert not before.exists()
    assert equal(Store(tmp_path, SHIFT_RECORDS).records(), [first, *others])


def test_arrays_that_unpack_to_more_than_may_be_taken_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(stored(tmp_path, shifts(), SHIFT_RECORDS))
    (file,) = tmp_path.rglob("*.safetensors.gz")
    file.write_bytes(gzip.compress(bytes(64 << 20)))
    assert file.stat().st_size < 100_000
    monkeypatch.setenv(memory_limit.VARIABLE, str(32 << 20))
    (found, *_) = Store(tmp_path, SHIFT_RECORDS).records()
    with pytest.raises(UserError, match=r"safetensors\.gz needs about .* and 0\.0312 GiB may be"):
        dict(found.arrays)


def test_shared_arrays_lie_there_once(tmp_path: Path) -> None:
    store = stored(tmp_path, shifts(), SHIFT_RECORDS)
    packed(store)
    (file,) = tmp_path.rglob("*.safetensors.gz")
    names = arrays_in(file)
    assert len(names) == 3 * len(shifts()[0].arrays)


def test_a_file_of_arrays_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack of many records would else take the square of their number to read."""
    store = stored(tmp_path, shifts(), SHIFT_RECORDS)
    packed(store)
    opened: list[Path] = []
    made = pack_module.ArrayFile
    monkeypatch.setattr(pack_module, "ArrayFile", lambda path: opened.append(path) or made(path))
    found = Store(tmp_path, SHIFT_RECORDS).records()
    assert opened == []
    assert len({one.arrays["confidence"].tobytes() for one in found}) > 1
    assert len(opened) == 1


def test_the_place_of_a_record_is_where_it_lies(tmp_path: Path) -> None:
    (record, *_), store = shifts(), Store(tmp_path, SHIFT_RECORDS)
    assert store.place(record.subject, record.fingerprint) is None
    path = store.save(record)
    assert store.place(record.subject, record.fingerprint) == path.parent
    other = tmp_path / SHIFT_RECORDS.folders[1] / path.relative_to(tmp_path).relative_to("shift")
    other.parent.mkdir(parents=True)
    path.rename(other)
    for beside in path.parent.glob("*.safetensors"):
        beside.rename(other.parent / beside.name)
    packed_in = packed(store)
    assert packed_in == ["shift.jsonl", "shift.safetensors.gz"]
    assert Store(tmp_path, SHIFT_RECORDS).place(record.subject, record.fingerprint) == other.parent


def test_packing_again_changes_nothing(tmp_path: Path) -> None:
    store = stored(tmp_path, shifts(), SHIFT_RECORDS)
    packed(store)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert list(store.pack()) == []
    assert list(Store(tmp_path, SHIFT_RECORDS).pack()) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_record_beside_a_pack_counts_instead_of_the_one_in_it(tmp_path: Path) -> None:
    records = shifts()
    store = stored(tmp_path, records, SHIFT_RECORDS)
    packed(store)
    newer = shift_factory.record(records[0].subject, {"confidence": np.zeros(3)})
    newer = changed(newer, created="2026-01-01T00:00:00Z", command="again")
    store.save(newer)
    expected = [newer, *records[1:]]
    for again in (store, Store(tmp_path, SHIFT_RECORDS)):
        assert equal(again.records(), expected)
        assert len(again.records(latest=False)) == len(records)
        found = again.find(newer.subject, newer.fingerprint)
        assert found is not None
        assert same(found, newer)
    assert packed(store) == ["shift.jsonl", "shift.safetensors.gz"]
    assert equal(store.records(), expected)
    (file,) = tmp_path.rglob("*.safetensors.gz")
    starts = {name.split("/")[0] for name in arrays_in(file)}
    assert starts == {one.arrays.sha256[:16] for one in expected}, "what nobody names is gone"


@pytest.mark.parametrize("lost", [1, 2])
def test_a_pack_that_ends_early_shows_the_rest_and_says_so(tmp_path: Path, lost: int) -> None:
    records = shifts()
    packed(stored(tmp_path, records, SHIFT_RECORDS))
    (path,) = tmp_path.rglob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-lost]))
    store, told = Store(tmp_path, SHIFT_RECORDS), []
    there = store.records(problem=told.append)
    assert len(there) == len(records) - lost
    assert [str(one) for one in told] == [
        f"{path} ends early: it holds {len(there)} of its {len(records)} records; restore it, or "
        "delete it and run again."
    ]
    with pytest.raises(UserError, match="ends early"):
        store.records()
    (gone, *_) = [one for one in records if one.subject not in {r.subject for r in there}]
    with pytest.raises(UserError, match="ends early"):
        store.find(gone.subject, gone.fingerprint)
    assert store.find(there[0].subject, there[0].fingerprint) is not None
    before = path.read_bytes()
    store.save(gone)
    assert len(store.records(problem=told.append)) == len(there) + 1
    with pytest.raises(UserError, match="ends early"):
        list(store.pack())
    assert path.read_bytes() == before, "what is left is not made the whole"


def test_a_line_that_is_cut_through_costs_one_record(tmp_path: Path) -> None:
    records = shifts()
    packed(stored(tmp_path, records, SHIFT_RECORDS))
    (path,) = tmp_path.rglob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    told: list[UserError] = []
    assert len(Store(tmp_path, SHIFT_RECORDS).records(problem=told.append)) == len(records) - 1
    (reason,) = map(str, told)
    assert str(path) in reason
    assert "restore" in reason


@pytest.mark.parametrize("line", [1, 2, 4])
@pytest.mark.parametrize(
    "damage",
    [
        lambda one: one.replace(b"sigmabench shift", b"sigmabench shoft"),
        lambda one: b"nonsense\n",
        lambda one: b"\n",
        lambda one: one.replace(b'"fingerprint":0', b'"fingerprint":7'),
    ],
    ids=("changed", "nonsense", "empty", "fingerprint"),
)
def test_a_damaged_line_costs_one_record(tmp_path: Path, line: int, damage: Any) -> None:
    records = shifts()
    packed(stored(tmp_path, records, SHIFT_RECORDS))
    (path,) = tmp_path.rglob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    assert damage(lines[line]) != lines[line]
    lines[line] = damage(lines[line])
    path.write_bytes(b"".join(lines))
    told: list[UserError] = []
    store = Store(tmp_path, SHIFT_RECORDS)
    assert len(store.records(problem=told.append)) == len(records) - 1
    (reason,) = map(str, told)
    assert f"{path}, record " in reason
    assert "\n" not in reason
    with pytest.raises(UserError, match="restore"):
        store.records()


def test_lines_in_another_order_are_not_believed(tmp_path: Path) -> None:
    packed(stored(tmp_path, shifts(2), SHIFT_RECORDS))
    (path,) = tmp_path.rglob("*.jsonl")
    head, one, other = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + other + one)
    told: list[UserError] = []
    assert Store(tmp_path, SHIFT_RECORDS).records(problem=told.append) == []
    assert all("holds the record" in str(reason) for reason in told)
    assert len(told) == 2


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"", "is not a pack of records, or its first line is damaged"),
        (b"nonsense\n", "is not a pack of records, or its first line is damaged"),
        (b'{"keys": [], "schema_version": 99}\n', "was made by a newer SigmaBench"),
        (b'{"keys": [], "fingerprints": [], "schema_version": 4}\n', "has lost its sha256"),
    ],
)
def test_a_damaged_head_costs_the_pack_alone(tmp_path: Path, head: bytes, says: str) -> None:
    records = shifts()
    store = stored(tmp_path, records[:3], SHIFT_RECORDS)
    packed(store)
    (path,) = tmp_path.rglob("*.jsonl")
    path.write_bytes(head + b"".join(path.read_bytes().splitlines(keepends=True)[1:]) * bool(head))
    store = Store(tmp_path, SHIFT_RECORDS)
    told: list[UserError] = []
    path.parent.joinpath("x").write_text("")  # what is no record is not looked at
    stored(tmp_path / "other", records[3:], SHIFT_RECORDS)
    for file in (tmp_path / "other").rglob("*"):
        if file.is_file():
            file.rename(path.parent / file.name)
    assert equal(list(store.records(problem=told.append)), [*records[3:]])
    (reason,) = map(str, told)
    assert says in reason
    assert str(path) in reason


def test_damaged_arrays_of_a_pack_are_named_when_they_are_asked_for(tmp_path: Path) -> None:
    packed(stored(tmp_path, shifts(), SHIFT_RECORDS))
    (file,) = tmp_path.rglob("*.safetensors.gz")
    file.write_bytes(file.read_bytes()[:-4])
    found = Store(tmp_path, SHIFT_RECORDS).records()
    assert len(found) == len(shifts())
    with pytest.raises(UserError, match="damaged"):
        found[0].array("confidence")
    file.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        Store(tmp_path, SHIFT_RECORDS).records()[0].array("confidence")


def steps(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Every file that packing writes or removes is a step; it is killed before the step `last`."""
    left = iter(range(last))

    def counted(original: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return original(*given, **named)

        return call

    for module, name in ((pack_module, "save_arrays"), (pack_module, "write_atomically")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


@pytest.mark.parametrize("again", [False, True], ids=("first", "again"))
@pytest.mark.parametrize("last", range(9))
def test_a_kill_at_any_step_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int, again: bool
) -> None:
    """Also of a pack that is made anew with records that were measured again beside it."""
    records = shifts()
    store = stored(tmp_path, records, SHIFT_RECORDS)
    if again:
        packed(store)
        newer = {"confidence": np.zeros(3)}
        records = [*(shift_factory.record(r.subject, newer) for r in records[:2]), *records[2:]]
        stored(tmp_path, records[:2], SHIFT_RECORDS)
    with monkeypatch.context() as patched:
        steps(patched, last)
        try:
            packed(Store(tmp_path, SHIFT_RECORDS))
        except KeyboardInterrupt:
            pass
        else:
            assert last >= (5 if again else 9)
    assert equal(list(Store(tmp_path, SHIFT_RECORDS).records()), list(records))
    left = packed(Store(tmp_path, SHIFT_RECORDS))
    arrays = {f"{one.arrays.sha256[:16]}.safetensors" for one in [*shifts(), *records]}
    assert set(left) - arrays == {"shift.jsonl", "shift.safetensors.gz"}, (
        "but arrays without a record"
    )
    assert equal(list(Store(tmp_path, SHIFT_RECORDS).records()), list(records))


def test_kinds_that_share_a_folder_have_packs_of_their_own(tmp_path: Path) -> None:
    """As a race and the memory of a network, here with records of the layout of before."""
    folder = tmp_path / "runtime" / "lenet5" / "7a81e6e5"
    folder.mkdir(parents=True)
    names = [name for name in KEYS if name in ("passes-2", "memory-2")]
    for name in names:
        (folder / f"{KEYS[name]}.json").write_bytes((LAYOUTS / f"{name}.json").read_bytes())
    for count, name in enumerate(names, 1):
        store: Store[Any] = Store(tmp_path, KINDS[name[:-2]])
        assert [one.subject.key for one in store.records()] == [KEYS[name]]
        assert len(list(store.pack())) == 1
        assert len(list(folder.glob("*.jsonl"))) == count
        assert len(list(folder.glob("*.json"))) == len(names) - count
    for name in names:
        (found,) = Store(tmp_path, KINDS[name[:-2]]).records()
        assert same(found, read(name))


def test_a_kind_that_nobody_knows_is_told_of(tmp_path: Path) -> None:
    (path,) = (stored(tmp_path, runs()[:1], RUN_RECORDS).path).rglob("*.json")
    known = set(KINDS)
    assert list(strangers(tmp_path, known)) == []
    other = path.read_bytes().replace(b'"kind": "run"', b'"kind": "walk"')
    path.with_name("0123456789abcdef.json").write_bytes(other)
    (reason,) = map(str, strangers(tmp_path, known))
    assert reason.startswith(f"{path.parent} holds records of kind 'walk', which this SigmaBench")
    assert reason.endswith("install the package that they come from, or upgrade.")
    assert len(Store(tmp_path, RUN_RECORDS).records()) == 1, "the others are read"
    path.with_name("swim.jsonl").write_bytes(b"{}")
    assert len(list(strangers(tmp_path, known))) == 2


def test_the_command_packs_all_kinds_and_says_so(tmp_path: Path) -> None:
    stored(tmp_path, runs(), RUN_RECORDS)
    stored(tmp_path, shifts(), SHIFT_RECORDS)
    before = CliRunner().invoke(main, ["report", "--results", str(tmp_path), "--format", "csv"])
    done = CliRunner().invoke(main, ["pack", "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "run.jsonl", "shift.jsonl", "shift.safetensors.gz",
    }  # fmt: skip
    lines = " ".join(done.output.split())
    assert "run.jsonl for 4 files" in lines
    assert "for 7 files" in lines, "records and arrays, of which two share some"
    after = CliRunner().invoke(main, ["report", "--results", str(tmp_path), "--format", "csv"])
    assert (after.exit_code, after.output) == (0, before.output)


def test_what_is_measured_again_while_it_is_packed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = runs()
    store, write = stored(tmp_path, records, RUN_RECORDS), store_module.write_pack
    newer = changed(records[0], created="2031-01-01T00:00:00+00:00")

    def meanwhile(*arguments: Any) -> list[Path]:
        written = write(*arguments)
        store.save(newer)
        return written

    monkeypatch.setattr(store_module, "write_pack", meanwhile)
    assert packed(store) == [f"{newer.subject.key}.json", "run.jsonl"]
    assert equal(store.records(), [newer, *records[1:]])
