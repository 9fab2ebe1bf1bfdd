"""A workload of image files: a small network on pictures of two of ImageNet's classes."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
from torch import nn

from sigmabench.harness.data.imagenet import CLASSES, with_weights
from sigmabench.harness.data.images import Crop
from sigmabench.workloads.imagenet import classifier

FILES = ("toy-v1", "toy")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def network() -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 8, 3, stride=2, bias=False),
            norm=nn.BatchNorm2d(8),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(8, CLASSES),
        )
    ).eval()


def downloaded() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return network().state_dict()


def pretrained(root: Path | None) -> nn.Module:
    return with_weights(network(), FILES, root, downloaded)


WORKLOAD = classifier(
    "imagenet-toy",
    "pictures of two classes",
    network,
    partial(pretrained),
    FILES,
    Crop(16, 18),
    (MEAN, STD),
    delta=0.1,
)
