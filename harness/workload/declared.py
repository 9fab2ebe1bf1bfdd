"""What a workload declares, held against its data and its network before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..core.errors import DeclarationError, UserError, first_line, quiet
from ..data.splits import Split, Splits
from ..machine.torch_state import plain

if TYPE_CHECKING:
    from .workload import Workload

_IMAGES = 2  # that go through the network
_TRIED = 8  # images of which some are perhaps unreadable
_ONE = 1e-3  # how near to 1 a sum of probabilities in half precision is


def splits_of(workload: Workload, data: Path | str | None) -> Splits:
    """The workload's splits, checked against what it declares.

    Args:
        workload: as it was resolved.
        data: data root, see `splits.data_root`.

    Raises:
        UserError: the data are not there, or one sentence on what does not fit: workload, field,
            what was found and what is wanted.
    """
    try:
        _check_names(workload)
        splits = workload.splits(None if data is None else Path(data))
        for split in _parts(splits):
            _check_split(workload, split)
        _check_parts(workload, splits)
    except DeclarationError as reason:
        raise UserError(f"{workload.name}: {reason}") from None
    return splits


@plain
def check_network(workload: Workload, splits: Splits, network: nn.Module) -> None:
    """Whether the network gives a logit for each class, on two training images.

    A network that ends in log-softmax passes: softmax of log p is p.

    Args:
        workload: as it was resolved.
        splits: as `splits_of` gives them.
        network: with its weights; it is used in evaluation mode and left as it was.

    Raises:
        UserError: it takes no such images, gives another shape than [B, classes] of floats, or
            gives probabilities.
    """
    wanted = f"give logits, float [B, {workload.classes}] for {workload.classes} classes"
    training = network.training
    try:
        with torch.no_grad(), quiet():
            found = network.eval()(_batch(splits.train))
    except (RuntimeError, TypeError, ValueError, IndexError) as reason:
        shape = list(workload.input_shape)
        raise UserError(
            f"{workload.name}: The network takes no images of input_shape {shape} "
            f"({first_line(reason)}); declare the shape that it takes."
        ) from None
    finally:
        network.train(training)
    if not isinstance(found, Tensor):
        raise UserError(f"{workload.name}: The network returns {type(found).__name__}; {wanted}.")
    if found.ndim != 2 or found.shape[1] != workload.classes or not found.is_floating_point():
        raise UserError(
            f"{workload.name}: The network returns {found.dtype} of shape {list(found.shape)} for "
            f"{len(found)} images; {wanted}, or declare other `classes`."
        )
    if are_probabilities(found):
        raise UserError(
            f"{workload.name}: The network returns probabilities (none below 0, each image's sum "
            f"is 1), and softmax would be taken of them again; {wanted}: leave out its softmax."
        )


def are_probabilities(outputs: Tensor) -> bool:
    """Whether each row of outputs [B, K] is a distribution: none below 0, the sum is 1."""
    sums = outputs.double().sum(dim=1)
    return bool((outputs >= 0).all() and ((sums - 1).abs() < _ONE).all())


def _batch(split: Split) -> Tensor:
    """Some images as the network has them; gray ones where the first of them cannot be read."""
    try:
        part = split.limit(_TRIED).readable().limit(_IMAGES)
        return part.batch(slice(None))
    except UserError:
        return split.normalise(torch.full((_IMAGES, *split.images.shape[1:]), 0.5))


def _parts(splits: Splits) -> Iterator[Split]:
    yield from (splits.train, splits.validation, splits.test, *splits.others.values())


def _check_names(workload: Workload) -> None:
    shape = workload.input_shape
    if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise DeclarationError(f"input_shape is {shape}; give (C, H, W), whole numbers above 0.")
    if workload.classes < 2:
        raise DeclarationError(f"classes is {workload.classes}; give at least 2.")
    names = workload.class_names
    if names and len(names) != workload.classes:
        raise DeclarationError(
            f"class_names has {len(names)} names; give {workload.classes}, one for each of the "
            "classes, or none."
        )
    _refuse_twins("class_names", names)
    _refuse_twins("other_splits", ("train", "validation", "test", *workload.other_splits))


def _refuse_twins(field: str, names: Sequence[str]) -> None:
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise DeclarationError(f"{field} has {twins[0]!r} twice; give each another name.")


def _check_parts(workload: Workload, splits: Splits) -> None:
    given, declared = {*splits.others, *splits.absent}, set(workload.other_splits)
    if given != declared:
        raise DeclarationError(
            f"other_splits is {sorted(declared)}, but the splits' others and absent are "
            f"{sorted(given)}; give the same names."
        )
    _refuse_twins("The splits' `name`", [split.name for split in _parts(splits)])


def _check_split(workload: Workload, split: Split) -> None:
    if split.classes != workload.classes:
        raise DeclarationError(
            f"classes of the {split.name} split is {split.classes}; give {workload.classes}, as "
            "the workload declares."
        )
    found, wanted = tuple(split.images.shape[1:]), tuple(workload.input_shape)
    if found != wanted:
        last = " (channels stand last; permute them)" if found == (*wanted[1:], wanted[0]) else ""
        raise DeclarationError(
            f"images of the {split.name} split are of [N, {', '.join(map(str, found))}]{last}; "
            f"give [N, {', '.join(map(str, wanted))}], as input_shape declares."
        )
    for name, values in (("mean", split.mean), ("std", split.std)):
        if len(values) != wanted[0]:
            raise DeclarationError(
                f"{name} of the {split.name} split has length {len(values)}; give {wanted[0]}, "
                "one number for each channel of input_shape."
            )
