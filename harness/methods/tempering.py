"""Temperatures of methods: the images that they are fitted on, and what is predicted with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..predict import crossed
from ..predict.logit_law import LogitLaw, Summarizer, law_of_batch
from ..predict.loop import batches
from ..predict.predicted import Outcomes
from ..predict.temperature import ImageTemperatures, Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from ..backends.base import Passes
    from ..data.splits import Split, Splits

#: One temperature; or two, of both halves of images that are scored themselves (`crossed`).
Temperatures = tuple[Temperature, ...]


@dataclass(frozen=True, eq=False)
class FittingImages:
    """The images that temperatures are fitted on.

    Attributes:
        images: of the validation split; of the test split where nothing was held out of training.
        half: [N] in the second case, which half each image is in; None in the first.
    """

    images: Split
    half: Tensor | None = None

    @classmethod
    def of(
        cls, splits: Splits, fitted: int | None = None, limit: int | None = None
    ) -> FittingImages:
        """Those of a workload.

        Args:
            splits: its data.
            fitted: validation images at most.
            limit: test images at most, where those take their place.
        """
        if splits.held_out:
            return cls(splits.validation.limit(fitted).readable())
        images = splits.test.limit(limit).readable()
        return cls(images, crossed.halves_of(len(images)))

    def fit(self, law: LogitLaw, mc: int) -> Temperatures:
        """What fits the predictions of T = `mc` passes on these images best."""
        if self.half is None:
            return (law.fit(self.images.labels, mc),)
        return crossed.fit(law, self.images.labels, self.half, mc)


def applied(fitted: Temperatures, images: int) -> Temperature | ImageTemperatures:
    """What so many images are scored with: the one temperature, or that of each one's half."""
    if len(fitted) == 1:
        return fitted[0]
    return crossed.per_image(crossed.halves_of(images), fitted)


def tempered_outcomes(
    passes: Passes | Summarizer,
    split: Split,
    temperatures: Mapping[int, Temperatures],
    seed: int,
    fixed: bool,
    batch: int,
    *,
    labelled: bool = True,
    whole: bool = False,
    groups: bool = False,
) -> dict[int, Outcomes]:
    """What a method says of each image at every T, with the temperature of that T; memory does not
    grow with the number of images times that of classes.

    Mutual information is that of the passes as they are, for a temperature of their average leaves
    none.

    Args:
        passes: of the method.
        split: images; all of them are used.
        temperatures: of each T.
        seed: as of `law_of_batch`, and so is `fixed`.
        fixed: see there.
        batch: images at a time.
        labelled: whether the split's labels mean something.
        whole: keep the summaries too, all classes of all images.
        groups: keep what halves of the passes say at the largest T too (`halves.Halves`).
    """
    largest = max(temperatures)
    scored = {T: applied(fitted, len(split)) for T, fitted in temperatures.items()}
    parts: dict[int, list[Outcomes]] = {T: [] for T in temperatures}
    for index in batches(split, batch):
        labels = split.labels[index] if labelled else None
        law = law_of_batch(passes, split.batch(index), seed, largest, fixed)
        for T, one in scored.items():
            own = one.take(index) if isinstance(one, ImageTemperatures) else one
            found = law.summary(T, own, groups and largest == T)
            mutual = law.summary(T).mutual_information
            made = replace(found, mutual_information=mutual)
            parts[T].append(made.outcomes(labels, whole))
    return {T: Outcomes.cat(each) for T, each in parts.items()}
