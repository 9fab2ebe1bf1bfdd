"""Every record that is published is read, and lies under its name."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from records.anything import KINDS

from sigmabench.harness.records.record_file import kind_of
from sigmabench.harness.records.store import Store, fingerprint_hash, strangers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def published() -> dict[str, list[Path]]:
    """Files of records by kind; those of packs are counted by their records, below."""
    listed = ["git", "ls-files", "-z", "results"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = defaultdict(list)
    for name in names.split("\0"):
        if name.endswith(".json") and (kind := kind_of((ROOT / name).read_bytes())) in KINDS:
            found[str(kind)].append(ROOT / name)
    return found


def place(path: Path, folders: tuple[str, ...]) -> Path:
    """The results directory that a record lies in."""
    home = path.parents[2]
    return home.parent if home.name in folders else home


@pytest.mark.parametrize("name", KINDS)
def test_every_one_is_read_and_there_are_no_others(
    name: str, published: dict[str, list[Path]]
) -> None:
    kind = KINDS[name]
    files = Counter(place(path, kind.folders) for path in published[name])
    assert files or kind.before is None
    for results, count in files.items():
        store: Store[Any] = Store(results, kind)
        records = store.records(latest=False)
        assert len(records) == count, results
        for record in records:
            path = store.file(record.subject, record.fingerprint)
            where = path.parent.name, path.name
            assert where[0] == fingerprint_hash(record.fingerprint)
            assert where in {(p.parent.name, p.name) for p in published[name]}


def test_as_many_as_ever(published: dict[str, list[Path]]) -> None:
    """None is lost in a change of layout."""
    found = {name: len(paths) for name, paths in published.items()}
    least = {"run": 253, "shift": 988, "passes": 7, "memory": 2, "sampler": 1, "peers": 3}
    assert all(found[name] >= count for name, count in least.items()), found


def test_no_kind_among_them_is_unknown() -> None:
    assert list(strangers(ROOT / "results", set(KINDS))) == []
