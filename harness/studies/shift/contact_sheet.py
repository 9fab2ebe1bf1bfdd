"""Contact sheet: what each type of corruption does to an image at each severity."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

from ...core.errors import UserError
from ...core.whole import write_atomically
from ...corruptions.registered import SEVERITIES, corrupt
from ...report.style import figure, render, styled

KINDS = ("png", "svg", "pdf")

_TALL = (0.55, 1.12)  # inches of a cell, from small images to those of 224 pixels
_MARGIN = (1.35, 0.55)  # inches for the names and the severities
_DPI = 200


def contact_sheet(
    images: Tensor, types: Sequence[str], seed: int, path: Path, root: Path | None = None
) -> None:
    """Draw every type (a row) at severities 0 … 5 (columns); several images stand side by side.

    Args:
        images: [N, C, H, W] uint8, a few.
        types: names of `CORRUPTIONS`.
        seed: of the corruptions.
        path: .png, .svg or .pdf.
        root: data root, see `splits.data_root`.

    Raises:
        UserError: the path ends otherwise or cannot be written, there is nothing to draw, or
            `corrupt` refuses.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise UserError(f"{path} is no kind of picture; end it in .png, .svg or .pdf.")
    if not types or not len(images):
        raise UserError("A contact sheet shows nothing; give at least one image and one type.")
    cells = [
        [
            _cell(corrupt(images, type, s, seed=seed, root=root) if s else images)
            for s in (0, *SEVERITIES)
        ]
        for type in types
    ]
    drawn = _draw(cells, types)
    write_atomically(path, _pdf(drawn) if kind == "pdf" else render(drawn, kind, "contact-sheet"))


def _cell(images: Tensor) -> np.ndarray:
    """The images side by side with white to the right and below; [H + gap, W', 3] uint8."""
    gap = max(1, images.shape[2] // 24)
    framed = pad(images.expand(-1, 3, -1, -1), (0, gap, 0, gap), value=255)
    return torch.cat(list(framed), dim=2).permute(1, 2, 0).numpy()


def _draw(cells: list[list[np.ndarray]], types: Sequence[str]) -> Figure:
    """One picture of all cells, its axes naming types and severities."""
    mosaic = np.concatenate([np.concatenate(row, axis=1) for row in cells])
    height, width = cells[0][0].shape[:2]
    scale = float(np.clip(height / _DPI, *_TALL)) / height
    inches = scale * mosaic.shape[1] + _MARGIN[0], scale * mosaic.shape[0] + _MARGIN[1]
    with styled():
        drawn = figure(inches[1])
        drawn.set_size_inches(*inches)
        panel = drawn.subplots()
        panel.imshow(mosaic, interpolation="nearest")
        panel.set_anchor("E")  # what is left over is for the names
        panel.set_yticks((np.arange(len(types)) + 0.48) * height, types)
        panel.set_xticks(
            (np.arange(len(cells[0])) + 0.48) * width, ["clean", *map(str, SEVERITIES)]
        )
        panel.xaxis.tick_top()
        panel.xaxis.set_label_position("top")
        panel.set_xlabel("severity")
        panel.tick_params(length=0)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
    return drawn


def _pdf(drawn: Figure) -> bytes:
    out = io.BytesIO()
    with styled():
        drawn.savefig(out, format="pdf", metadata={"CreationDate": None, "Producer": None})
    return out.getvalue()
