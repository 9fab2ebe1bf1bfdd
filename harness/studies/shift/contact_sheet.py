"""Contact sheet: what each type of corruption does to an image at each severity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ...core.errors import UserError
from ...core.figure import Figure, Panel, Picture, Scale, encoded
from ...corruptions.registered import SEVERITIES, corrupt

_TALL = (0.55, 1.12)  # inches of a cell, from small images to those of 224 pixels
_MARGIN = (1.35, 0.55)  # inches for the names and the severities
_DPI = 200


def contact_sheet(
    images: Tensor, types: Sequence[str], seed: int, root: Path | None = None
) -> Figure:
    """Every type (a row) at severities 0 … 5 (columns); several images stand side by side.

    Args:
        images: [N, C, H, W] uint8, a few.
        types: names of `CORRUPTIONS`.
        seed: of the corruptions.
        root: data root, see `splits.data_root`.

    Raises:
        UserError: there is nothing to show, or `corrupt` refuses.
    """
    if not types or not len(images):
        raise UserError("A contact sheet shows nothing; give at least one image and one type.")
    cells = [
        [
            _cell(corrupt(images, type, s, seed=seed, root=root) if s else images)
            for s in (0, *SEVERITIES)
        ]
        for type in types
    ]
    mosaic = np.concatenate([np.concatenate(row, axis=1) for row in cells])
    height, width = cells[0][0].shape[:2]
    scale = float(np.clip(height / _DPI, *_TALL)) / height
    severities = ("clean", *map(str, SEVERITIES))
    across = Scale("severity", ticks=_middles(severities, width), names=severities, opposite=True)
    return Figure(
        "contact-sheet",
        "Corruptions",
        "Images under each type of corruption, one row for each type, from clean to severity 5.",
        (
            Panel(
                (Picture(encoded(mosaic)),),
                across,
                Scale(ticks=_middles(types, height), names=tuple(types)),
            ),
        ),
        height=scale * mosaic.shape[0] + _MARGIN[1],
        width=scale * mosaic.shape[1] + _MARGIN[0],
    )


def _cell(images: Tensor) -> NDArray[np.uint8]:
    """The images side by side with white to the right and below; [H + gap, W', 3] uint8."""
    gap = max(1, images.shape[2] // 24)
    framed = pad(images.expand(-1, 3, -1, -1), (0, gap, 0, gap), value=255)
    return torch.cat(list(framed), dim=2).permute(1, 2, 0).numpy()


def _middles(names: Sequence[str], length: int) -> tuple[float, ...]:
    """Pixels at which the names of cells stand."""
    return tuple((place + 0.48) * length for place in range(len(names)))
