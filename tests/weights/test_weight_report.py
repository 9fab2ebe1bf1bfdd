"""Tables and figures of sampled weights."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sigmabench.harness.core.sheet import RichSheet
from sigmabench.harness.records.weights_record import LayerRange, WeightCounts
from sigmabench.harness.report.draw import drawn, save
from sigmabench.harness.studies.weights.document import histograms, weight_figures, weight_sheets

LAYERS = ("stem.convolution", "stage1.block0.conv1", "stage2.block0.conv1", "head")
FORMATS = ("INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")
LABELS = ("FP32", *FORMATS, *(f"{name} paper" for name in FORMATS))


def made(label: str, layer: str) -> LayerRange:
    """Of the paper's range, half the noise; 1 bit, a third more range in the head."""
    noise = 0.05 if label.endswith("paper") else 0.1
    end = 4 / 3 if (label, layer) == ("INT8_SIGMA1", "head") else 1.0
    edges = tuple(i / 10 - 1 for i in range(21))
    counts = (0, 0, *(2**i for i in range(16)), 0, LABELS.index(label))
    return LayerRange(
        layer, label, label.split()[0], 100, 20, -1.5, 1.5, -end, end, 0.5, noise, noise / 0.1,
        0.0, 0.0, 0.0, WeightCounts(edges, counts), WeightCounts(edges, counts[::-1]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def ranges() -> list[LayerRange]:
    return [made(label, layer) for layer in LAYERS for label in LABELS]


def test_tables_say_what_differs(ranges):
    width, noise, judged = weight_sheets(ranges)
    assert [row[0] for row in width.rows] == list(LAYERS)
    assert width.rows[-1][1:] == ("2.00", *["1.00 "] * 3, "1.33*", *["1.00 "] * 4)
    assert noise.rows[0][1:] == ("0.100", *["1.00 "] * 4, *["0.50*"] * 4)
    cells = {row[:2]: row[2:] for row in judged.rows}
    assert cells["INT8 paper", "FP32"] == ("yes", "0.0", "no", "50.0", "4/4")
    assert cells["INT8_SIGMA1", "INT8"] == ("no", "16.7", "yes", "0.0", "0/4")
    assert cells["INT8_SIGMA1 paper", "INT8 paper"] == ("yes", "0.0", "yes", "0.0", "0/4")


def test_tables_fit_eighty_columns(ranges):
    for sheet in weight_sheets(ranges):
        out = io.StringIO()
        Console(file=out, width=80).print(RichSheet(sheet))
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        for row in sheet.rows:
            assert any(all(cell.strip() in line for cell in row[1:]) for line in lines)


def test_a_figure_a_variant(ranges, tmp_path):
    names = ["net-weights", "net-weights-paper"]
    written = save(weight_figures(ranges), tmp_path, "net")
    assert [p.name for p in written] == [f"{n}.{kind}" for n in names for kind in ("svg", "png")]


def test_first_middle_and_last_layer_are_drawn_from_their_histograms(ranges):
    panels = histograms([r for r in ranges if not r.label.endswith("paper")]).panels
    assert [panel.left for panel in panels[::2]] == [
        "stem.convolution", "stage2.block0.conv1", "head"
    ]  # fmt: skip
    for panel, which in zip(panels[:2], ("weights_histogram", "noise_histogram"), strict=True):
        assert [mark.label for mark in panel.marks] == [
            "FP32", "INT8", "INT8_SIGMA2", "INT8_SIGMA1"
        ]  # fmt: skip
        for mark in panel.marks:
            histogram = getattr(made(mark.label, LAYERS[0]), which)
            assert mark.counts == histogram.counts
            assert mark.edges == histogram.edges


def test_the_highest_count_is_inside_its_panel(ranges):
    figure = histograms([r for r in ranges if not r.label.endswith("paper")])
    for panel, axes in zip(figure.panels, drawn(figure).axes, strict=True):
        assert max(max(mark.counts) for mark in panel.marks) < axes.get_ylim()[1]
