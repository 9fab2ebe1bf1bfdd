"""From which level of cache a pass moves its bytes, in tables and for scripts."""

from __future__ import annotations

import csv
import io
import json

import factory
import pytest
from hostile import planted

from sigmabench.harness.report import cost_sheets, sheets, table
from sigmabench.harness.report.cache_level import level_of
from sigmabench.harness.report.rows import sections

#: What a made-up INT8 pass touches: μ, σ, and half of what it writes and reads.
TOUCHED = 61_470 + 61_470 + (120_000 + 157_060) // 2


def of(**caches: str):
    return factory.record(
        format="INT8", machine=factory.fingerprint(machine=factory.machine(**caches))
    )


def kib(size: int) -> str:
    return f"{size // 1024}K"


@pytest.mark.parametrize(
    ("caches", "level"),
    [
        ({"L1d": "48K", "L1i": "1024K", "L2": "2048K", "L3": "320M"}, "L2"),
        ({"L1d": "48K", "L2": kib(TOUCHED), "L3": "320M"}, "L3"),
        ({"L1d": "48K", "L2": kib(TOUCHED + 1024), "L3": "320M"}, "L2"),
        ({"L1d": "48K", "L2": "128K"}, "memory"),
        ({"L3": "1G", "L2": "1M", "L1d": "1M"}, "L1"),
        ({}, None),
        ({"L1i": "1024K"}, None),
        ({"L1d": "48K", "L2": "much", "L3": "1G"}, None),
    ],
)
def test_the_smallest_cache_that_holds_a_pass(caches, level):
    assert level_of(of(**caches)) == level


def test_machines_of_older_and_of_hostile_records_have_no_level():
    assert level_of(factory.record(format="INT8")) is None
    assert level_of(planted(of(L1d="48K", L2="2048K"))) is None


def test_tables_show_what_is_achieved_and_scripts_the_share_too():
    (section,) = sections([of(L1d="48K", L2="2048K")])
    for sheet in (cost_sheets.speed(section), sheets.everything(section)):
        heads = [f"{column.name} {column.unit}" for column in sheet.columns]
        (row,) = sheet.rows
        assert row[heads.index("moved GB/s")] == "3.40"
        assert row[heads.index("moved from")] == "L2"
        assert not any("copy" in head for head in heads)
    (row,) = csv.DictReader(io.StringIO(table.csv(section.records)))
    (told,) = json.loads("".join(table.json_lines(section.records)))
    assert float(row["share_of_copy"]) == told["bandwidth"]["share_of_copy"] == 0.17
