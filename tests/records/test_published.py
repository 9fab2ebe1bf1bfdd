"""Every record that is published is read, and lies under its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from records.anything import KINDS

from sigmabench.harness.records.envelope import digest_of
from sigmabench.harness.records.store import Store, fingerprint_hash, strangers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stored() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield import_module("results.published")


@pytest.fixture(scope="module")
def published(stored: ModuleType) -> list[Any]:
    """All, read once."""
    return list(stored.published())


def test_every_one_is_read_and_lies_where_it_belongs(published: list[Any]) -> None:
    assert len({one.path for one in published}) == len(published)
    for one in published:
        assert one.path.parent.name == fingerprint_hash(one.record.fingerprint)
        assert one.path.parent.parent.name == one.record.subject.home
        assert not one.record.arrays or digest_of(one.record.arrays) == one.record.arrays.sha256


def test_no_file_that_holds_records_is_passed_over(
    stored: ModuleType, published: list[Any]
) -> None:
    folders = {(stored.RESULTS / one.path).parent for one in published}
    packs = {path.parent for path in stored.RESULTS.rglob("*.jsonl")}
    arrays = {path.parent for path in stored.RESULTS.rglob("*.safetensors*")}
    assert packs | arrays <= folders


def test_as_many_as_ever(published: list[Any]) -> None:
    """None is lost in a change of layout."""
    found = Counter(one.kind for one in published)
    least = {"run": 253, "shift": 988, "passes": 7, "memory": 2, "sampler": 1, "peers": 3}
    least |= {"ablation": 18, "weights": 20}
    assert all(found[name] >= count for name, count in least.items()), found


@pytest.mark.parametrize("name", KINDS)
def test_a_directory_of_its_own_is_found(
    name: str, stored: ModuleType, published: list[Any], tmp_path: Path
) -> None:
    (first, *_) = [one for one in published if one.kind == name] or [None]
    if first is None:
        pytest.skip("no such record is published")
    below: Store[Any] = Store(tmp_path / "of-its-own", KINDS[name])
    below.save(first.record)
    (again,) = stored.published(tmp_path)
    assert again.record == first.record
    assert stored.stores(tmp_path) == [tmp_path, below.path]
    list(below.pack())
    (packed,) = stored.published(tmp_path)
    assert (packed.path, packed.record) == (again.path, first.record)


def test_no_kind_among_them_is_unknown(stored: ModuleType) -> None:
    for directory in stored.stores():
        assert list(strangers(directory, set(KINDS))) == []
