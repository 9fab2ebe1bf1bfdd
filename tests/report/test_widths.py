"""No table shows a false number: cells are whole on any terminal, and in what is piped."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import factory
import pytest
from rich.console import Console
from shift.shift_factory import study

from sigmabench.harness import terminal
from sigmabench.harness.bench import memory, record, sampler
from sigmabench.harness.bench import table as bench_table
from sigmabench.harness.commands import (
    diagnosis_tables,
    inspection,
    inspection_tables,
    listing_tables,
    size_table,
)
from sigmabench.harness.compare import compare
from sigmabench.harness.peers import record as peers_record
from sigmabench.harness.peers import table as peers_table
from sigmabench.harness.profile import Profile, Step
from sigmabench.harness.report import comparison, profile, shift_tables, table
from sigmabench.harness.report.sheet import Column, RichSheet, Sheet
from sigmabench.harness.shift.equivalence import equivalence
from sigmabench.harness.shift.results import results

RESULTS = Path(__file__).parents[2] / "results"
WIDTHS = (40, 60, 72, 80, 120)


def profiled() -> Profile:
    times = ((1.5, 2.5, 0.25, 3.0), (10.125, 33.0, 0.5, 7.0))
    steps = tuple(
        Step(
            f"conv{i}",
            "conv",
            (512, 512, 3, 3),
            "brgconv:avx512_core_amx",
            "direct",
            9,
            *t,
        )
        for i, t in enumerate(times)
    )
    return Profile("net", "made up", "INT8", 1, 5, 2, 1, 9, 10.0, steps, "a CPU", None)


def diagnosed() -> dict[str, object]:
    noise = {"repeats": 20, "p50_ns": 1234567, "p99_over_p50": 1.0444, "robust_std": 0.0123}
    return {"machine": {"cpu": "A " * 40, "cores": 2}, "backends": {}, "noise_check": noise} | {
        "backends": {"native": "available; needs AVX2"},
        "peers": {"ipex": "available: torch 2.8.0"},
    }


def everything(records, reference) -> list[object]:
    """What each command prints."""
    adaptive = factory.grid(("INT8",), mcs=(50,))
    found = results(study(severities=(1, 5), images=60, mc=(1, 5), ood=("svhn",)))[0]
    judged = equivalence(found, resamples=50)
    mine = next((RESULTS / "runtime").glob("sampler/*/*.json"))
    written = [
        {"path": "out/net-int8.safetensors", "file_bytes": 123456789, "weight_bytes": 98765432}
        | {"ratio_weights": 6.4, "ratio_file": 5.23}
    ]
    posterior = Path(__file__).parents[2] / "workloads/posteriors/lenet-digits.safetensors"
    shown = [
        table.narrow([*records, *adaptive]),
        table.wide(records),
        table.fidelity(records),
        table.size(records),
        table.paper(records, reference),
        comparison.comparison(compare(records, factory.grid(slowdown=1.3))),
        shift_tables.tables(found, judged, reference, detailed=True),
        *profile.renderables(profiled(), every=True),
        sampler.table(run_of(mine)),
        *listing_tables(),
        *diagnosis_tables(diagnosed()),
        size_table(written),
        *inspection_tables(inspection(posterior)),
    ]
    for path in sorted((RESULTS / "peers").rglob("*.json")):
        shown += peers_table.renderables(peers_record.load(path))
    for path in sorted((RESULTS / "runtime").glob("*/*/*.json")):
        shown += raced(path)
    return shown


def run_of(path: Path) -> sampler.SamplerRun:
    from pydantic import TypeAdapter

    return TypeAdapter(sampler.SamplerRun).validate_json(path.read_bytes())


def raced(path: Path) -> list[object]:
    text = path.read_text()
    if '"contenders"' in text:
        return list(bench_table.renderables(record.load(path)))
    return list(memory.renderables(record.load_memory(path))) if '"program"' in text else []


@pytest.fixture(scope="module")
def sheets(records, reference) -> list[Sheet]:
    """Every sheet of every command, as it is drawn."""
    drawn: list[Sheet] = []
    original = RichSheet.__rich_console__

    def noted(self, console, options):
        drawn.append(self.sheet)
        yield from original(self, console, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RichSheet, "__rich_console__", noted)
        for one in everything(records, reference):
            Console(width=80, file=io.StringIO()).print(one)
    assert len({sheet.title for sheet in drawn}) > 25
    return drawn


def printed(sheet: Sheet, width: int, monkeypatch, tty: bool = True) -> str:
    """What `show` prints on a terminal of so many columns, or into a pipe."""
    out = io.StringIO()

    def console(**options):
        return Console(file=out, width=width, force_terminal=tty, color_system=None, **options)

    monkeypatch.setattr("rich.console.Console", console)
    terminal.show(RichSheet(sheet))
    return out.getvalue()


def tokens(sheet: Sheet) -> tuple[Sheet, set[str]]:
    """The sheet with a number of its own, as wide as it can be, in each numeric cell."""
    numbers = iter(range(10**6))
    used: set[str] = set()

    def cell(words: str, column: Column) -> str:
        if not column.numeric:
            return words
        made = f"{next(numbers):0{max(4, len(words))}d}"
        used.add(made)
        return made

    rows = tuple(
        tuple(cell(words, column) for words, column in zip(row, sheet.columns, strict=True))
        for row in sheet.rows
    )
    return replace(sheet, rows=rows, grouped=0), used


@pytest.mark.parametrize("width", [*WIDTHS, "piped"])
def test_every_number_of_every_table_is_whole(sheets, width, monkeypatch):
    for sheet in sheets:
        columns, tty = (80, False) if width == "piped" else (width, True)
        filled, expected = tokens(sheet)
        words = set(printed(filled, columns, monkeypatch, tty).split())
        assert expected <= words, (sheet.title, sorted(expected - words)[:3])


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_printed_is_what_stands_at_full_width(sheets, width, monkeypatch):
    for sheet in sheets:
        numeric = [i for i, column in enumerate(sheet.columns) if column.numeric]
        cells = Counter(
            word for row in sheet.rows for i in numeric[sheet.grouped :] for word in row[i].split()
        )
        narrow = printed(replace(sheet, grouped=0), width, monkeypatch)
        assert not cells - Counter(narrow.split()), sheet.title
        assert "…" not in narrow or any("…" in cell for row in sheet.rows for cell in row)


@pytest.mark.parametrize("width", [60, 72, 80, 120])
def test_a_terminal_is_not_left_to_break_lines(sheets, width, monkeypatch):
    for sheet in sheets:
        assert max(map(len, printed(sheet, width, monkeypatch).splitlines())) <= width, sheet.title


def test_parts_are_announced_in_one_line(sheets, monkeypatch):
    speed = next(sheet for sheet in sheets if sheet.title == "Speed")
    assert "parts" not in printed(speed, 80, monkeypatch)
    narrow = printed(speed, 40, monkeypatch)
    assert narrow.count("parts, for want of width.") == 1
    assert narrow.count("format") > 1
    assert narrow.count("Speed") == 1
    assert "parts" not in printed(speed, 40, monkeypatch, tty=False)


def test_numbers_stand_to_the_right():
    columns = (Column("format", numeric=False), Column("p50", "ms"))
    sheet = Sheet("Speed", columns, (("FP32", "9.5"), ("INT8", "1,234.5")), {})
    console = Console(file=io.StringIO(), width=80)
    console.print(RichSheet(sheet))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert len({len(line) for line in lines if line.endswith(("p50", "ms", ".5"))}) == 1
