"""Whatever a record of any kind holds, it comes back equal: from a file and from a pack."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records.anything import UNCHECKED, records, same

from sigmabench.harness.records.pack import Pack, write_pack
from sigmabench.harness.records.record_file import (
    from_json,
    read_record,
    to_json,
    write_record,
)


@pytest.mark.parametrize("name", UNCHECKED)
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_from_its_text(name: str, data: st.DataObject) -> None:
    kind = UNCHECKED[name]
    record: Any = data.draw(records(kind))
    text = to_json(kind, record)
    again = from_json(text.encode(), "x", kind, lambda sha256: dict(record.arrays))
    assert same(again, record)
    assert to_json(kind, again) == text


@pytest.mark.parametrize("name", UNCHECKED)
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_from_a_folder_and_from_a_pack(name: str, data: st.DataObject) -> None:
    kind = UNCHECKED[name]
    unlike = st.lists(records(kind), max_size=3, unique_by=lambda one: one.subject.key)
    found: list[Any] = data.draw(unlike)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = [write_record(folder, kind, one) for one in found]
        again = [read_record(path, kind) for path in paths]
        assert all(map(same, again, found))
        write_pack(folder, kind, found)
        for path in paths:
            path.unlink()
        packed = list(Pack(folder, kind).each())
        assert all(map(same, packed, found))
        assert len(packed) == len(found)
