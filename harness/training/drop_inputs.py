"""Dropout at the inputs of chosen layers while a network is trained."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ..core.errors import UserError
from ..posterior.posterior import SAMPLED_LAYERS
from ..posterior.recipe import Recipe


def drop_inputs(module: nn.Module, recipe: Recipe) -> None:
    """Make layers drop out inputs whenever they are called, by PyTorch's global generator.

    Args:
        module: the network; hooks are added to it, and neither parameters nor buffers.
        recipe: `dropout` and `dropout_at` of it.

    Raises:
        UserError: a name is not that of a convolution or linear layer.
    """
    layers = dict(module.named_modules())
    for name in recipe.dropout_at:
        if not isinstance(layers.get(name), SAMPLED_LAYERS):
            known = ", ".join(n for n, layer in layers.items() if isinstance(layer, SAMPLED_LAYERS))
            raise UserError(
                f"Recipe {recipe.name!r} drops out inputs of {name}, which is not a convolution or "
                f"linear layer of the network; give some of {known}."
            )

        def dropped(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
            (x,) = inputs
            drop = functional.dropout2d if isinstance(layer, nn.Conv2d) else functional.dropout
            return (drop(x, recipe.dropout, training=True),)

        layers[name].register_forward_pre_hook(dropped)
