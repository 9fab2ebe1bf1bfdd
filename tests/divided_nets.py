"""Small networks with parts that stay float, as others write them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

CLASSES = 5
SHAPE = (3, 32, 32)


def timm_net(name: str, **how: object) -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.create_model(name, num_classes=CLASSES, **how)


def convnext() -> nn.Module:
    """Depthwise convolutions, norms and linear layers over channels, scaled shortcuts."""
    return timm_net("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16))


def vit() -> nn.Module:
    """Attention whose projections are linear layers."""
    how = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return timm_net("vit_tiny_patch16_224", **how)


def torchvision_vit() -> nn.Module:
    """`nn.MultiheadAttention`, whose first projection is no layer of its own, batch second."""
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=CLASSES)


def torchvision_convnext() -> nn.Module:
    blocks = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.ConvNeXt([blocks(8, 16, 1), blocks(16, None, 1)], num_classes=CLASSES)


def mobilenet_v3() -> nn.Module:
    """Squeeze-and-excitation, hard swish in place, shortcuts."""
    config = partial(InvertedResidualConfig, width_mult=1.0)
    blocks = [
        config(16, 3, 16, 16, True, "RE", 2, 1),
        config(16, 3, 32, 24, False, "RE", 2, 1),
        config(24, 5, 48, 24, True, "HS", 1, 1),
    ]
    return MobileNetV3(blocks, 32, CLASSES)


class Gated(nn.Module):
    """Two layers of one shape with a product between, then the head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y * torch.sigmoid(y)
        return self.head(self.second(y).square().amax((2, 3)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "convnext": convnext,
    "vit": vit,
    "torchvision vit": torchvision_vit,
    "torchvision convnext": torchvision_convnext,
    "mobilenet_v3": mobilenet_v3,
    "gated": Gated,
}


def settled(name: str, images: int = 16) -> tuple[nn.Module, Tensor]:
    """A network that tells random images apart, and the images."""
    torch.manual_seed(3)
    module, x = NETS[name](), torch.randn(images, *SHAPE)
    return settle(module, x), x


def settle(module: nn.Module, x: Tensor) -> nn.Module:
    """Give norms the statistics of images and every layer a weight that counts."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.momentum = 1.0
        elif isinstance(child, nn.Linear):
            nn.init.normal_(child.weight, 0, child.in_features**-0.5)
    module.train()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.abs().max() < 1e-2:  # such as the scales of ConvNeXt's shortcuts
                parameter.add_(0.3 * torch.randn(parameter.shape))
        module(x)
    return module.eval()
