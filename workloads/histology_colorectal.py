"""Colorectal histology: eight tissues in 64×64 gray tiles, slides held out whole, another cohort.

A safety-critical application: what the network is unsure of goes to a pathologist (`sigmabench
selective`). The twin is trained first (recipe `twin`); recipe `best` starts from it (MOPED) and
learns σ. Training sees 2,503 tiles of seven slides, with other magnifications, stainings and
lightings than theirs, for other slides have other ones.

The test split is the usual one of this data set, by a hash of the tile's name, and so shares images
with training: of its 622 tiles 508 were cut from an image that training tiles come from too, 109
from one of validation, and 5 from neither. What holds elsewhere is told by `held-out-slides`, whose
1,280 tiles share no image, nor slide, with any other part.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sigmabench.harness.core.deferred import Deferred
from sigmabench.harness.data.tissues import TISSUES
from sigmabench.harness.posterior.augment import (
    Chain,
    Lighting,
    Magnification,
    Staining,
    Symmetries,
)
from sigmabench.harness.posterior.recipe import OneCycle, Recipe
from sigmabench.harness.workload.workload import Workload

if TYPE_CHECKING:
    from torch import Tensor

    from sigmabench.harness.data.histology import Tiles
    from sigmabench.harness.data.splits import Split, Splits

POSTERIORS = Path(__file__).parent / "posteriors"
MEAN, STD = (0.5382,), (0.3003,)
ORDER_SEED = 2016
SLIDES, COHORT = "held-out-slides", "other-cohort"
_VALIDATION = """
    01_006b 01_007 01_017 01_018 01_032 01_035 01_039 01_048 01_050 01b 02_002 02_004 02_006
    02_011 02_013 02_020 02_024 02_034 02_copy 03_004 03_006 03_012 03_034 06_021 06_024 06_028
    06_036 06_037 07_001_copy 07_004 07_013 07_014 07_028 07_029 08 08_006 08_007 08_009 08_011
    08_023 09_002 09_003 09_008 09_011 09_012 09_014 09_015 09_026 09_028
"""
#: Images whose tiles are held out of training: a fifth, stratified by tissue. Drawn once by
#: scikit-learn 1.9's StratifiedGroupKFold, whose shuffle is another one in other versions.
VALIDATION_IMAGES = frozenset(f"CRC-Prim-HE-{image}" for image in _VALIDATION.split())


def splits(root: Path | None) -> Splits:
    """Training and validation parts of seven slides, apart by the image that tiles were cut from;
    622 other tiles of these slides, most of the same images, to test on; 1,280 tiles of three other
    slides; and 84 of another cohort whose tissue is one of the eight, where its file is."""
    from sigmabench.harness.data.histology import no_other_cohort, tiles
    from sigmabench.harness.data.splits import Split, Splits

    found = tiles(root)
    parts = found.parts()
    train, validation = _by_parent(found, parts["rest"])
    sources = _sources(found)

    def part(name: str, index: Tensor) -> Split:
        mixed = index[_mixed(len(index))]
        return Split(
            name,
            found.images[mixed],
            found.labels[mixed],
            MEAN,
            STD,
            len(TISSUES),
            sources=sources[mixed],
        )

    others = {SLIDES: part(SLIDES, parts[SLIDES])}
    absent = no_other_cohort(root)
    if not absent:
        others[COHORT] = _cohort(root)
    return Splits(
        part("train", train),
        part("validation", validation),
        part("test", parts["test"]),
        others,
        {COHORT: absent} if absent else {},
    )


def _cohort(root: Path | None) -> Split:
    from sigmabench.harness.data.histology import other_cohort
    from sigmabench.harness.data.splits import Split

    images, labels = other_cohort(root)
    known = (labels >= 0).nonzero().flatten()
    known = known[_mixed(len(known))]
    return Split(COHORT, images[known], labels[known], MEAN, STD, len(TISSUES))


def _mixed(count: int) -> Tensor:
    """A fixed order of so many tiles. They are stored tissue by tissue, and the first of a part
    (what ranges are calibrated on, what a limit leaves) should be a sample of it."""
    import numpy as np
    import torch

    return torch.from_numpy(np.random.RandomState(ORDER_SEED).permutation(count))


def _sources(found: Tiles) -> Tensor:
    """The image that each tile was cut from, by number."""
    import numpy as np
    import torch

    _, numbers = np.unique(found.parents, return_inverse=True)
    return torch.from_numpy(numbers.astype(np.int64))


def _by_parent(found: Tiles, index: Tensor) -> tuple[Tensor, Tensor]:
    """Indices to train on and to validate on: tiles of one image are never on both sides."""
    import torch

    held = torch.tensor([found.parents[i] in VALIDATION_IMAGES for i in index.tolist()])
    return index[~held], index[held]


AUGMENTATION = Chain(
    (Symmetries(), Magnification(1.25), Staining(1.6), Lighting(brightness=0.1, contrast=0.3))
)

TWIN_RECIPE = Recipe(
    name="twin",
    description="The deterministic twin: one-cycle SGD, weight decay 5e-4.",
    optimizer="sgd",
    lr=0.05,
    weight_decay=5e-4,
    batch=64,
    epochs=100,
    schedule=OneCycle(),
    deterministic=True,
    augmentation=AUGMENTATION,
    precision="bf16",
    threads=1,
)

BEST_RECIPE = Recipe(
    name="best",
    description="MOPED from the twin, one-cycle SGD, prior N(0, 0.06²), KL × 0.005, then σ × 0.8.",
    optimizer="sgd",
    lr=0.05,
    rho_lr=0.01,
    batch=64,
    epochs=80,
    schedule=OneCycle(rise=0.2),
    prior_std=0.06,  # κ / (N s²) is about the twin's weight decay
    kl_temperature=0.005,
    sigma_scale=0.8,  # results/choices/sigma_scale
    initial_std=1e-4,
    delta=0.1,
    augmentation=AUGMENTATION,
    precision="bf16",
    threads=1,
)

DROPOUT_RECIPE = replace(
    TWIN_RECIPE,
    name="dropout",
    description="As `twin`, with dropout and all the epochs of `best` and its twin.",
    epochs=TWIN_RECIPE.epochs + BEST_RECIPE.epochs,
    dropout=0.1,
    dropout_at=("stage3.0.conv2", "stage3.1.conv2", "fc"),
)

WORKLOAD = Workload(
    name="histology-colorectal",
    version="1",
    title="Colorectal histology, 8 tissues (Kather et al. 2016); slides held out, another cohort",
    model=Deferred("sigmabench.workloads.histology_net:HistologyNet"),
    splits=splits,
    input_shape=(1, 64, 64),
    classes=len(TISSUES),
    recipes={recipe.name: recipe for recipe in (BEST_RECIPE, TWIN_RECIPE, DROPOUT_RECIPE)},
    posterior=POSTERIORS / "histology-colorectal.safetensors",
    twin=POSTERIORS / "histology-colorectal-twin.safetensors",
    other_splits=(SLIDES, COHORT),
    class_names=TISSUES,
    split_notes={
        "test": "the data set's usual split, by tile: of its 622 tiles 508 were cut from an image "
        "that training tiles come from too, 109 from one of validation and 5 from neither; "
        "held-out-slides shares none."
    },
    outside=("unseen-tissues",),
    needs_data="the tiles of Zenodo record 53169 under --data; for other-cohort and unseen-tissues "
    "a file made of record 1214456 too",
)
