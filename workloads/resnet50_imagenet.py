"""ResNet-50 on ImageNet, the 2023 paper's network: torchvision's, its posterior by MOPED."""

from __future__ import annotations

from functools import partial

from sigmabench.harness.images import Crop

from .imagenet import classifier, torchvision_files, torchvision_network, torchvision_pretrained

WEIGHTS = "IMAGENET1K_V1"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

WORKLOAD = classifier(
    "resnet50-imagenet",
    "ResNet-50 on ImageNet (25.6 M weights), MOPED, the 2023 paper's workload",
    partial(torchvision_network, "resnet50"),
    partial(torchvision_pretrained, "resnet50", WEIGHTS),
    torchvision_files("resnet50", WEIGHTS),
    Crop(224, 256),
    (MEAN, STD),
    delta=0.05,
)
