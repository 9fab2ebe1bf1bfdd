"""Sheets of the least sure images, and figures: what is drawn, of a study whose order is known."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from selective_cases import (
    CLASSES,
    IMAGES,
    LABELS,
    NAMES,
    SPLIT,
    UNCERTAINTY,
    WRONG,
    known_study,
)

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Split
from sigmabench.harness.studies.selective import referred_sheet, selective_figures


def test_a_sheet_has_the_least_sure_first_with_what_was_said() -> None:
    (figure,) = referred_sheet.referred_sheets(known_study(), {"test": SPLIT}, 8)
    assert figure.heading == "test: least sure by confidence, FP32"
    least = np.argsort(-UNCERTAINTY)[:8]
    pictures = [picture for panel in figure.panels for picture in panel.marks]
    pixels = [Image.open(io.BytesIO(base64.b64decode(one.png))) for one in pictures]
    assert [one.getpixel((0, 0)) for one in pixels] == [(i, i, i) for i in least]
    for picture, i in zip(pictures, least, strict=True):
        scores, said, true = picture.below
        assert scores == f"H {UNCERTAINTY[i]:.2f}  I {UNCERTAINTY[i]:.2f}"
        assert said == f"said {NAMES[(LABELS[i] + 1) % CLASSES if WRONG[i] else LABELS[i]]}"
        assert true == (f"is {NAMES[LABELS[i]]}" if WRONG[i] else "right")
        assert picture.tone == ("vermillion" if WRONG[i] else "ink")


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (SPLIT.take(slice(0, 19)), "there are 19 of them, not 20"),
        (replace(SPLIT, skipped=("a.png",)), "others cannot be read"),
        (SPLIT.take(torch.arange(IMAGES).flip(0)), "20 of 20 labels are others"),
    ],
)
def test_images_that_changed_since_are_not_drawn(split: Split, says: str) -> None:
    with pytest.raises(UserError, match=f"{says}.*score it again with --policy always"):
        referred_sheet.referred_sheets(known_study(), {"test": split}, 8)


def test_figures_show_the_numbers() -> None:
    curves, referred, classes = selective_figures.selective_figures(known_study())
    line = curves.panels[0].marks[0]
    order = np.argsort(UNCERTAINTY)
    for x, y in zip(line.x[::10], line.y[::10], strict=True):
        stays = order[: round(IMAGES * x / 100)]
        assert y == pytest.approx(100 * WRONG[stays].mean())
    (bar,) = referred.panels[0].marks
    assert bar.y == pytest.approx([100 / 5])  # one of five referred switches
    share = 100 * np.bincount(LABELS[order[15:]], minlength=CLASSES) / 5  # five of each class
    assert classes.panels[0].marks[0].y == pytest.approx(share)
