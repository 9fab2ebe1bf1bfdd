"""One network on several views of each image (test-time augmentation).

The views are drawn as for training, by the workload's own augmentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..workload.cell import VIEWS
from .method import MadeMethod
from .single import OfPosterior, draws_nothing, in_format

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..backends.base import Passes
    from ..data.given import Given
    from ..quantize.options import Options
    from ..workload.plan import Plan
    from ..workload.prepare import Prepared
    from ..workload.workload import Workload

    #: Pixels [N, C, H, W] float32 in [0, 1] and what they are augmented by, to pixels.
    Augment = Callable[[Tensor, torch.Generator], Tensor]


def augmentation_of(workload: Workload) -> Augment | None:
    """What the default recipe does to training images; None where it does nothing."""
    return workload.recipe().augmentation if workload.recipes else None


@dataclass(frozen=True, eq=False)
class Views:
    """One network on views of the images: pass t sees view t.

    All images are turned, shifted and lit alike in one view, so that a prediction does not depend
    on the images beside it.

    Attributes:
        network: that draws nothing.
        augmentation: makes the views.
        mean: per channel, of the normalised pixels.
        std: per channel.
    """

    network: Passes
    augmentation: Augment
    mean: Sequence[float]
    std: Sequence[float]

    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """See `Passes`."""
        import torch

        images = torch.as_tensor(x)
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (self.mean, self.std))
        pixels = (images * std + mean).clamp(0, 1)
        alike = pixels.flatten(0, 1).unsqueeze(0)  # one image of many channels: one draw for all
        found = []
        for t in passes:
            generator = torch.Generator().manual_seed(generator_seed(seed, t))
            view = self.augmentation(alike, generator).reshape(pixels.shape)
            found.append(self.network.logits((view - mean) / std, seed, range(1)))
        return torch.cat(found)


@dataclass(frozen=True, eq=False)
class MadeViews(MadeMethod):
    """One network on views of the images; the other attributes are those of `Views`."""

    augmentation: Augment
    mean: Sequence[float]
    std: Sequence[float]

    def together(self, networks: Sequence[Passes]) -> Passes:
        """See `MadeMethod`."""
        return Views(networks[0], self.augmentation, self.mean, self.std)


def generator_seed(seed: int, t: int) -> int:
    """Of view t, 0 to 2^63 − 1; unlike for every pair."""
    import numpy as np

    return int(np.random.SeedSequence((seed, t)).generate_state(1, np.uint64)[0]) >> 1


class OfViews(OfPosterior):
    """The mean network on T views; see `Method`."""

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        if augmentation_of(plan.workload) is None:
            return f"{plan.workload.name} was trained without augmentation"
        return draws_nothing(format)

    def networks(self, plan: Plan) -> Sequence[str]:
        """See `Method`; of workloads that do not ship, what makes the views too."""
        found = [*super().networks(plan)]
        if not plan.workload.ships:
            views = repr(augmentation_of(plan.workload))
            found.append(hashlib.sha256(views.encode()).hexdigest())
        return found

    def made(self, prepared: Prepared, format: str, options: Options | None = None) -> MadeMethod:
        """See `Method`."""
        split, augmentation = prepared.splits.train, augmentation_of(prepared.plan.workload)
        if augmentation is None:
            raise UserError(f"{prepared.plan.workload.name} was trained without augmentation.")
        artefact, backend = in_format(prepared.bayesian, format, options, draws=False)
        return MadeViews((artefact,), backend, augmentation, split.mean, split.std)


AUGMENT = OfViews(
    "augment",
    "mean network on T views",
    "One pass of the mean network on each of T augmented views of the image.",
    draws=True,
    noise=VIEWS,
)
