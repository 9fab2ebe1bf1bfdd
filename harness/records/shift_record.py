"""The record of a shift study: one format scored on one set of images, at every prefix of T.

Beside the scores it keeps what each image got at the largest T, so that formats can be compared
image by image (`equivalence`), figures drawn and out-of-distribution detection computed without
running anything again.

What halves of the passes score is kept for blocks of the images. What a draw of the weights does to
all images alike moves all blocks together; what it does to each image on its own moves them apart,
and the images' own spread holds that already (`bootstrap.Luck`).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.units import Units
from ..workload.cell import Cell
from .envelope import Record
from .fitted import Fitted
from .kind import Kind, Layout, cell_of, without

if TYPE_CHECKING:
    pass

#: What is scored by halves of the passes, from which the luck of the MC draw is told.
HALVED = ("accuracy", "nll", "ece", "aurc")

#: Of images, each of whole units; fewer where there are fewer units.
BLOCKS = 16

CONTRAST = "contrast."
#: Of the values that a metric has of each image, where it is not one of `ARRAYS`.
METRIC = "metric."

#: Per-image arrays and their types.
ARRAYS = {
    "confidence": "<f4",
    "entropy": "<f4",
    "mutual_information": "<f4",
    "nll": "<f4",
    "correct": "|u1",
    "prediction": "<u2",
    "label": "<u2",
    "source": "<i4",
}


@dataclass(frozen=True)
class ShiftBody:
    """What came of scoring one format on one set of images.

    Attributes:
        images: how many were scored.
        mc: prefixes T, ascending; the last is the cell's T.
        scores: metric to one value per prefix; None where it is not defined. Empty without labels.
        halves: of records from before `contrasts`: metric to its score by half of the passes, for
            every choice of half of 6 groups of them.
        skipped: files of images that cannot be read and were left out.
        temperatures: of a method that has them, one for each prefix.
        crossed: where images are scored with a temperature that was fitted on the other half of the
            test images, those of the second half, as `temperatures`, which are those of the first.
        validation_images: that temperatures were fitted on.
    """

    images: int
    mc: tuple[int, ...]
    scores: dict[str, tuple[float | None, ...]]
    halves: dict[str, tuple[float, ...]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    temperatures: tuple[Fitted, ...] = ()
    crossed: tuple[Fitted, ...] = ()
    validation_images: int = 0


@dataclass(frozen=True)
class ShiftRecord(Record[Cell, ShiftBody]):
    """One cell of a shift study: its scenario is `score`, nothing is timed, and `batch`, `threads`
    and `instances` are 0. `corruption` is `none`, a type of corruption, or `ood:NAME` for images
    from outside the distribution, which have no labels. Where the cell has a temperature, so have
    all of its scores and arrays but mutual information, which is that of the passes as they are.

    Its arrays are `ARRAYS`, one value per image at the largest T: confidence max p̄, predictive
    entropy and mutual information in nats (missing where it is not defined) and the predicted
    class; with labels the negative log-likelihood in nats, whether the prediction is right (1) or
    wrong (0), and the label; and what the image was cut from (`Split.sources`), where that is
    known. Older records have no `prediction`, `label` and `source`.

    Other metrics with a margin stand beside them as `metric.` and their names, float32.

    Beside them, as `contrast.accuracy` and so on for all of `HALVED`, float32 [K, H], half the
    difference between what each of K blocks of images (`blocks.blocks_of`) contributes to the score
    by each of H halves of the passes and by its complement (`predict.halves`). Accuracy, NLL and
    AURC are those of the block times its share of the images; ECE's are made linear in the images
    (`bootstrap.slopes`), NLL's in the passes (`halves.jackknifed`). They are missing without labels
    or a second unit, and of fewer passes than 4.
    """

    def score(self, metric: str, mc: int | None = None) -> float | None:
        """One score at T = `mc`, the largest by default; None where it is not defined."""
        scores = self.body.scores
        if metric not in scores:
            return None
        return scores[metric][-1 if mc is None else self.body.mc.index(mc)]

    def array(self, name: str) -> NDArray[Any]:
        """One value per image, [images]: float32, bool for `correct`, or integers.

        Raises:
            KeyError: the record has no such array (labels or mutual information are missing).
        """
        values = self.arrays[name]
        return values.astype(bool) if name == "correct" else values

    @property
    def units(self) -> Units:
        """What is independent among the images."""
        return Units.of(self.body.images, self.array("source") if "source" in self.arrays else None)

    def contrast(self, metric: str) -> NDArray[np.float64]:
        """[K, H] of the arrays, of as many blocks as there are or can be.

        Raises:
            KeyError: the record has none of this metric.
        """
        return self.arrays[f"{CONTRAST}{metric}"].astype(np.float64)

    @property
    def contrasted(self) -> bool:
        """Whether it has contrasts."""
        return any(name.startswith(CONTRAST) for name in self.arrays)

    @property
    def labelled(self) -> bool:
        """Whether the images had labels."""
        return "correct" in self.arrays


def array_of(metric: str) -> str:
    """Name of the array that holds a metric of each image."""
    return metric if metric in ARRAYS else f"{METRIC}{metric}"


def _arrays_before(tree: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Of a file in whose JSON they stood, as base64 of little-endian numbers."""
    found = {
        name: np.frombuffer(base64.b64decode(text), ARRAYS[name])
        for name, text in tree["per_image"].items()
    }
    count = Units.of(tree["images"], found.get("source")).count
    for metric, text in (tree.get("contrasts") or {}).items():
        values = np.frombuffer(base64.b64decode(text), "<f4")
        found[f"{CONTRAST}{metric}"] = values.reshape(min(BLOCKS, count), -1)
    return found


SHIFT_RECORDS: Kind[ShiftRecord] = Kind(
    name="shift",
    title="shift record",
    record=ShiftRecord,
    subject=Cell,
    body=ShiftBody,
    folders=("shift", "selective", ""),
    before=Layout(
        newest=2,
        hashed=2,
        subject=cell_of,
        rest=without("cell", "per_image", "contrasts"),
        arrays=_arrays_before,
    ),
)
