"""Images and labels in memory: one split, three splits, MNIST, and where data is looked for."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import DeclarationError, UserError
from ..core.whole import content_hash
from ..core.words import plural
from ..machine.torch_state import plain
from .given import GivenLabels, as_labels, as_tensor
from .images import Images
from .root import DATA_VARIABLE, cache_root, data_root

CALIBRATION_IMAGES = 1024
_AT_ONCE = 256  # images decoded


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images of one part of a data set.

    Attributes:
        name: `train`, `validation` or `test`.
        images: [N, C, H, W] uint8, in memory or made when they are indexed; given as a tensor or
            a NumPy array.
        labels: [N] int64, from 0 to `classes` − 1; given as a tensor, an array or a list of
            integers.
        mean: per channel, of pixel / 255.
        std: per channel, of pixel / 255.
        classes: number of classes.
        skipped: names of images that were left out because they cannot be read.
        sources: [N] int64, what each image was cut from, where several images have one source and
            are no independent samples; None where each is its own.
        findings: what a reader of its scores should know.
    """

    name: str
    images: Tensor | Images
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    skipped: tuple[str, ...] = ()
    sources: Tensor | None = None
    findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._take_over()
        count = len(self.images)
        if count == 0:
            raise DeclarationError(f"The {self.name} split holds no image; give it at least one.")
        if self.images.dtype != torch.uint8 or len(self.images.shape) != 4:
            raise DeclarationError(
                f"The {self.name} split's images are {self.images.dtype} of shape "
                f"{tuple(self.images.shape)}; give uint8 of shape [N, C, H, W]."
            )
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise DeclarationError(
                f"The {self.name} split's labels are {self.labels.dtype} of shape "
                f"{list(self.labels.shape)}; give integers of shape [{count}], a class for each "
                "image."
            )
        if len(self.labels) != count:
            raise DeclarationError(
                f"The {self.name} split has {plural(count, 'image')} and "
                f"{plural(len(self.labels), 'label')}; give one label for each image."
            )
        if self.sources is not None and self.sources.shape != (count,):
            raise DeclarationError(
                f"The {self.name} split has {plural(count, 'image')} and sources of shape "
                f"{tuple(self.sources.shape)}; give one source for each image, or none."
            )
        self._check_labels()
        self._check_scale()

    def _take_over(self) -> None:
        """Make tensors of what came as arrays and lists.

        Raises:
            DeclarationError: no tensor can be made of it.
        """
        part, found = f"The {self.name} split's", {}
        try:
            if isinstance(self.images, Tensor | np.ndarray) or not hasattr(self.images, "take"):
                wanted = "uint8 of shape [N, C, H, W], a torch.Tensor or a NumPy array"
                found["images"] = as_tensor(self.images, f"{part} images", wanted)
            found["labels"] = as_labels(self.labels, f"{part} labels")
            if self.sources is not None:
                found["sources"] = as_labels(self.sources, f"{part} sources")
        except UserError as reason:
            raise DeclarationError(str(reason)) from None
        for name, tensor in found.items():
            object.__setattr__(self, name, tensor)

    def _check_labels(self) -> None:
        wrong = self.labels[(self.labels < 0) | (self.labels >= self.classes)]
        if len(wrong):
            raise DeclarationError(
                f"The {self.name} split has label {int(wrong[0])}; labels of "
                f"{plural(self.classes, 'class', 'classes')} run from 0 to {self.classes - 1}."
            )

    def _check_scale(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            wrong = [value for value in values if not 0 <= value <= 1]  # NaN too
            if name == "std":
                wrong += [value for value in values if value == 0]
            if wrong:
                raise DeclarationError(
                    f"{name} of the {self.name} split has {wrong[0]}; give shares of pixel / 255, "
                    f"{'above' if name == 'std' else 'from'} 0 up to 1."
                )

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: slice | Tensor) -> Tensor:
        """The chosen images as [B, C, H, W] float32 in [0, 1]."""
        return self.images[index].float().div_(255)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(pixels − mean) / std per channel; [B, C, H, W] float32, contiguous."""
        shape = (1, -1, 1, 1)
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=pixels.device).view(shape)
            for values in (self.mean, self.std)
        )
        return ((pixels - mean) / std).contiguous()

    @plain
    def batch(self, index: slice | Tensor) -> Tensor:
        """The chosen images, normalised: the network's input, [B, C, H, W] float32, contiguous."""
        return self.normalise(self.pixels(index))

    def limit(self, count: int | None) -> Split:
        """The first `count` images (all of them when None or more than there are)."""
        if count is None:
            return self
        if count < 1:
            raise UserError(f"The limit on images is {count}; give at least 1.")
        return self.take(slice(count))

    def take(self, index: slice | Tensor) -> Split:
        """The chosen images, none of them decoded."""
        images = self.images
        chosen = images[index] if isinstance(images, Tensor) else images.take(index)
        sources = None if self.sources is None else self.sources[index]
        return replace(self, images=chosen, labels=self.labels[index], sources=sources)

    def digest(self) -> str:
        """64 hex digits of all that the network gets from it: images, labels and sources in their
        order, by which records are paired image by image, and how images become its input."""
        facts: dict[str, object] = {
            "shape": list(self.images.shape),
            "mean": self.mean,
            "std": self.std,
            "classes": self.classes,
        }
        arrays = {"labels": self.labels}
        if self.sources is not None:
            arrays["sources"] = self.sources
        if isinstance(self.images, Tensor):
            arrays["images"] = self.images
        else:
            facts["images"] = self.images.identity()
        raw = {name: value.contiguous().numpy().data for name, value in arrays.items()}
        return content_hash(json.dumps(facts, sort_keys=True), raw)

    def readable(self, advance: Callable[[int], None] | None = None) -> Split:
        """Without images that cannot be decoded; their names are added to `skipped`.

        Images in files are all read once for this; those in memory need not be tried.

        Args:
            advance: told now and then how many more images were tried.

        Raises:
            UserError: none can be read.
        """
        if isinstance(self.images, Tensor):
            return self
        good = self.images.readable(advance)
        if all(good):
            return self
        lost = tuple(n for n, kept in zip(self.images.names, good, strict=True) if not kept)
        if not any(good):
            raise UserError(
                f"The {self.name} split has {plural(len(good), 'image')}, none of which can be "
                f"read, such as {lost[0]}; give images that Pillow opens."
            )
        index = torch.tensor(good).nonzero().flatten()
        return replace(self.take(index), skipped=(*self.skipped, *lost))

    def in_memory(self) -> Split:
        """With all images decoded, one byte per number.

        Raises:
            UserError: one cannot be read; `readable` leaves those out.
        """
        if isinstance(self.images, Tensor):
            return self
        made = torch.empty(self.images.shape, dtype=self.images.dtype)
        for at in range(0, len(self), _AT_ONCE):
            made[at : at + _AT_ONCE] = self.images[at : at + _AT_ONCE]
        return replace(self, images=made)


