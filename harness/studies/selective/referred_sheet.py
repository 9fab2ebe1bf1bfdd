"""Contact sheet of the images that a network is least sure of: what a person would be shown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...core.errors import UserError
from ...core.figure import Figure, Panel, Picture, encoded
from ...data.splits import Split
from .analyse import SelectiveFindings
from .sample import Outputs, SplitSample

_COLUMNS = 6
_CELL = (1.05, 1.42)  # inches


def referred_sheets(
    found: SelectiveFindings, images: Mapping[str, Split], tiles: int
) -> list[Figure]:
    """The least sure images of splits, one figure per split.

    The first format of the study, FP32 where it is there, and its first seed decide. Under an image
    stand its predictive entropy H and mutual information I in nats, the predicted class, and the
    true one where that is another (in colour).

    Args:
        found: of a study.
        images: split to its images, in the order of the records; those that a sheet is made of.
        tiles: images per sheet.

    Raises:
        UserError: images are not those of the records.
    """
    samples = {name: sample for name, sample in found.samples.items() if name in images}
    for name, sample in samples.items():
        _check(images[name], sample)
    sheets = []
    for name, sample in samples.items():
        variant, runs = next(iter(sample.outputs.items()))
        order = runs[0].ranked(found.choices.by).order[::-1][:tiles]
        title = f"{name}: least sure by {found.choices.by.replace('_', ' ')}, {variant}"
        sheets.append(
            Figure(
                f"least-sure-{name}",
                title,
                "The images that the network is least sure of, with entropy, mutual information, "
                "the predicted class, and the true one where that is another.",
                tuple(_tile(images[name], runs[0], int(index), found) for index in order),
                height=_CELL[1] * -(-len(order) // _COLUMNS) + 0.3,
                width=_CELL[0] * _COLUMNS,
                columns=_COLUMNS,
                heading=title,
            )
        )
    return sheets


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


def _tile(split: Split, run: Outputs, index: int, found: SelectiveFindings) -> Panel:
    pixels = split.images[index : index + 1][0].expand(3, -1, -1).permute(1, 2, 0).numpy()
    entropy = run.uncertainties["entropy"][index]
    mutual = run.uncertainties.get("mutual_information")
    scores = f"H {entropy:.2f}" + (f"  I {mutual[index]:.2f}" if mutual is not None else "")
    wrong = bool(run.wrong[index])
    said = found.class_name(int(run.predictions[index]))
    true = f"is {found.class_name(int(run.labels[index]))}" if wrong else "right"
    below = (scores, f"said {said}", true)
    return Panel((Picture(encoded(pixels), below, "vermillion" if wrong else "ink"),))
