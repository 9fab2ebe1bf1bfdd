"""Where the corrupted copy of a split comes from: published arrays or files, or `corrupt`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.archive import Folder, open_archive
from ..core.contents import digests
from ..core.errors import UserError, first_line
from ..data.arrays import planes
from ..data.images import ImageFiles, Images
from ..data.root import data_root
from ..data.splits import Split
from .registered import (
    CLEAN,
    CORRUPTIONS,
    GENERATED,
    NONE,
    OFFICIAL,
    SEVERITIES,
    check_severity,
    corrupt,
)


def shifted(
    split: Split,
    corruption: str,
    severity: int,
    *,
    seed: int = 0,
    root: Path | None = None,
    official: str | None = None,
) -> tuple[Split, str]:
    """The corrupted copy of a split, and where it came from.

    The published images of a test split are taken where the data root has them in the directory
    `official`: `<type>.npy` beside `labels.npy`, [5 N, H, W, C] uint8 with all N images of severity
    1 first, in the order of the split (CIFAR-10-C); or image files `<type>/<severity>/.../NAME`,
    called as the split's are (ImageNet-C). All other copies are generated.

    Args:
        split: clean images; of a test split its first ones, in order.
        corruption: a name of `CORRUPTIONS`, or `none`.
        severity: 1 … 5; 0 of `none`.
        seed: of generated images.
        root: data root, see `splits.data_root`.
        official: directory of the published images under the data root, such as `CIFAR-10-C`.

    Returns:
        The split with other images, and `clean`, `official` or `generated`.

    Raises:
        UserError: there is no such corruption or severity, or the published arrays do not fit.
    """
    if corruption == NONE:
        if severity != 0:
            raise UserError(f"The severity of corruption {NONE} is {severity}; it has 0 alone.")
        return split, CLEAN
    CORRUPTIONS.get(corruption)
    check_severity(severity)
    published = published_file(split.name, corruption, root=root, official=official)
    if published is not None:
        return _published(split, published, severity), OFFICIAL
    if isinstance(split.images, torch.Tensor):
        images = corrupt(split.images, corruption, severity, seed=seed, root=root)
        return replace(split, images=images), GENERATED
    places = torch.arange(len(split))
    made = Corrupted(split.images, places, corruption, severity, seed, root)
    return replace(split, images=made), GENERATED


@dataclass(frozen=True, eq=False)
class Corrupted:
    """See `Images`: corrupted copies of others, made with them.

    Attributes:
        images: the clean ones.
        places: [N] their indices in the split, as `corrupt` takes them.
        corruption: a name of `CORRUPTIONS`.
        severity: 1 … 5.
        seed: of the copies.
        root: as `corrupt`.
    """

    images: Images
    places: Tensor
    corruption: str
    severity: int
    seed: int
    root: Path | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """See `Images`."""
        return self.images.shape

    @property
    def dtype(self) -> torch.dtype:
        """See `Images`."""
        return self.images.dtype

    @property
    def names(self) -> Sequence[str]:
        """See `Images`."""
        return self.images.names

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Tensor:
        """See `Images`."""
        return corrupt(
            self.images[index],
            self.corruption,
            self.severity,
            seed=self.seed,
            indices=self.places[index],
            root=self.root,
        )

    def take(self, index: slice | Tensor | Sequence[int]) -> Corrupted:
        """See `Images`."""
        return replace(self, images=self.images.take(index), places=self.places[index])

    def identity(self) -> dict[str, Any]:
        """See `Images`."""
        return {
            "of": self.images.identity(),
            "corruption": [self.corruption, self.severity, self.seed],
            "places": self.places.tolist(),
        }

    def readable(self, advance: Callable[[int], None] | None = None) -> tuple[bool, ...]:
        """See `Images`."""
        return self.images.readable(advance)


def published_file(
    split: str, corruption: str, *, root: Path | None, official: str | None
) -> Path | None:
    """The file or folder of published images that `shifted` takes, None where it generates them.

    Args:
        split: name of the split.
        corruption: a name of `CORRUPTIONS`.
        root: as `shifted`.
        official: as `shifted`.
    """
    home = data_root(root)
    if official is None or home is None or split != "test":
        return None
    array, folder = home / official / f"{corruption}.npy", home / official / corruption
    if array.is_file():
        return array
    return folder if folder.is_dir() else None


def published_identity(path: Path, severity: int, clean: Split | None = None) -> str:
    """`official` and a digest of what is published: of the whole file, or of the images of a folder
    that stand for those of the split.

    Args:
        path: as `published_file` gives it.
        severity: 1 … 5.
        clean: the split; needed for a folder alone.

    Raises:
        UserError: images of the split are missing in the folder.
    """
    if path.is_dir():
        if clean is None:
            raise ValueError("the split says which images of a folder count")
        found = _published_files(clean, path, severity).digest()
    else:
        (found,) = digests(Folder(path.parent), [path.name])
    return f"{OFFICIAL} {found[:12]}"


def _published_files(split: Split, folder: Path, severity: int) -> Split:
    """The split with the published files of one severity, found by their names."""
    clean = split.images
    if not isinstance(clean, ImageFiles):
        raise UserError(
            f"{folder} holds image files, but the {split.name} split is not a set of files; give "
            f"{folder.name}.npy and labels.npy instead, or remove it."
        )
    archive = open_archive(folder / str(severity))
    there = {Path(name).name: name for name in archive.names}
    lacking = [name for name in clean.names if Path(name).name not in there]
    if lacking or len(there) < len(archive.names):
        wrong = (
            f"lacks {Path(lacking[0]).name} of the {split.name} split"
            if lacking
            else "has files of the same name"
        )
        raise UserError(f"{archive.path} {wrong}; fetch it again, or remove it.")
    names = tuple(there[Path(name).name] for name in clean.names)
    images = ImageFiles(archive, names, replace(clean.crop, resize=clean.crop.size))
    size, wanted = images.stored_size(0), clean.crop.size
    if size != (wanted, wanted):  # they are published cut out already
        raise UserError(
            f"The images in {archive.path} have {size[0]}×{size[1]} pixels, but the network takes "
            f"{wanted}×{wanted}; rename {folder}, and corruptions are made of the clean images."
        )
    return replace(split, images=images)


def _published(split: Split, path: Path, severity: int) -> Split:
    """The split with the published images of one severity."""
    if path.is_dir():
        return _published_files(split, path, severity)
    images, labels = _open(path), _open(path.with_name("labels.npy"))
    channels, height, width = split.images.shape[1:]
    whole = len(images) // len(SEVERITIES) if images.ndim else 0
    if images.shape != (len(SEVERITIES) * whole, height, width, channels) or whole < len(split):
        raise UserError(
            f"{path} holds {images.dtype} of shape {images.shape}; give images of shape [5 N, "
            f"{height}, {width}, {channels}] with N at least {len(split)}, or remove it."
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise UserError(
            f"{path.with_name('labels.npy')} holds {labels.dtype} of shape {labels.shape}; give "
            f"{len(images)} whole numbers, one for each image of {path.name}."
        )
    first = (severity - 1) * whole
    block = slice(first, first + len(split))
    if (labels.reshape(len(SEVERITIES), whole) != labels[:whole]).any():
        raise UserError(
            f"{path.with_name('labels.npy')} does not repeat the same {whole} labels for each "
            "severity; it is cut short or of another layout, fetch it again."
        )
    if not np.array_equal(labels[block], split.labels.numpy()):
        raise UserError(
            f"The labels in {path.with_name('labels.npy')} are not those of the test split; put "
            "the arrays of this data set, in its order, there."
        )
    return replace(split, images=planes(np.array(images[block]), f"The array in {path}"))


def _open(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as reason:  # NumPy's reader raises many kinds on damaged files
        told = first_line(reason)
        raise UserError(f"{path} cannot be read as an array ({told}); fetch it again.") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} is an archive, not one array; give an .npy file.")
    return array
