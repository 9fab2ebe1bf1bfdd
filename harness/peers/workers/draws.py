"""An ordinary network whose weights are drawn anew whenever they are read: w = μ + σ·ε.

Tracers and compilers record the draw as part of the graph, so every call of it is an MC pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Draw(nn.Module):
    """w = μ + σ·ε, ε ~ N(0, 1).

    Attributes:
        last: what was drawn last; while a graph is recorded, its value there.
    """

    def __init__(self, std: Tensor) -> None:
        super().__init__()
        self.std: Tensor
        self.register_buffer("std", std)
        self.last: Tensor | None = None

    def forward(self, mean: Tensor) -> Tensor:
        """A draw of μ's shape."""
        self.last = mean + self.std * torch.randn_like(mean)
        return self.last


class Drawn(nn.Module):
    """A network's MC pass.

    Args:
        module: with μ as its weights; changed in place.
        std: σ by parameter name.
    """

    def __init__(self, module: nn.Module, std: dict[str, Tensor]) -> None:
        super().__init__()
        self.module = module
        self.draws: dict[str, Draw] = {}
        for name, value in std.items():
            layer, _, parameter = name.rpartition(".")
            self.draws[name] = Draw(value)
            parametrize.register_parametrization(
                module.get_submodule(layer), parameter, self.draws[name], unsafe=True
            )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of one pass."""
        logits: Tensor = self.module(x)
        return logits


class Probe(nn.Module):
    """The same pass with the weights it drew as further outputs, in the order of `draws.draws`."""

    def __init__(self, drawn: Drawn) -> None:
        super().__init__()
        self.drawn = drawn

    def forward(self, x: Tensor) -> tuple[Tensor | None, ...]:
        """Logits, then weights."""
        logits = self.drawn(x)
        return (logits, *(draw.last for draw in self.drawn.draws.values()))
