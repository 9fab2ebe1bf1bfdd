"""Sheets of the least sure images, and figures: what is drawn, of a study whose order is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from selective_cases import CLASSES, found_of, outputs, sample
from shift import shift_factory

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Split
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.studies.selective import referred_sheet, selective_figures
from sigmabench.harness.studies.selective.agreement import comparisons
from sigmabench.harness.studies.selective.analyse import SelectiveFindings
from sigmabench.harness.studies.selective.referral import Choices, selections

IMAGES = 20
LABELS = np.arange(IMAGES) % CLASSES
UNCERTAINTY = np.random.default_rng(1).permutation(IMAGES) / IMAGES
WRONG = UNCERTAINTY > 0.7
PIXELS = torch.arange(IMAGES, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()
SPLIT = Split("test", PIXELS, torch.from_numpy(LABELS), (0.5,), (0.5,), CLASSES)
WORKLOAD = "lenet-digits"
NAMES = ("ant", "bee", "cat", "dog")
CHOICES = Choices(coverage=0.75)


def study(seeds: int = 1) -> SelectiveFindings:
    """FP32, and INT8 that swaps the last image kept with the first referred."""
    swapped = UNCERTAINTY.copy()
    kept, referred = np.argsort(UNCERTAINTY)[[14, 15]]
    swapped[[kept, referred]] = swapped[[referred, kept]]
    runs = {
        "FP32": [outputs(UNCERTAINTY, WRONG, LABELS)] * seeds,
        "INT8": [outputs(swapped, WRONG, LABELS)] * seeds,
    }
    both = sample(runs)
    (records,) = results(shift_factory.study(("FP32", "INT8"), (), mc=(4,), ood=()))
    return replace(
        found_of(both, CHOICES, WORKLOAD),
        classes=CLASSES,
        class_names=NAMES,
        selections=tuple(selections(records, both, None, CHOICES, resamples=50)),
        comparisons=tuple(comparisons([both], CHOICES, resamples=50)),
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures instead of files."""
    found: list[Figure] = []
    for module in (referred_sheet, selective_figures):
        monkeypatch.setattr(module, "save_twice", lambda figure, *_: found.append(figure) or [])
    return found


def test_a_sheet_has_the_least_sure_first_with_what_was_said(drawn: list[Figure]) -> None:
    referred_sheet.referred_sheets(study(), {"test": SPLIT}, Path(), 8)
    (figure,) = drawn
    assert figure.get_suptitle() == "test: least sure by confidence, FP32"
    least = np.argsort(-UNCERTAINTY)[:8]
    panels = [panel for panel in figure.axes if panel.images]
    assert [int(panel.images[0].get_array()[0, 0, 0]) for panel in panels] == least.tolist()
    for panel, i in zip(panels, least, strict=True):
        numbers, said, true = (one.get_text() for one in panel.texts)
        assert numbers == f"H {UNCERTAINTY[i]:.2f}  I {UNCERTAINTY[i]:.2f}"
        assert said == f"said {NAMES[(LABELS[i] + 1) % CLASSES if WRONG[i] else LABELS[i]]}"
        assert true == (f"is {NAMES[LABELS[i]]}" if WRONG[i] else "right")


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (SPLIT.take(slice(0, 19)), "there are 19 of them, not 20"),
        (replace(SPLIT, skipped=("a.png",)), "others cannot be read"),
        (SPLIT.take(torch.arange(IMAGES).flip(0)), "20 of 20 labels are others"),
    ],
)
def test_images_that_changed_since_are_not_drawn(split: Split, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{says}.*score it again with --policy always"):
        referred_sheet.referred_sheets(study(), {"test": split}, tmp_path, 8)
    assert not list(tmp_path.iterdir())


def test_figures_show_the_numbers(drawn: list[Figure]) -> None:
    found = study()
    selective_figures.selective_figures(found, Path(), "w")
    curves, referred, classes = drawn
    line = curves.axes[0].lines[0]
    coverage, error = line.get_xdata(), line.get_ydata()
    order = np.argsort(UNCERTAINTY)
    for x, y in zip(coverage[::10], error[::10], strict=True):
        stays = order[: round(IMAGES * x / 100)]
        assert y == pytest.approx(100 * WRONG[stays].mean())
    (bar,) = referred.axes[0].containers
    assert bar.lines[0].get_ydata() == pytest.approx([100 / 5])  # one of five referred switches
    share = 100 * np.bincount(LABELS[order[15:]], minlength=CLASSES) / 5  # five of each class
    assert classes.axes[0].lines[0].get_ydata() == pytest.approx(share)
