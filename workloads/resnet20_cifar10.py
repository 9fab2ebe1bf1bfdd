"""ResNet-20 on CIFAR-10, the larger workload of the 2021 paper, and its deterministic twin.

The twin is trained first (recipe `twin`); recipe `best` starts from it (MOPED) and learns σ.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sigmabench.harness.core.deferred import Deferred
from sigmabench.harness.posterior.augment import CropAndFlip
from sigmabench.harness.posterior.recipe import OneCycle, Piecewise, Recipe
from sigmabench.harness.workload.workload import Workload

if TYPE_CHECKING:
    from torch import Tensor

    from sigmabench.harness.data.splits import Split, Splits

POSTERIORS = Path(__file__).parent / "posteriors"
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
VALIDATION, VALIDATION_SEED = 5000, 2021


def splits(root: Path | None) -> Splits:
    """45,000 training, 5,000 validation (stratified, seeded) and the 10,000 test images."""
    from sigmabench.harness.data.cifar import cifar10
    from sigmabench.harness.data.splits import Split, Splits, hold_out

    arrays = cifar10(root)
    images, labels = arrays["train_images"], arrays["train_labels"]
    kept, held = hold_out(labels, VALIDATION, VALIDATION_SEED)

    def part(name: str, pixels: Tensor, classes: Tensor) -> Split:
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

BEST_RECIPE = Recipe(
    name="best",
    description="MOPED from the twin, one-cycle SGD, prior N(0, 0.03²), KL × 0.02, then σ × 0.8.",
    optimizer="sgd",
    lr=0.1,
    rho_lr=0.01,
    batch=128,
    epochs=48,
    schedule=OneCycle(rise=0.2),
    prior_std=0.03,  # κ / (N s²) is the twin's weight decay
    kl_temperature=0.02,
    sigma_scale=0.8,  # results/choices/sigma_scale
    initial_std=1e-4,
    delta=0.1,
    augmentation=CropAndFlip(),
    precision="bf16",
    threads=1,
)

DROPOUT_RECIPE = replace(
    TWIN_RECIPE,
    name="dropout",
    description="As `twin`, with dropout and all the epochs of `best` and its twin.",
    epochs=TWIN_RECIPE.epochs + BEST_RECIPE.epochs,
    dropout=0.1,
    dropout_at=("stage3.0.conv2", "stage3.1.conv2", "stage3.2.conv2", "fc"),
)

WORKLOAD = Workload(
    name="resnet20-cifar10",
    version="1",
    title="ResNet-20 on CIFAR-10 (269,722 weights), the 2021 paper's larger workload",
    model=Deferred("sigmabench.workloads.resnet20:ResNet20"),
    splits=splits,
    input_shape=(3, 32, 32),
    classes=10,
    recipes={
        recipe.name: recipe for recipe in (BEST_RECIPE, TWIN_RECIPE, DROPOUT_RECIPE, PAPER_RECIPE)
    },
    posterior=POSTERIORS / "resnet20-cifar10.safetensors",
    twin=POSTERIORS / "resnet20-cifar10-twin.safetensors",
    paper={
        "FP32": {"accuracy": 91.00, "ece": 1.523, "nll": 0.263, "brier": 0.130},
        "INT8": {"accuracy": 90.87, "ece": 2.001, "nll": 0.269, "brier": 0.132},
        "INT8_SIGMA4": {"accuracy": 90.92, "ece": 1.778, "nll": 0.266, "brier": 0.131},
        "INT8_SIGMA2": {"accuracy": 90.85, "ece": 2.547, "nll": 0.273, "brier": 0.134},
        "INT8_SIGMA1": {"accuracy": 90.96, "ece": 0.711, "nll": 0.266, "brier": 0.130},
    },
    official_corruptions="CIFAR-10-C",
    class_names=CLASSES,
    needs_data="CIFAR-10, downloaded by torchvision or read from cifar10.npz under --data",
)
