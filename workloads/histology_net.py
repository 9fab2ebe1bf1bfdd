"""A small residual network for 64×64 gray tiles: 0.39 M weights, three stages of two blocks.

This file needs PyTorch alone, so that other environments can build the same network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .resnet20 import BasicBlock


class HistologyNet(nn.Module):
    """A 5×5 stem of stride 2, a max pool, then stages of 24, 48 and 96 channels on maps of 16×16,
    8×8 and 4×4; blocks as in ResNet-20.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 24, 5, stride=2, padding=2, bias=False)
        self.norm1 = nn.BatchNorm2d(24)
        self.stage1 = nn.Sequential(BasicBlock(24, 24, 1), BasicBlock(24, 24, 1))
        self.stage2 = nn.Sequential(BasicBlock(24, 48, 2), BasicBlock(48, 48, 1))
        self.stage3 = nn.Sequential(BasicBlock(48, 96, 2), BasicBlock(96, 96, 1))
        self.fc = nn.Linear(96, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of tiles [N, 1, 64, 64]."""
        x = torch.relu(self.norm1(self.conv1(x)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
