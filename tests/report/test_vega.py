"""Figures as Vega-Lite: valid by its schema, on the axes that matplotlib has, with every number."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import factory
import numpy as np
import pytest
from PIL import Image

from sigmabench.harness.core.figure import (
    Band,
    Bars,
    Boxes,
    Figure,
    Look,
    Panel,
    Picture,
    Points,
    Rule,
    Scale,
    Steps,
    encoded,
    listed,
)
from sigmabench.harness.report.draw import drawn
from sigmabench.harness.report.figures import figures
from sigmabench.harness.report.frontier import frontier, frontier_figure
from sigmabench.harness.report.palette import FAINT, INK, colour
from sigmabench.harness.report.rows import sections
from sigmabench.harness.report.vega import CONFIG, chart, numbers_behind
from sigmabench.harness.report.vega_domain import domain, size_of
from sigmabench.harness.report.vega_marks import PAPER

INT8, TWIN = Look("INT8"), Look("DNN_INT8")


def a_picture() -> Picture:
    pixels = np.zeros((3, 7, 3), np.uint8)
    return Picture(encoded(pixels), ("a word", "another"))


MARKS: dict[str, Any] = {
    "points": Points(
        (1.0, 2.0, None), (3.0, 4.0, 5.0), INT8, "INT8", (2.5, 3.0, 1.0), (3.5, 9.0, 2.0)
    ),
    "unmarked": Points((1.0, 2.0, 3.0), (3.0, 4.0, 5.0), INT8, marked=False, width=0.5),
    "sparse": Points(
        (1.0, 2.0, 3.0), (3.0, 4.0, 5.0), TWIN, every=(1, 2), left=(0.5,) * 3, right=(9.0,) * 3
    ),
    "bars": Bars((0.0, 1.0), (3.0, 4.0), INT8, "weights", (1.0, 2.0), ends=("a", "")),
    "flat bars": Bars((0.0, 1.0), (3.0, -4.0), INT8, flat=True, hatch="lines", ends=("a", "b")),
    "boxes": Boxes((1.0, 2.0), ((1.0, 2.0, 3.0, 4.0, 5.0),) * 2, INT8, 0.5),
    "hollow boxes": Boxes((1.0,), ((1.0, 2.0, 3.0, 4.0, 5.0),), TWIN, 0.5),
    "steps": Steps((0.0, 1.0, 2.0), (5.0, 7.0), INT8, "counts"),
    "filled steps": Steps((0.0, 1.0, 2.0), (5.0, 7.0), INT8, filled=True),
    "rule": Rule((0.0, 1.0), (2.0, 3.0), "ink", "dashed", "a line"),
    "level": Rule(y=(2.0,)),
    "upright": Rule(x=(2.0,), line="dotted"),
    "band": Band(1.0, 2.0),
    "upright band": Band(1.0, 2.0, upright=True),
    "picture": a_picture(),
}  # fmt: skip


def figure(*panels: Panel, **changes: Any) -> Figure:
    return Figure("name", "Title", "What it shows", panels, height=3.0, **changes)


def spec(one: Figure, place: int = 0) -> dict[str, Any]:
    return [panel for stack in chart(one).stacks for panel in stack][place].spec


@pytest.fixture(scope="module")
def valid() -> Any:
    """Checks a specification against Vega-Lite's schema."""
    altair = pytest.importorskip("altair")
    jsonschema = pytest.importorskip("jsonschema")
    place = Path(altair.__file__).parent / "vegalite" / "v6" / "schema" / "vega-lite-schema.json"
    whole = json.loads(place.read_text())
    checker = jsonschema.Draft7Validator({**whole, "$ref": "#/definitions/TopLevelLayerSpec"})

    def check(one: dict[str, Any]) -> None:
        told = {"width": "container", "config": CONFIG, "data": {"values": []}, **one}
        error = next(iter(checker.iter_errors(told)), None)
        assert error is None, f"{error.message[:300]} at {list(error.absolute_path)}"

    return check


@pytest.mark.parametrize("name", MARKS)
def test_every_mark_is_valid_vega_lite(name: str, valid: Any) -> None:
    made = spec(figure(Panel((MARKS[name],), Scale("across"), Scale("up"))))
    assert made["layer"]
    valid(made)
    assert "NaN" not in json.dumps(made, allow_nan=False)


