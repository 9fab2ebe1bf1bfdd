"""Passes that share what draws nothing: the trunk runs once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..backends.base import Backend, Passes
    from ..data.given import Given
    from ..quantize.artefact import Artefact
    from ..quantize.cut import TwoParts


@dataclass(frozen=True, eq=False)
class OnTrunk:
    """A network in two parts, of which the first draws nothing.

    Attributes:
        trunk: from images to features, [1, N, C·H·W].
        rest: from features [N, C, H, W] to the logits of passes.
        shape: (C, H, W).
    """

    trunk: Passes
    rest: Passes
    shape: tuple[int, int, int]

    def features(self, x: Given) -> Tensor:
        """[N, C, H, W] float32."""
        return self.trunk.logits(x, 0, range(1))[0].reshape(-1, *self.shape)

    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """See `Passes`."""
        return self.rest.logits(self.features(x), seed, passes)


@dataclass(frozen=True, eq=False)
class DrawnLayer:
    """A linear layer that is drawn in float32 from a normal distribution of all its weights.

    Attributes:
        mean: of its weights, row by row, and then its biases if it has any, [n] float32.
        scale: S of the covariance S Sᵀ, [n, n] float32; or [n], the standard deviations of
            independent ones.
        classes: its outputs.
        threads: that a call may use.
    """

    mean: Tensor
    scale: Tensor
    classes: int
    threads: int = 1

    def weights(self, seed: int, passes: range) -> Tensor:
        """Of each pass, [len(passes), n] float32: that of pass t does not depend on the others."""
        import torch

        from ..backends.stack import pass_seed

        normal = torch.empty(len(passes), len(self.mean))
        for row, t in zip(normal, passes, strict=True):
            row.normal_(generator=_generator(pass_seed(seed, t)))
        spread = normal * self.scale if self.scale.ndim == 1 else normal @ self.scale.T
        return self.mean + spread

    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """See `Passes`; x are features [N, C, H, W]."""
        import torch

        from ..backends.divided import torch_threads

        features = torch.as_tensor(x).flatten(1)
        with torch.inference_mode(), torch_threads(self.threads):
            drawn, count = self.weights(seed, passes), self.classes * features.shape[1]
            rows = drawn[:, :count].reshape(len(passes) * self.classes, -1)
            found = (features @ rows.T).unflatten(1, (len(passes), -1))
            if count < len(self.mean):
                found += drawn[:, count:]
        return found.transpose(0, 1)


def _generator(seed: int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed)


def parted(artefact: Artefact, at: str, backend: Backend, threads: int) -> tuple[TwoParts, Passes]:
    """A network cut at a layer, and its trunk ready to run.

    Args:
        artefact: the network.
        at: name of a layer behind others.
        backend: that computes the trunk.
        threads: that a call may use.
    """
    from ..quantize.cut import cut

    parts = cut(artefact, at)
    assert parts.trunk is not None  # a layer behind others has something before it
    return parts, backend.load(parts.trunk, threads)
