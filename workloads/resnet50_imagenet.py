"""ResNet-50 on ImageNet, the 2023 paper's network: torchvision's, its posterior by MOPED.

Without a recipe σ = δ·|w| as it is. Both recipes need training images: `norms` keeps these σ and
fits batch norm to the sampled weights, `rho` learns σ alone by the ELBO first.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sigmabench.harness.data.images import Crop
from sigmabench.harness.posterior.recipe import OneCycle, Recipe

from .imagenet import classifier, torchvision_files, torchvision_pretrained
from .networks import torchvision_network

WEIGHTS = "IMAGENET1K_V1"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

DELTA = 0.05

NORMS_RECIPE = Recipe(
    name="norms",
    description="MOPED's σ = δ·|w|, batch norm fitted to the sampled weights; nothing is learned.",
    delta=DELTA,
    epochs=0,
    norm_passes=1,
    batch=64,
    threads=2,
)

RHO_RECIPE = replace(
    NORMS_RECIPE,
    name="rho",
    description="From MOPED, ρ alone by one epoch of Adam, prior N(0, 0.03²), KL × 0.02; norms.",
    lr=0.01,
    epochs=1,
    schedule=OneCycle(),
    prior_std=0.03,
    kl_temperature=0.02,
    mean_fixed=True,
    initial_std=1e-5,
)

WORKLOAD = classifier(
    "resnet50-imagenet",
    "ResNet-50 on ImageNet (25.6 M weights), MOPED, the 2023 paper's workload",
    partial(torchvision_network, "resnet50"),
    partial(torchvision_pretrained, "resnet50", WEIGHTS),
    torchvision_files("resnet50", WEIGHTS),
    Crop(224, 256),
    (MEAN, STD),
    delta=DELTA,
    recipes=(NORMS_RECIPE, RHO_RECIPE),
)