SCALES = {
    "log": Scale("x", log=True),
    "log with ends": Scale("x", 0.5, 40_000.0, log=True),
    "named": listed(["a", "b\nc", "</script>"], small=True),
    "turned": Scale("a\nb", ticks=(1.0, 2.0), names=("one", "two"), turned=45.0, grid=False),
    "bare": Scale(bare=True, opposite=True),
    "about": Scale("x", about=4, most=3.0),
}


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_is_valid_vega_lite(name: str, valid: Any) -> None:
    for panel in (Panel((MARKS["points"],), SCALES[name]), Panel((MARKS["bars"],), y=SCALES[name])):
        valid(spec(figure(panel)))


@pytest.mark.parametrize("name", [n for n in MARKS if n not in ("picture", "filled steps")])
@pytest.mark.parametrize(
    "scale", [Scale(), Scale(low=0.5), Scale(most=4.0), Scale(high=20.0)], ids=str
)
def test_axes_reach_as_far_as_those_of_matplotlib(name: str, scale: Scale) -> None:
    """Which is an oracle of its own for margins, bars on 0 and ends that are given."""
    panel = Panel((MARKS[name],), scale, scale)
    if name in ("boxes", "hollow boxes", "steps", "level", "upright", "band", "upright band"):
        # Together with points, for matplotlib leaves an axis that nothing reaches at 0 to 1, and
        # has rules of its own for boxes.
        panel = replace(panel, marks=(*panel.marks, MARKS["points"], Rule((0.2, 6.0), (0.2, 9.5))))
    axes = drawn(figure(panel)).axes[0]
    for which, limits in (("x", axes.get_xlim()), ("y", axes.get_ylim())):
        assert domain([panel], which, scale) == pytest.approx(limits, rel=1e-6), which


def test_an_axis_of_powers_reaches_as_far_too() -> None:
    points = Points((1.0, 10.0, 50.0), (0.001, 2.0, 300.0), INT8)
    scale = Scale(log=True)
    panel = Panel((points,), scale, scale)
    axes = drawn(figure(panel)).axes[0]
    assert domain([panel], "x", scale) == pytest.approx(axes.get_xlim())
    assert domain([panel], "y", scale) == pytest.approx(axes.get_ylim())


def test_what_cannot_stand_on_an_axis_is_left_out_of_its_reach() -> None:
    points = Points((0.0, -3.0, None, 10.0), (float("nan"), float("inf"), 1.0, 2.0), INT8)
    assert domain([Panel((points,))], "x", Scale(log=True)) == pytest.approx((10 / 1.1, 11.0))
    assert domain([Panel((points,))], "y", Scale()) == pytest.approx((1.9, 2.1))
    assert domain([], "x", Scale(log=True))[0] > 0


def test_a_shared_axis_is_that_of_all_panels() -> None:
    near, far = Points((1.0, 2.0), (1.0, 2.0), INT8), Points((50.0, 90.0), (3.0, 7.0), INT8)
    shown = figure(Panel((near,)), Panel((far,)), shared="x")
    first, second = spec(shown), spec(shown, 1)
    ends = [one["encoding"]["x"]["scale"]["domain"] for one in (first, second)]
    assert ends[0] == ends[1] == [pytest.approx(1 - 89 * 0.05), pytest.approx(90 + 89 * 0.05)]
    assert first["encoding"]["y"]["scale"] != second["encoding"]["y"]["scale"]


def test_panels_that_share_an_axis_stay_together_and_only_the_last_names_it() -> None:
    """Two rows of pairs, three quarters and a quarter high: four stacks of two, side by side."""
    panels = [Panel((Points((float(i),), (1.0,), INT8),), title=str(i)) for i in range(8)]
    shown = figure(*panels, columns=2, heights=(3.0, 1.0) * 2, shared="x", label="confidence")
    stacks = chart(replace(shown, height=8.0)).stacks
    assert [[one.title for one in stack] for stack in stacks] == [
        ["0", "2"], ["1", "3"], ["4", "6"], ["5", "7"],
    ]  # fmt: skip
    for stack in stacks:
        top, bottom = (one.spec["encoding"]["x"] for one in stack)
        assert top["axis"]["labels"] is False
        assert top["title"] is None
        assert "labels" not in bottom["axis"]
        assert bottom["title"] == "confidence"
        assert stack[0].spec["height"] > 1.3 * stack[1].spec["height"]
    apart = chart(figure(*panels, columns=2)).stacks
    assert [len(stack) for stack in apart] == [1] * 8