@dataclass(frozen=True)
class Splits:
    """The parts. Choices are made on `validation`; `test` and `others` are scored once.

    Attributes:
        train: to learn and to calibrate from.
        validation: to choose by.
        test: of the same distribution.
        others: further test sets by name (`Workload.other_splits`).
        absent: those of them whose data are not there, by name: why, a sentence.
        held_out: whether no network of the workload was trained on validation images.
    """

    train: Split
    validation: Split
    test: Split
    others: Mapping[str, Split] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    held_out: bool = True

    @cached_property
    def calibration(self) -> Split:
        """The first training images, at most `CALIBRATION_IMAGES`, less those that cannot be read.

        Raises:
            UserError: none can be read.
        """
        return self.train.limit(CALIBRATION_IMAGES).readable()

    def scored(self, name: str) -> Split:
        """The part to score on: `validation`, `test` or one of `others`.

        Raises:
            UserError: it is absent.
        """
        if name in self.absent:
            raise UserError(self.absent[name])
        return {"validation": self.validation, "test": self.test, **self.others}[name]


@plain
def hold_out(labels: GivenLabels, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split the indices of `labels` in two, stratified by class, the same way everywhere.

    The images are those of scikit-learn's `train_test_split(test_size=count, stratify=labels)`,
    whose draws are written down here: they no longer depend on its version, and its library, which
    loads an OpenMP runtime of its own beside PyTorch's, stays out of the process.

    Args:
        labels: [N] integers: a tensor, an array or a list.
        count: how many to hold out.
        seed: of the NumPy generator whose stream is frozen for good (`RandomState`).

    Returns:
        Sorted indices [N − count] that are kept and [count] that are held out, int64.

    Raises:
        UserError: a class has fewer than two images, or either part fewer images than there are
            classes.
    """
    _, number, sizes = np.unique(as_labels(labels).numpy(), return_inverse=True, return_counts=True)
    images, classes = len(number), len(sizes)
    if not classes or sizes.min() < 2 or not classes <= count <= images - classes:
        raise UserError(
            f"{count} of {plural(images, 'image')} in {plural(classes, 'class', 'classes')} cannot "
            "be held out by class; each class needs two images, and each part as many images as "
            "there are classes."
        )
    draws = np.random.RandomState(seed)
    kept = _shares(sizes, images - count, draws)
    held = _shares(sizes - kept, count, draws)
    ends = np.cumsum(sizes)[:-1]
    members = np.split(np.argsort(number, kind="stable"), ends)
    mixed = [own[draws.permutation(len(own))] for own in members]
    parts = (
        [own[:first] for own, first in zip(mixed, kept, strict=True)],
        [own[a : a + b] for own, a, b in zip(mixed, kept, held, strict=True)],
    )
    first, second = (torch.from_numpy(np.sort(np.concatenate(part))) for part in parts)
    return first, second


def _shares(
    sizes: NDArray[np.int64], count: int, draws: np.random.RandomState
) -> NDArray[np.int64]:
    """How many of each class `count` images are, in proportion; what rounding down leaves goes to
    the largest remainders, and ties among these are drawn. int64, as `sizes`."""
    exact = sizes / sizes.sum() * count
    whole = np.floor(exact)
    left, rest = int(count - whole.sum()), exact - whole
    for remainder in np.unique(rest)[::-1]:
        if left == 0:
            break
        (tied,) = np.where(rest == remainder)
        chosen = draws.choice(tied, size=min(len(tied), left), replace=False)
        left -= len(chosen)
        whole[chosen] += 1
    return whole.astype(np.int64)


MNIST_FILES = {
    "train-images-idx3-ubyte": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", (60000, 28, 28)),
    "train-labels-idx1-ubyte": ("d53e105ee54ea40749a09fcbcd1e9432", (60000,)),
    "t10k-images-idx3-ubyte": ("9fb629c4189551a2d022fa330f9573f3", (10000, 28, 28)),
    "t10k-labels-idx1-ubyte": ("ec29112dd5afa0611ce80d1b7f02629c", (10000,)),
}
"""MNIST's four files: MD5 of the .gz (as torchvision has them) and the array's shape."""

_GET_MNIST = (
    "put the four MNIST .gz files into MNIST/raw under a directory named by --data or "
    f"{DATA_VARIABLE}, or name none and let torchvision download them"
)


def mnist(root: Path | None) -> dict[str, Tensor]:
    """MNIST's four arrays, by the names of `MNIST_FILES`, uint8.

    The .gz files (or the unpacked ones) are read in place from `MNIST/raw` under the data root;
    nothing is written there. Without a root, torchvision downloads into `cache_root()` once.

    Raises:
        UserError: the files are missing, damaged, or cannot be downloaded.
    """
    named = data_root(root)
    raw = (named or cache_root()) / "MNIST" / "raw"
    if named is None and not all(_find(raw, name) for name in MNIST_FILES):
        _download_mnist(cache_root())
    return {name: _read_idx(raw, name, md5, shape) for name, (md5, shape) in MNIST_FILES.items()}


def _find(raw: Path, name: str) -> Path | None:
    for candidate in (raw / f"{name}.gz", raw / name):
        if candidate.is_file():
            return candidate
    return None


def _download_mnist(root: Path) -> None:
    from torchvision.datasets import MNIST

    try:
        MNIST(str(root), download=True)
    except (OSError, RuntimeError) as reason:
        raise UserError(f"MNIST cannot be downloaded to {root} ({reason}); {_GET_MNIST}.") from None


def _read_idx(raw: Path, name: str, md5: str, shape: tuple[int, ...]) -> Tensor:
    """Read one idx file (two zero bytes, type, rank, big-endian sizes, then uint8 data)."""
    path = _find(raw, name)
    if path is None:
        raise UserError(f"There is no {name}.gz in {raw}; {_GET_MNIST}.")
    data = path.read_bytes()
    damaged = UserError(f"{path} is not MNIST's file or is damaged; fetch it again.")
    if path.suffix == ".gz":
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
            raise damaged
        data = gzip.decompress(data)
    header = np.array([0x0800 + len(shape), *shape], dtype=">u4").tobytes()
    if not data.startswith(header) or len(data) != len(header) + int(np.prod(shape)):
        raise damaged
    pixels = np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)
    return torch.from_numpy(pixels.copy())
