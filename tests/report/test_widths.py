"""No table shows a false number: cells are whole on any terminal, and in what is piped."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import factory
import pytest
from pydantic import TypeAdapter
from rich.console import Console, RenderableType
from selective.selective_cases import found_of, noisy_run, sample
from shift.shift_factory import study
from test_adaptive_sheets import adapted
from test_weight_report import LABELS
from test_weight_report import made as layer_range

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
from sigmabench.harness.report import (
    ablation,
    comparison,
    profile,
    selective_tables,
    shift_tables,
    table,
    weights,
)
from sigmabench.harness.report.sheet import Column, RichSheet, Sheet
from sigmabench.harness.selective.agreement import comparisons
from sigmabench.harness.selective.findings import DETECTORS, Told
from sigmabench.harness.selective.selection import Choices, selections
from sigmabench.harness.shift.ablation_result import (
    METRICS,
    PAIRED,
    Ablation,
    AblationRow,
    Difference,
)
from sigmabench.harness.shift.configurations import BASE, Choice
from sigmabench.harness.shift.equivalence import equivalence
from sigmabench.harness.shift.results import results
from sigmabench.harness.workload import WORKLOADS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
POSTERIOR = ROOT / "workloads/posteriors/lenet-digits.safetensors"
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


#: As wide as a name gets: of a layer, of a format, of a class.
LONG = "layer3.5.downsample.convolution"
CLASSES = ("basophilic granulocyte", "immature granulocyte", "lymphocyte", "platelet")


def selected() -> RenderableType:
    """A study of selective prediction, with every sheet it can have."""
    formats = {"FP32": "FP32", "INT8_SIGMA4 paper": "INT8_SIGMA4"}
    runs = {
        name: [noisy_run(seed, 0.05 * (name != "FP32"), 80) for seed in range(3)]
        for name in formats
    }
    both = sample(runs, {"INT8_SIGMA4 paper": "FP32"})
    choices = Choices(bound=0.2)
    scored = results(study(("FP32", "INT8"), (), mc=(4,), images=80, ood=()))[0]
    told = [
        Told("test", "svhn", name, by, 0, 0.9876, 0.8765, 0.1234)
        for name in formats
        for by in DETECTORS
    ]
    found = replace(
        found_of(both, choices, "lenet-digits"),
        formats=formats,
        selections=tuple(selections(scored, both, both, choices, resamples=20)),
        comparisons=tuple(comparisons([both], choices, resamples=20)),
        outside=tuple(told),
    )
    named = replace(WORKLOADS.get("lenet-digits"), classes=len(CLASSES), class_names=CLASSES)
    return selective_tables.tables(found, named)


def ablated() -> RenderableType:
    """An ablation with images that are shifted, and without a difference or two."""
    scores = {name: dict.fromkeys(METRICS, (12.3456,)) for name in ("clean", "fog")}
    off = Difference(-0.0123, -0.0456, 0.0789)
    differences = {name: dict.fromkeys(PAIRED, off) for name in ("clean", "shifted")}
    changed = Choice("ranges over sampled passes", "INT8_SIGMA2")
    rows = (
        AblationRow(BASE, "float", 494_000, 491_760, 1.0, 1.0, scores),
        AblationRow(changed, "native", 78_123, 76_000, 6.4, 6.32, scores, differences),
    )
    made = Ablation(
        "test", 10_000, 1000, 10_000, 1000, {"fog": "official"}, 5, 0, 50, (0,), 99, rows
    )
    return ablation.table(made)


def small_race(path: Path) -> record.Race:
    """A race of which two turns were stored, for its intervals are resampled."""
    race = record.load(path)
    contenders = tuple(
        replace(one, slices=one.slices[:2], latency_ns=one.latency_ns[: sum(one.slices[:2])])
        for one in race.contenders
    )
    return replace(race, contenders=contenders)


def stored() -> list[object]:
    """What `bench` and `peers` print of published records."""
    shown: list[object] = []
    for path in sorted((RESULTS / "runtime").glob("*/*/*.json")):
        text = path.read_text()
        if '"contenders"' in text:
            shown += bench_table.renderables(small_race(path))
        elif '"program"' in text:
            shown += memory.renderables(record.load_memory(path))
        else:
            shown.append(sampler.table(TypeAdapter(sampler.SamplerRun).validate_json(text)))
    for path in sorted((RESULTS / "peers").rglob("*.json")):
        shown += peers_table.renderables(peers_record.load(path))
    return shown


def shifted(reference) -> RenderableType:
    """A shift study of a type and a severity."""
    made = study(
        ("FP32", "INT8"), ("fog",), (5,), images=80, mc=(1, 4), ranges=("headroom", "paper")
    )
    found = results(made)[0]
    return shift_tables.tables(found, equivalence(found, resamples=20), reference, detailed=True)


def everything(reference) -> list[object]:
    """What each command prints."""
    records = factory.grid(mcs=(10,), batches=(1, 32))
    slower = factory.grid(mcs=(10,), batches=(1,), slowdown=1.3)
    adaptive = [adapted(format=name) for name in ("FP32", "INT8")]
    ranges = [layer_range(label, layer) for layer in ("stem", LONG) for label in LABELS]
    written = [
        {"path": "out/net-int8.safetensors", "file_bytes": 123456789, "weight_bytes": 98765432}
        | {"ratio_weights": 6.4, "ratio_file": 5.23}
    ]
    return [
        table.narrow([*records, *adaptive]),
        table.wide([*records, *adaptive]),
        table.fidelity(records),
        table.paper([factory.record(mc=50, format=name) for name in ("FP32", "INT8")], reference),
        comparison.comparison(compare(records, slower)),
        shifted(reference),
        selected(),
        ablated(),
        *map(RichSheet, weights.weight_sheets(ranges)),
        *profile.renderables(profiled(), every=True),
        *listing_tables(),
        *diagnosis_tables(diagnosed()),
        size_table(written),
        *inspection_tables(inspection(POSTERIOR)),
        *stored(),
    ]


@pytest.fixture(scope="session")
def sheets(reference) -> list[Sheet]:
    """Every sheet of every command, as it is drawn."""
    drawn: list[Sheet] = []
    original = RichSheet.__rich_console__

    def noted(self, console, options):
        drawn.append(self.sheet)
        yield from original(self, console, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RichSheet, "__rich_console__", noted)
        for one in everything(reference):
            Console(width=80, file=io.StringIO()).print(one)
    return drawn


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def printed(what: object, width: int, monkeypatch, tty: bool = True) -> str:
    """What `show` sends to a terminal of so many columns, or into a pipe."""
    out = Screen() if tty else io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    for name, value in {"COLUMNS": width, "LINES": 25, "TERM": "dumb"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    terminal.show(RichSheet(what) if isinstance(what, Sheet) else what)
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
