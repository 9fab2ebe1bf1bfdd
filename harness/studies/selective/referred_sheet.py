"""Contact sheet of the images that a network is least sure of: what a person would be shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import UserError
from ...data.splits import Split
from ...report.style import INK, figure, save_twice, styled
from .analyse import SelectiveFindings
from .sample import Outputs, SplitSample

_COLUMNS = 6
_CELL = (1.05, 1.42)  # inches
_WRONG = "#d55e00"


def referred_sheets(
    found: SelectiveFindings,
    images: Mapping[str, Split],
    out_dir: Path,
    tiles: int,
) -> list[Path]:
    """Draw the least sure images of splits as SVG and PNG, `<workload>-least-sure-<split>`.

    The first format of the study, FP32 where it is there, and its first seed decide. Under an image
    stand its predictive entropy H and mutual information I in nats, the predicted class, and the
    true one where that is another (in colour).

    Args:
        found: of a study.
        images: split to its images, in the order of the records; those that a sheet is made of.
        out_dir: directory, made if missing.
        tiles: images a sheet.

    Raises:
        UserError: images are not those of the records; the directory cannot be written.
    """
    samples = {name: sample for name, sample in found.samples.items() if name in images}
    for name, sample in samples.items():
        _check(images[name], sample)
    written: list[Path] = []
    for name, sample in samples.items():
        variant, runs = next(iter(sample.outputs.items()))
        order = runs[0].ranked(found.choices.by).order[::-1][:tiles]
        drawn = _draw(images[name], runs[0], order, found)
        by = found.choices.by.replace("_", " ")
        drawn.suptitle(f"{name}: least sure by {by}, {variant}", fontsize=8, fontweight="bold")
        written += save_twice(drawn, out_dir, found.workload, f"least-sure-{name}")
    return written


def _check(split: Split, sample: SplitSample) -> None:
    """Data may have changed since it was scored; then numbers would stand under other images."""
    now, then = split.labels.numpy(), sample.labels
    if len(now) != len(then):
        changed = f"there are {len(now):,} of them, not {len(then):,}"
    elif split.skipped != sample.skipped:
        changed = "others cannot be read"
    elif not np.array_equal(now, then):
        changed = f"{int((now != then).sum()):,} of {len(then):,} labels are others"
    else:
        return
    raise UserError(
        f"Images of the {sample.split} split are not those that were scored ({changed}), so no "
        "sheet of them is drawn; give the same data, or score it again with --policy always."
    )


def _draw(split: Split, run: Outputs, order: np.ndarray, found: SelectiveFindings) -> Figure:
    rows = -(-len(order) // _COLUMNS)
    with styled():
        drawn = figure(_CELL[1] * rows + 0.3)
        drawn.set_size_inches(_CELL[0] * _COLUMNS, _CELL[1] * rows + 0.3)
        panels = drawn.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, index in zip(panels, order, strict=False):
            pixels = split.images[int(index) : int(index) + 1][0]
            panel.imshow(pixels.expand(3, -1, -1).permute(1, 2, 0).numpy(), interpolation="nearest")
            _caption(panel, run, int(index), found)
    return drawn


def _caption(panel: Axes, run: Outputs, index: int, found: SelectiveFindings) -> None:
    entropy = run.uncertainties["entropy"][index]
    mutual = run.uncertainties.get("mutual_information")
    numbers = f"H {entropy:.2f}" + (f"  I {mutual[index]:.2f}" if mutual is not None else "")
    wrong = bool(run.wrong[index])
    said = found.class_name(int(run.predictions[index]))
    true = f"is {found.class_name(int(run.labels[index]))}" if wrong else "right"
    for line, (words, colour) in enumerate(
        ((numbers, INK), (f"said {said}", INK), (true, _WRONG if wrong else INK))
    ):
        panel.text(
            0.5,
            -0.04 - 0.125 * line,
            words,
            transform=panel.transAxes,
            ha="center",
            va="top",
            fontsize=6,
            color=colour,
        )