def test_a_place_without_marks_is_no_panel() -> None:
    shown = figure(Panel((MARKS["points"],)), Panel(), Panel((MARKS["bars"],)), columns=2)
    assert sum(map(len, chart(shown).stacks)) == 2


def test_a_format_has_the_colour_and_marker_that_printed_figures_give_it() -> None:
    (line, errors, points) = spec(figure(Panel((MARKS["points"],))))["layer"]
    assert (
        line["mark"]["stroke"] == points["mark"]["fill"] == errors["mark"]["stroke"] == colour(INT8)
    )
    sparse = spec(figure(Panel((MARKS["sparse"],))))["layer"]
    shown = next(one for one in sparse if one["mark"].get("fill") == PAPER)
    assert shown["mark"]["stroke"] == colour(TWIN) == colour(INT8)
    assert [row["x"] for row in shown["data"]["values"]] == [2.0]
    grey = Points((1.0,), (1.0,), Look("INT8", invalid=True))
    (only,) = spec(figure(Panel((grey,))))["layer"]
    assert (only["mark"]["stroke"], only["mark"]["fill"]) == (FAINT, PAPER)


def test_an_end_on_the_wrong_side_is_no_bar() -> None:
    rows = spec(figure(Panel((MARKS["points"],))))["layer"][2]["data"]["values"]
    assert [(r["low"], r["high"]) for r in rows[:2]] == [(2.5, 3.5), (3.0, 9.0)]
    assert (rows[2]["low"], rows[2]["high"]) == (1.0, 5.0)


def test_the_legend_is_that_of_the_first_panel() -> None:
    keys = Points((), (), INT8, "INT8"), MARKS["bars"], MARKS["rule"], MARKS["steps"]
    shown = chart(figure(Panel((*keys, MARKS["points"])), Panel((MARKS["sparse"],))))
    assert [(key.label, key.kind) for key in shown.legend] == [
        ("INT8", "points"), ("weights", "bars"), ("a line", "line"), ("counts", "line"),
    ]  # fmt: skip


def test_text_of_a_figure_is_data_and_steers_nothing() -> None:
    hostile = '\x1b[2J</script><b>"\u202e'
    points = Points((1.0,), (1.0,), INT8, hostile)
    across = Scale(hostile, ticks=(1.0,), names=(hostile,))
    made = json.dumps(spec(figure(Panel((points,), across))))
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert "\\\\u001b" in made


def test_the_numbers_behind_a_figure_are_all_there() -> None:
    shown = figure(
        Panel((MARKS["points"], MARKS["boxes"]), left="one"), Panel((MARKS["flat bars"],))
    )
    rows = numbers_behind(shown)
    assert len(rows) == 3 + 2 + 2
    assert rows[0] == {
        "panel": "one", "shown": "INT8", "x": 1.0, "y": 3.0, "low": 2.5, "high": 3.5,
    }  # fmt: skip
    named = Panel((MARKS["unmarked"],), Scale("T"), Scale("NLL,\nnats"))
    assert {"T", "NLL, nats"} < set(numbers_behind(figure(named))[0])
    assert rows[3]["upper quartile"] == 4.0
    assert rows[-1] | {"panel": ""} == {
        "panel": "", "shown": "INT8", "of": "", "at": 1.0, "from": 0.0, "size": -4.0,
    }  # fmt: skip


def test_the_size_of_a_picture_is_read_from_its_head() -> None:
    one = a_picture()
    assert size_of(one) == (7, 3) == Image.open(io.BytesIO(base64.b64decode(one.png))).size


@pytest.mark.parametrize("mcs", [(50,), (1, 10, 50)])
def test_every_figure_of_a_run_is_valid(mcs: tuple[int, ...], valid: Any) -> None:
    (section,) = sections(factory.grid(("FP32", "INT8", "DNN_INT8"), mcs=mcs))
    found = frontier(section)
    assert found is not None
    for one in [*figures(section), frontier_figure(found)]:
        for stack in chart(one).stacks:
            for panel in stack:
                valid(panel.spec)
        drawn(one)  # by matplotlib too


def test_ink_and_paper_are_no_colour_of_anything_else() -> None:
    formats = ("BF16", "INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")
    assert INK == colour(Look("FP32")) == CONFIG["axis"]["labelColor"]
    assert not {INK, PAPER} & {colour(Look(name)) for name in formats}
