"""The schema documents itself: docs/record.md is what the classes say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from sigmabench.harness.records import run_record as record
from sigmabench.harness.workload import cell

PAGE = Path(__file__).parents[1] / "docs" / "record.md"
SCHEMA = [
    item
    for module in (cell, record)
    for item in vars(module).values()
    if isinstance(item, type) and is_dataclass(item)
]


def test_the_page_is_current() -> None:
    command = [sys.executable, "-m", "sigmabench.harness.records.run_record"]
    ran = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == ran.stdout == record.to_markdown()


@pytest.mark.parametrize("schema", SCHEMA)
def test_every_field_is_documented_and_nothing_else(schema: type) -> None:
    summary, documented = record._documentation(schema)
    assert summary
    assert list(documented) == [item.name for item in fields(schema)] or schema is record.Record
    assert set(documented) == {item.name for item in fields(schema)}
    assert all(text.endswith(".") for text in documented.values())
    assert f"\n## {schema.__name__}\n" in PAGE.read_text(encoding="utf-8")


def test_wrapped_entries_are_read_whole() -> None:
    _, documented = record._documentation(record.Bandwidth)
    assert documented["paper_ratio"].endswith("one INT8 model that stays in cache.")
    assert record._type("dict[str, tuple[float | None, ...]]") == r"dict[str, list[float \| null]]"
