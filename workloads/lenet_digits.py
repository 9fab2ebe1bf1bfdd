"""A small LeNet on scikit-learn's handwritten digits: runs anywhere, without any download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sigmabench.harness.core.deferred import Deferred
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior.augment import RandomAffine
from sigmabench.harness.posterior.recipe import OneCycle, Recipe
from sigmabench.harness.workload.workload import Workload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
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

    from sigmabench.harness.data.splits import Split, Splits, hold_out

    rows = torch.from_numpy(_rows())
    images = rows[:, :64].reshape(-1, 1, 8, 8).mul(255 / 16).round().to(torch.uint8)
    labels = rows[:, 64].long()
    others, test = hold_out(labels, TEST, SEED)
    kept, held = hold_out(labels[others], VALIDATION, SEED)

    def part(name: str, index: Tensor) -> Split:
        return Split(name, images[index], labels[index], MEAN, STD, 10)

    return Splits(part("train", others[kept]), part("validation", others[held]), part("test", test))


def _rows() -> NDArray[np.float64]:
    """[1797, 65]: pixels and label of each image, as `load_digits` reads them. To import that would
    load an OpenMP runtime of its own beside PyTorch's."""
    import numpy as np

    spec = find_spec("sklearn")
    homes = [] if spec is None else spec.submodule_search_locations or []
    for home in homes:
        path = Path(home) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return np.loadtxt(path, delimiter=",")
    raise UserError(
        "There is no datasets/data/digits.csv.gz in an installed scikit-learn; pip install "
        "--force-reinstall scikit-learn."
    )


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
