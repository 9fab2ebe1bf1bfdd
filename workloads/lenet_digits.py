"""A small LeNet on scikit-learn's handwritten digits: runs anywhere, without any download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sigmabench.harness.core.deferred import Deferred
from sigmabench.harness.posterior.augment import RandomAffine
from sigmabench.harness.posterior.recipe import OneCycle, Recipe
from sigmabench.harness.workload.workload import Workload

if TYPE_CHECKING:
    from torch import Tensor

    from sigmabench.harness.data.splits import Split, Splits

POSTERIORS = Path(__file__).parent / "posteriors"
MEAN, STD = (0.305,), (0.376,)
TEST, VALIDATION, SEED = 500, 200, 2021


def splits(root: Path | None = None) -> Splits:
    """1,097 training, 200 validation and 500 test images of 8×8, stratified and seeded.

    Pixels 0…16 are spread over 0…255 (round(v · 255/16)), so that all of uint8 is used. `root` is
    not needed: the images come with scikit-learn (Alpaydin & Kaynak, "Optical recognition of
    handwritten digits", UCI).
    """
    import torch
    from sklearn.datasets import load_digits

    from sigmabench.harness.data.splits import Split, Splits, hold_out

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    others, test = hold_out(labels, TEST, SEED)
    kept, held = hold_out(labels[others], VALIDATION, SEED)

    def part(name: str, index: Tensor) -> Split:
        return Split(name, images[index], labels[index], MEAN, STD, 10)

    return Splits(part("train", others[kept]), part("validation", others[held]), part("test", test))


BEST_RECIPE = Recipe(
    name="best",
    description="Random affine images, one-cycle Adam, KL tempered by 0.001.",
    lr=0.004,
    batch=64,
    epochs=200,
    schedule=OneCycle(),
    kl_temperature=0.001,
    augmentation=RandomAffine(rotation=10, scale=0.1, shift=1),
)

WORKLOAD = Workload(
    name="lenet-digits",
    version="1",
    title="small LeNet on scikit-learn's 8×8 handwritten digits, ready to run",
    model=Deferred("sigmabench.workloads.models:small_lenet"),
    splits=splits,
    input_shape=(1, 8, 8),
    classes=10,
    recipes={BEST_RECIPE.name: BEST_RECIPE},
    posterior=POSTERIORS / "lenet-digits.safetensors",
)
