"""Networks of torchvision and timm by name, with fresh weights.

This file needs PyTorch and these libraries alone, so that other environments can build the same
network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def torchvision_network(name: str) -> nn.Module:
    """A network of torchvision.

    Args:
        name: as `torchvision.models.list_models` has it.
    """
    from torchvision.models import get_model

    network: nn.Module = get_model(name, weights=None, **torchvision_options(name))
    return network


def torchvision_options(name: str) -> dict[str, bool]:
    """What torchvision builds a network with when it loads weights, but for its auxiliary heads,
    which are kept. Without `init_weights`, these two draw theirs by a slow truncated normal."""
    if name not in ("googlenet", "inception_v3"):
        return {}
    return {"init_weights": False, "transform_input": True, "aux_logits": True}


def timm_network(name: str) -> nn.Module:
    """A network of timm.

    Args:
        name: as `timm.list_models` has it, with or without the tag of its weights.
    """
    import timm

    network: nn.Module = timm.create_model(name)
    return network
