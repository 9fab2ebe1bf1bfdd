"""ResNet-20 on CIFAR-10, the larger workload of the 2021 paper, and its deterministic twin.

The twin is trained first (recipe `twin`); recipe `best` starts from it (MOPED) and learns σ.
"""

from __future__ import annotations

from pathlib import Path

import torch

from sigmabench.harness.cifar import cifar10
from sigmabench.harness.data import Split, Splits, hold_out
from sigmabench.harness.posterior.augment import CropAndFlip
from sigmabench.harness.posterior.recipe import OneCycle, Piecewise, Recipe
from sigmabench.harness.workload import Workload

from .resnet20 import ResNet20

POSTERIORS = Path(__file__).parent / "posteriors"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
VALIDATION, VALIDATION_SEED = 5000, 2021


def splits(root: Path | None) -> Splits:
    """45,000 training, 5,000 validation (stratified, seeded) and the 10,000 test images."""
    arrays = cifar10(root)
    images, labels = arrays["train_images"], arrays["train_labels"]
    kept, held = hold_out(labels, VALIDATION, VALIDATION_SEED)

    def part(name: str, pixels: torch.Tensor, classes: torch.Tensor) -> Split:
        return Split(name, pixels, classes, MEAN, STD, 10)

    return Splits(
        part("train", images[kept], labels[kept]),
        part("validation", images[held], labels[held]),
        part("test", arrays["test_images"], arrays["test_labels"]),
    )


PAPER_RECIPE = Recipe(
    name="paper",
    description="The 2021 paper's: Adam, 200 epochs, the full KL.",
    lr=0.001,
    batch=128,
    epochs=200,
    schedule=Piecewise((80, 120, 160, 180), (0.1, 0.01, 0.001, 0.0005)),
    augmentation=CropAndFlip(),
    precision="bf16",
    threads=1,
)

TWIN_RECIPE = Recipe(
    name="twin",
    description="The deterministic twin: one-cycle SGD, weight decay 5e-4.",
    optimizer="sgd",
    lr=0.1,
    weight_decay=5e-4,
    batch=128,
    epochs=28,
    schedule=OneCycle(),
    deterministic=True,
    augmentation=CropAndFlip(),
    precision="bf16",
    threads=1,
)

WORKLOAD = Workload(
    name="resnet20-cifar10",
    version="1",
    title="ResNet-20 on CIFAR-10 (269,722 weights), the 2021 paper's larger workload",
    model=ResNet20,
    splits=splits,
    input_shape=(3, 32, 32),
    classes=10,
    recipes={recipe.name: recipe for recipe in (PAPER_RECIPE, TWIN_RECIPE)},
    needs_data="CIFAR-10, downloaded by torchvision or read from cifar10.npz under --data",
)
