"""The schema documents itself: docs/record.md is what the classes say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from sigmabench.harness.records import documented
from sigmabench.harness.records.envelope import Provenance
from sigmabench.harness.records.run_record import Bandwidth
from sigmabench.harness.records.verdict import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "record.md"
KINDS = documented._kinds()
SCHEMA = list(
    documented._parts(
        Provenance, Verdict, *(p for k in KINDS for p in (k.subject, k.body)), said=set()
    )
)


def test_the_page_is_current() -> None:
    command = [sys.executable, "-m", "sigmabench.harness.records.documented"]
    ran = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == ran.stdout == documented.to_markdown(KINDS)
    assert all(f"\n## Kind `{kind.name}`\n" in ran.stdout for kind in KINDS)


@pytest.mark.parametrize("schema", SCHEMA)
def test_every_field_is_documented_and_nothing_else(schema: type) -> None:
    summary, told = documented._words(schema)
    assert summary
    assert list(told) == [item.name for item in fields(schema)]
    assert all(text.endswith(".") for text in told.values())
    assert PAGE.read_text(encoding="utf-8").count(f"\n### {schema.__name__}\n") == 1


def test_wrapped_entries_are_read_whole() -> None:
    _, told = documented._words(Bandwidth)
    assert told["paper_ratio"].endswith("one INT8 model that stays in cache.")
    assert documented._type("dict[str, tuple[float | None, ...]]") == (
        r"dict[str, list[float \| null]]"
    )
