"""ResNet-20 for 32x32 images (He et al. 2016, "Deep Residual Learning for Image Recognition",
section 4.2): three stages of three blocks at 16, 32 and 64 channels, 0.27 M weights.

Shortcuts between stages are the paper's option A: every second pixel, zero channels around, no
parameters. This file needs PyTorch alone, so that other environments can build the same network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a parameter-free shortcut.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (outputs - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        shortcut = self.shortcut(x)
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + shortcut)

    def shortcut(self, x: Tensor) -> Tensor:
        """Option A, the identity inside a stage."""
        if self.stride == 1 and not self.padding:
            return x
        kept = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, self.padding, self.padding))


class ResNet20(nn.Module):
    """See above. Weights start as in He et al. 2015 (normal, fan-out).

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.stage1 = _stage(16, 16, 1)
        self.stage2 = _stage(16, 32, 2)
        self.stage3 = _stage(32, 64, 2)
        self.fc = nn.Linear(64, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, 32, 32]."""
        x = torch.relu(self.norm1(self.conv1(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    blocks = [BasicBlock(inputs, outputs, stride)]
    blocks += [BasicBlock(outputs, outputs, 1) for _ in range(2)]
    return nn.Sequential(*blocks)
