"""Every kind of figure: as data that fits into JSON, and as files of the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import factory
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from selective import selective_cases as least_sure
from shift import shift_factory
from some import first_alone

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.figure import Figure, Look, Panel, Points, Scale, numbers
from sigmabench.harness.records.methods_record import METHOD_RECORDS
from sigmabench.harness.records.store import Store
from sigmabench.harness.records.weights_record import LayerRange, WeightCounts
from sigmabench.harness.report.draw import drawn, inline_svg, render, save, write
from sigmabench.harness.report.figures import figures
from sigmabench.harness.report.rows import sections
from sigmabench.harness.studies.methods.analyse import analyse as methods
from sigmabench.harness.studies.methods.document import document as methods_document
from sigmabench.harness.studies.profile.document import profile_figure
from sigmabench.harness.studies.selective.referred_sheet import referred_sheets
from sigmabench.harness.studies.selective.selective_figures import selective_figures
from sigmabench.harness.studies.shift.contact_sheet import contact_sheet
from sigmabench.harness.studies.shift.shift_figures import shift_figures
from sigmabench.harness.studies.weights.document import weight_figures

PUBLISHED = Path(__file__).parents[2] / "results" / "report"
#: Of these kinds none is published.
UNPUBLISHED = {"profile", "contact-sheet", "least-sure-test"}


def made() -> Iterator[Figure]:
    """One of every kind, of made-up records."""
    (section,) = sections(factory.grid(("FP32", "INT8")))
    yield from figures(section)
    types = ("fog", "gaussian_blur")
    yield from shift_figures(shift_factory.study(("FP32", "DNN_INT8"), types, (3, 5), images=30))
    found = least_sure.known_study(2)
    yield from selective_figures(found)
    yield from referred_sheets(found, {"test": least_sure.SPLIT}, 8)
    counts = WeightCounts((0.0, 0.5, 1.0), (3, 0))
    told = (100, 20, -1.5, 1.5, -1.0, 1.0, 0.5, 0.1, 1.0, 0.0, 0.0, 0.0)
    yield from weight_figures(
        [LayerRange("fc", name, name, *told, counts, counts) for name in ("FP32", "INT8")]
    )
    yield profile_figure(factory.profile())
    images = torch.arange(0, 256, 8, dtype=torch.uint8).expand(1, 3, 32, 32)
    yield contact_sheet(images, ["contrast"], 0)
    (found,) = methods(Store(PUBLISHED.parent, METHOD_RECORDS).records("lenet-digits"))
    yield from (one for one in methods_document(found).figures() if not isinstance(one, str))


ALL = list(made())
every = pytest.mark.parametrize("figure", ALL, ids=lambda one: one.name or "weights")


def leaves(value: Any) -> Iterator[Any]:
    """What is neither a mapping nor a sequence."""
    if isinstance(value, dict | tuple | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from leaves(one)
    else:
        yield value


@every
def test_a_figure_goes_through_json(figure: Figure) -> None:
    data = asdict(figure)
    assert {type(leaf) for leaf in leaves(data)} <= {str, float, int, bool, type(None)}
    text = json.dumps(data, allow_nan=False)
    assert TypeAdapter(Figure).validate_json(text) == figure


@pytest.mark.parametrize("figure", first_alone(ALL, 3), ids=lambda one: one.name or "weights")
def test_a_figure_is_written_twice_with_the_same_bytes(figure: Figure, tmp_path: Path) -> None:
    first, second = (save([figure], tmp_path / name, "one") for name in ("a", "b"))
    assert [path.suffix for path in first] == [".svg", ".png"]
    for one, other in zip(first, second, strict=True):
        content = one.read_bytes()
        assert content == other.read_bytes()
        assert content.startswith(b"\x89PNG" if one.suffix == ".png" else b"<?xml")
        assert b"dc:date" not in content


def test_a_figure_on_a_page_says_what_it_shows() -> None:
    assert all(figure.title and figure.description.endswith(".") for figure in ALL)
    svg = inline_svg(ALL[0], "place-1", "a title", "a description")
    assert svg.startswith("<svg ")
    assert '<title id="place-1-title">a title</title>' in svg
    assert "#1a1a1b" not in svg


def test_every_published_figure_is_one_of_these() -> None:
    names = {figure.name for figure in ALL}
    shown = {path.stem.removesuffix("-paper") for path in PUBLISHED.rglob("*.svg")}
    assert shown
    ends = {*(name or "weights" for name in names)}  # the weights' are called as the study is
    assert [stem for stem in shown if not any(stem.endswith(f"-{end}") for end in ends)] == []
    absent = {end for end in ends if not any(stem.endswith(f"-{end}") for stem in shown)}
    assert absent == UNPUBLISHED


def test_a_directory_that_cannot_be_made_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another place"):
        save([plain()], tmp_path / "file" / "figures", "one")
    with pytest.raises(UserError, match="choose another place"):
        write(plain(), tmp_path / "file" / "one.pdf")


def plain(*marks: Points, **more: Any) -> Figure:
    """A figure of one panel."""
    return Figure("plain", "Plain", "Points.", (Panel(marks, **more),), height=2.0)


def test_a_point_that_is_missing_is_a_gap() -> None:
    assert numbers([np.float32(1.5), None, float("nan")]) == (1.5, None, None)
    figure = plain(Points((0.0, 1.0, 2.0), (1.0, None, 3.0), Look("INT8")))
    (line,) = drawn(figure).axes[0].lines
    assert np.isnan(line.get_ydata()[1])


def test_a_bar_on_the_wrong_side_of_its_point_has_no_arm() -> None:
    figure = plain(Points((0.0,), (1.0,), Look("INT8"), low=(1.5,), high=(2.0,)))
    (bars,) = drawn(figure).axes[0].containers
    ((start, end),) = bars[2][0].get_segments()
    assert (start[1], end[1]) == (1.0, 2.0)


@pytest.mark.parametrize(("top", "end"), [(99.0, 99.05), (100.0, 100.1), (150.0, 100.23)])
def test_an_axis_ends_with_its_marks_but_at_the_latest_where_it_is_told(
    top: float, end: float
) -> None:
    figure = plain(Points((0.0, 1.0), (98.0, top), Look("INT8")), y=Scale(most=100.0))
    assert drawn(figure).axes[0].get_ylim()[1] == pytest.approx(end)


def test_an_invalid_point_hides_what_lies_below() -> None:
    below = Points((0.0,), (0.0,), Look("INT8"), low=(0.0,), high=(0.0,), size=20.0)
    above = Points((0.0,), (0.0,), Look("INT8", invalid=True), size=20.0, covering=True)

    def middle(*marks: Points) -> list[int]:
        """Colour of the pixel in which all points lie."""
        made = drawn(plain(*marks, x=Scale(low=-1.0, high=1.0), y=Scale(low=-1.0, high=1.0)))
        made.canvas.draw()
        pixels = np.asarray(made.canvas.buffer_rgba())  # type: ignore[attr-defined]
        across, up = made.axes[0].transData.transform((0.0, 0.0))
        found: list[int] = pixels[pixels.shape[0] - round(up), round(across), :3].tolist()
        return found

    assert middle(below) != [255] * 3
    assert middle(below, above) == middle(above, below) == [255] * 3


def test_names_of_a_shared_axis_stand_below_the_last_panel_of_each_column() -> None:
    panel = Panel((Points((0.0, 1.0), (0.0, 1.0), Look()),), Scale("t"))
    figure = Figure(
        "grid", "Grid", "Lines.", (panel, panel, panel, Panel()), 3.0, columns=2, shared="x"
    )
    axes = drawn(figure).axes
    named = [
        any(one.get_visible() and one.label1.get_visible() for one in a.xaxis.majorTicks)
        for a in axes
    ]
    assert named[:3] == [False, True, True]
    assert [a.get_xlabel() for a in axes[:3]] == ["", "t", "t"]


def test_a_caption_stands_below_the_label_of_the_last_axis() -> None:
    panel = Panel((Points((0.0,), (0.0,), Look()),), Scale("t"))
    figure = Figure("one", "One", "A point.", (panel, panel), 3.0, shared="x", caption="grey")
    assert [axes.get_xlabel() for axes in drawn(figure).axes] == ["", "t\ngrey"]
    labelled = replace(figure, label="all")
    assert drawn(labelled).get_supxlabel() == "all\ngrey"
    assert drawn(labelled).axes[1].get_xlabel() == "t"
    assert render(figure, "svg") != render(labelled, "svg")
