"""ImageNet-1k on disk, and weights trained on it. Under the data root:

    imagenet/calibration    training images to calibrate on (also `train`)
    imagenet/validation     to choose by; without it, training images held out, or if there are
                            too few of them, the calibration images themselves
    imagenet/test           to score (also `val`)
    weights/torchvision-resnet50-IMAGENET1K_V2.safetensors    one collection's, one version
    weights/resnet50.safetensors                              where there is no such file

Each part is a folder or a `.tar` as in `images`: with `labels.csv`, or a folder for each class,
called by its WordNet id as in the original.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import UserError, first_line
from ..core.whole import text_path
from .root import DATA_VARIABLE, data_root

if TYPE_CHECKING:
    from ..core.archive import Archive
    from .images import Crop
    from .splits import Split, Splits

if TYPE_CHECKING:
    from torch import Tensor, nn

CLASSES = 1000
_PIECE = 1 << 20
FOLDER, WEIGHTS = "imagenet", "weights"
#: A part to the names that its folder or tar may have.
PARTS = {
    "train": ("calibration", "train"),
    "validation": ("validation",),
    "test": ("test", "val"),
}
ORDER_SEED = 1000
#: Training images that are never held out; the fewest and the most that are.
KEPT, HELD_OUT_LEAST, HELD_OUT = 1024, 500, 5000


def splits(
    root: Path | None, crop: Crop, mean: tuple[float, ...], std: tuple[float, ...]
) -> Splits:
    """The parts, images decoded when they are asked for. Those of each part are in a seeded random
    order, so that the first ones are of all classes.

    Args:
        root: data root, see `splits.data_root`.
        crop: what becomes of an image.
        mean: per channel, of pixel / 255.
        std: per channel, of pixel / 255.

    Raises:
        UserError: there is no data root, a part is missing, or its labels do not fit.
    """
    import torch

    from .images import labelled
    from .splits import Split, Splits

    home = data_root(root)
    if home is None:
        raise UserError(
            f"There is no data directory; put ImageNet into {FOLDER}/ under one named by --data or "
            f"{DATA_VARIABLE}."
        )

    def part(name: str) -> Split | None:
        archive = _archive(home / FOLDER, PARTS[name])
        if archive is None:
            return None
        images, labels = labelled(archive, synsets(), crop)
        order = np.random.RandomState(ORDER_SEED).permutation(len(images))  # its stream is frozen
        return Split(name, images, labels, mean, std, CLASSES).take(torch.from_numpy(order))

    train, test = part("train"), part("test")
    for name, found in (("train", train), ("test", test)):
        if found is None:
            known = " or ".join(PARTS[name])
            raise UserError(
                f"There is no folder or .tar {known} in {home / FOLDER}; put images with "
                "labels.csv, or one folder per class, there."
            )
    assert train is not None
    assert test is not None
    validation = part("validation")
    if validation is not None:
        return Splits(train, validation, test)
    train, validation = _held_out(train)  # of images that published weights were trained on
    return Splits(train, validation, test, held_out=False)


def _held_out(train: Split) -> tuple[Split, Split]:
    """Training and validation images; the same ones where there are too few to part them."""
    held = min(len(train) - KEPT, HELD_OUT)
    if held < HELD_OUT_LEAST:
        told = f"validation images are training images too: {len(train)} are too few to part"
        return train, replace(train, name="validation", findings=(*train.findings, told))
    return train.take(slice(-held)), replace(train.take(slice(-held, None)), name="validation")


def _archive(home: Path, names: Sequence[str]) -> Archive | None:
    from ..core.archive import open_archive

    for name in names:
        for path in (home / name, home / f"{name}.tar"):
            if path.exists():
                return open_archive(path)
    return None


@cache
def synsets() -> tuple[str, ...]:
    """WordNet ids of the 1,000 classes, in the order of labels."""
    return tuple(Path(__file__).with_name("imagenet_synsets.txt").read_text("ascii").split())


def with_weights(
    network: nn.Module,
    names: Sequence[str],
    root: Path | None,
    download: Callable[[], dict[str, Tensor]],
) -> nn.Module:
    """`network` with weights from `weights/NAME.safetensors` in the data root, else downloaded.

    Args:
        network: takes the weights, in place.
        names: of the file, without its ending; the first that is there is taken.
        root: data root, see `splits.data_root`.
        download: fetches the state dictionary from its hub.

    Raises:
        UserError: the file is damaged or of another architecture, or nothing can be downloaded.
    """
    path = _weights_file(names, root)
    if path is not None:
        network.load_state_dict(_fitting(_read(path), network, path))
        return network
    try:
        state = download()
    except UserError:
        raise
    except Exception as reason:  # hubs fail in many ways
        raise UserError(
            f"The weights {names[0]} cannot be downloaded ({first_line(reason)}); put "
            f"{WEIGHTS}/{names[0]}.safetensors into a directory named by --data or {DATA_VARIABLE}."
        ) from None
    network.load_state_dict(state)
    return network


def check_hash_in_name(path: Path) -> None:
    """Hold a file against the first digits of its SHA-256 in its name (`resnet50-0676ba61.pth`).

    Args:
        path: of the file; one that is not there, or whose name has no such digits, passes.

    Raises:
        UserError: they differ, or the file cannot be read.
    """
    told = re.search(r"-([0-9a-f]{8,64})\.", path.name)
    if told is None or not path.is_file():
        return
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as reason:
        raise UserError(f"{path} cannot be read ({reason.strerror}); delete it.") from None
    found = digest.hexdigest()
    if not found.startswith(told[1]):
        raise UserError(
            f"{path} is not what was published: its SHA-256 begins with {found[:8]}, not with "
            f"{told[1]}; delete it, and it is fetched again."
        )


def weights_origin(names: Sequence[str], root: Path | None) -> str:
    """Where `with_weights` takes the weights from, in words.

    Args:
        names: as `with_weights`.
        root: as `with_weights`.
    """
    path = _weights_file(names, root)
    return f"{WEIGHTS}/{path.name}" if path is not None else f"their hub ({names[0]})"


def files_of(names: Sequence[str], root: Path | None) -> list[Path]:
    """Where images and weights are read from; nothing where the weights come from their hub.

    Args:
        names: as `with_weights`.
        root: as `with_weights`.
    """
    home, weights = data_root(root), _weights_file(names, root)
    return [] if home is None or weights is None else [home / FOLDER, weights]


def _weights_file(names: Sequence[str], root: Path | None) -> Path | None:
    home = data_root(root)
    if home is None:
        return None
    paths = [home / WEIGHTS / f"{name}.safetensors" for name in names]
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path) -> dict[str, Tensor]:
    import safetensors.torch

    try:
        with text_path(path) as name:
            return safetensors.torch.load_file(name)
    except (safetensors.SafetensorError, OSError, ValueError) as reason:
        raise UserError(f"{path} cannot be read ({reason}); fetch it again.") from None


def _fitting(found: dict[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """The tensors, if they are the network's; counters of batch norm may be missing."""
    import torch

    own = network.state_dict()
    way_out = "give weights of this architecture, under its own names."
    for name, tensor in own.items():
        if name not in found:
            if not tensor.is_floating_point():
                found[name] = tensor
                continue
            raise UserError(f"{path} lacks {name}; {way_out}")
        if found[name].shape != tensor.shape:
            raise UserError(
                f"{name} in {path} has shape {list(found[name].shape)} and the network's "
                f"{list(tensor.shape)}; {way_out}"
            )
        if found[name].is_floating_point() and not torch.isfinite(found[name]).all():
            raise UserError(f"{name} in {path} holds NaN or infinity; fetch it again.")
    foreign = sorted(set(found) - set(own))
    if foreign:
        raise UserError(f"{path} has {foreign[0]}, which the network lacks; {way_out}")
    return found
