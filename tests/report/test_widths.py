"""No table shows a false number: cells are whole on any terminal, and in what is piped."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text
from sheet_cases import everything, profiled

from sigmabench.harness.cli import terminal
from sigmabench.harness.core import sheet as sheet_module
from sigmabench.harness.core.sheet import Column, RichSheet, Sheet
from sigmabench.harness.core.words import percent
from sigmabench.harness.records.profile_record import KINDS_OF_TIME
from sigmabench.harness.studies.profile import document as profile
from sigmabench.harness.training import train

WIDTHS = (40, 60, 72, 80, 120)


@pytest.fixture(scope="session")
def documents(reference) -> list[object]:
    """Sheets with what stands around them, built once."""
    return everything(reference)


@pytest.fixture(scope="session")
def sheets(documents) -> list[Sheet]:
    """Every sheet of every command, as it is drawn."""
    drawn: list[Sheet] = []
    original = RichSheet.__rich_console__

    def noted(self, console, options):
        drawn.append(self.sheet)
        yield from original(self, console, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RichSheet, "__rich_console__", noted)
        for one in documents:
            Console(width=80, file=io.StringIO()).print(one)
    return drawn


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def terminal_of(
    out: io.StringIO, width: int, monkeypatch, *, stream: str = "stdout", kind: str = "dumb"
) -> None:
    """Make this the output, so many columns wide; a dumb terminal has no colours."""
    monkeypatch.setattr(f"sys.{stream}", out)
    for name, value in {"COLUMNS": width, "LINES": 25, "TERM": kind}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def printed(what: object, width: int, monkeypatch, tty: bool = True) -> str:
    """What `show` sends to a terminal of so many columns, or into a pipe."""
    out = Screen() if tty else io.StringIO()
    terminal_of(out, width, monkeypatch)
    terminal.show(RichSheet(what) if isinstance(what, Sheet) else what)
    return out.getvalue()


def widest(shown: str) -> int:
    return max(map(len, shown.splitlines()), default=0)


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


#: How the titles of a command's tables begin.
TITLES = {
    "report": ("Quality", "Beside FP32", "Speed", "Size", "Cells", "Fidelity", "Beside the paper"),
    "run": ("T = 10 passes: scores",),
    "adaptive T": ("Adaptive T: passes spent", "Adaptive T: difference"),
    "compare": ("Latency, B against A", "Scores, B − A"),
    "shift": (
        *("Clean images", "Clean images, beside", "By severity", "Against the number of passes"),
        *("Out-of-distribution", "The range of the weights", "Does quant", "Equivalence tests"),
    ),
    "selective": ("Risk and coverage", "Within a bound", "By class", "Who is referred"),
    "ablation": tuple(
        f"Ablation: {what}"
        for what in ("clean", "corruptions", "difference in NLL", "difference in accuracy")
    ),
    "weights": ("Range of the sampled", "Noise of the sampled", "Does a similar range"),
    "list": ("Workloads", "Formats", "Backends", "Metrics", "Networks", "Peers"),
    "doctor": ("Machine", "Peers: environments", "Noise"),
    "quantize, inspect": ("Artefacts in", "Layers"),
    "bench": ("lenet5 1×", "resnet50 3×224×224, INT8", "Drawing"),
    "peers": ("lenet5-mnist, 500 test images",),
}


@pytest.mark.parametrize("command", TITLES)
def test_tables_of_every_command_are_among_them(sheets, command):
    drawn = [sheet.title for sheet in sheets]
    for start in TITLES[command]:
        assert any(title.startswith(start) for title in drawn), start


@pytest.mark.parametrize("width", WIDTHS)
def test_a_terminal_is_not_left_to_break_lines(sheets, width, monkeypatch):
    for sheet in sheets:
        assert widest(printed(sheet, width, monkeypatch)) <= width, sheet.title


def test_whole_documents_fit_forty_columns(documents, monkeypatch):
    for one in documents:
        shown = printed(one, 40, monkeypatch)
        assert widest(shown) <= 40, shown


def test_a_name_folds_where_it_would_run_over(monkeypatch):
    columns = (
        Column("name", numeric=False, whole=True),
        Column("recipe", numeric=False, whole=True),
    )
    sheet = Sheet("Names", (*columns, Column("nats")), (("q" * 30, "z" * 36, "0.0044"),), {})
    shown = printed(sheet, 40, monkeypatch)
    assert widest(shown) <= 40
    assert shown.count("z") == 36
    assert "0.0044" in shown.split()
    assert {"q" * 30, "z" * 36} <= set(printed(sheet, 80, monkeypatch).split())


@pytest.mark.parametrize("width", WIDTHS)
def test_the_bar_of_a_profile_fits(width, monkeypatch):
    found = profiled().body
    shown = printed(profile.Bar(found), width, monkeypatch)
    lines = shown.splitlines()
    assert widest(shown) <= width
    assert {len(line) for line in lines[: profile.HEIGHT]} == {min(profile.WIDTH, width)}
    shares = {f"{kind} {percent(found.share(kind))} %" for kind in KINDS_OF_TIME}
    steps = {f"{percent(found.part(step.total_us))} %" for step in found.steps}
    assert all(any(share in line for line in lines) for share in shares | steps)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_bar_of_training_cuts_no_number(width, monkeypatch):
    terminal_of(out := Screen(), width, monkeypatch, stream="stderr", kind="xterm")
    run = SimpleNamespace(
        steps=lambda split: 5004, recipe=SimpleNamespace(epochs=90), epoch=89, loss=3.0
    )
    with train._bar(True, run, None) as report:
        report(1234.5678)
    lines = Text.from_ansi(out.getvalue()).plain.splitlines()
    assert max(map(len, lines)) <= width
    assert "445357/450360 steps, loss 1234.5678" in lines[-1]


@pytest.mark.parametrize("width", WIDTHS)
def test_progress_cuts_no_word_and_no_time(width, monkeypatch):
    terminal_of(out := Screen(), width, monkeypatch, stream="stderr", kind="xterm")
    monkeypatch.setattr("sigmabench.harness.core.waiting.Pace.left", lambda self: 1200.0)
    with terminal.progress(True) as report:
        report("Scoring INT8_SIGMA4 paper, gaussian_noise 5", 1, 2)
    shown = Text.from_ansi(out.getvalue()).plain
    assert widest(shown) <= width
    assert "about 20 minutes left" in shown
    assert {"INT8_SIGMA4", "paper,", "gaussian_noise", "5"} <= set(shown.split())


def test_parts_are_announced_in_one_line(sheets, monkeypatch):
    speed = next(sheet for sheet in sheets if sheet.title == "Speed")
    assert "parts" not in printed(speed, 80, monkeypatch)
    narrow = printed(speed, 40, monkeypatch)
    assert narrow.count("parts: the terminal is narrow.") == 1
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


WORDS = ("", "1.0", "✓", "✗", "INT8 a", "é日本", "a name of many words", "x  ", "0.37(17)   ")


@st.composite
def small_sheets(draw: st.DrawFn) -> Sheet:
    """Sheets of a few short and long cells, some of them marks or wide characters."""
    word = st.sampled_from(WORDS)
    columns = draw(
        st.lists(st.builds(Column, word, word, st.booleans()), min_size=1, max_size=4).map(tuple)
    )
    rows = draw(st.lists(st.tuples(*[word] * len(columns)), max_size=4).map(tuple))
    places = st.integers(0, max(0, len(rows) - 1))
    headings = draw(st.dictionaries(places, word.filter(bool), max_size=2)) if rows else {}
    return Sheet(draw(word), columns, rows, headings, draw(st.integers(0, len(columns))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sheet=small_sheets(), width=st.sampled_from(WIDTHS), terminal=st.booleans())
def test_cells_side_by_side_are_drawn_as_rich_draws_them(
    sheet: Sheet, width: int, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn() -> str:
        stream = io.StringIO()
        colours = "truecolor" if terminal else None
        console = Console(
            file=stream,
            width=width,
            force_terminal=terminal,
            color_system=colours,
            legacy_windows=False,
        )
        console.print(RichSheet(sheet), crop=False)
        return stream.getvalue()

    ours = drawn()
    with monkeypatch.context() as patched:
        patched.setattr(sheet_module, "_may_fold", lambda *_: True)
        assert drawn() == ours
