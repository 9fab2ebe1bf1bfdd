"""Image classifiers of torchvision and timm on ImageNet, with posteriors made by MOPED."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sigmabench.harness.core.errors import UserError, first_line, unknown
from sigmabench.harness.data.imagenet import (
    CLASSES,
    check_hash_in_name,
    files_of,
    splits,
    weights_origin,
    with_weights,
)
from sigmabench.harness.data.images import Crop
from sigmabench.harness.workload.workload import Workload

from .networks import timm_network, torchvision_network, torchvision_options

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sigmabench.harness.posterior.recipe import Recipe

DELTA = 0.05
NEEDS_DATA = "ImageNet in imagenet/ under --data; weights from there or from their hub"


def torchvision_classifier(name: str, delta: float = DELTA) -> Workload:
    """A workload of a torchvision network with the weights that torchvision has as its default.

    Args:
        name: as `torchvision.models.list_models` has it.
        delta: δ of MOPED.

    Raises:
        UserError: there is no such network, or it has no weights of ImageNet.
    """
    from torchvision.models import get_model_weights, list_models

    known = [n for n in list_models() if "." not in n and "/" not in n]
    known = [n for n in known if hasattr(get_model_weights(n), "IMAGENET1K_V1")]
    if name not in known:
        raise unknown("torchvision network with ImageNet's weights", name, known)
    chosen = get_model_weights(name).DEFAULT
    way = chosen.transforms()
    crop = Crop(way.crop_size[0], way.resize_size[0], way.interpolation.value)
    return classifier(
        f"torchvision-{name.replace('_', '-')}",
        f"{name} of torchvision on ImageNet, MOPED",
        partial(torchvision_network, name),
        partial(torchvision_pretrained, name, chosen.name),
        torchvision_files(name, chosen.name),
        crop,
        (tuple(way.mean), tuple(way.std)),
        delta,
    )


def torchvision_pretrained(name: str, weights: str, root: Path | None) -> nn.Module:
    """The network with its weights, from the data root or downloaded.

    A download that PyTorch has kept is held against the SHA-256 in its name every time: PyTorch
    does so once, when it fetches the file.

    Args:
        name: of the network.
        weights: which ones, as torchvision calls them.
        root: data root, see `splits.data_root`.

    Raises:
        UserError: the file is damaged or of another architecture, or nothing can be downloaded.
    """

    def download() -> dict[str, Tensor]:
        from torch.hub import get_dir
        from torchvision.models import get_model, get_model_weights

        kept = posixpath.basename(get_model_weights(name)[weights].url)
        check_hash_in_name(Path(get_dir()) / "checkpoints" / kept)
        # not the file as it is: get_model renames tensors of old ones
        state: dict[str, Tensor] = get_model(
            name, weights=weights, **torchvision_options(name)
        ).state_dict()
        return state

    files = torchvision_files(name, weights)
    return with_weights(torchvision_network(name), files, root, download)


def torchvision_files(name: str, weights: str) -> tuple[str, str]:
    """What the file of the weights may be called, see `with_weights`.

    Args:
        name: of the network.
        weights: which ones, as torchvision calls them.
    """
    return f"torchvision-{name}-{weights}", name


def timm_classifier(name: str, delta: float = DELTA) -> Workload:
    """A workload of a timm network, its images prepared as timm does.

    Args:
        name: as `timm.list_models` has it, with or without the tag of its weights.
        delta: δ of MOPED.

    Raises:
        UserError: timm is not installed; there is no such network or tag; it is not a classifier of
            ImageNet's 1,000 classes, or of images that are prepared in another way.
    """
    try:
        import timm
    except ImportError as reason:
        raise UserError(
            f"timm cannot be imported ({first_line(reason)}); install sigmabench[models]."
        ) from None
    from timm.data import resolve_data_config

    known, (network, _, tag) = timm.list_models(), name.partition(".")
    if network not in known:
        raise unknown("timm network", name, known)
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        raise unknown(f"tag of timm's {network}", tag, tags)
    config = timm.get_pretrained_cfg(name)
    if config is None or config.num_classes != CLASSES:
        raise UserError(f"timm's {name} is not a classifier of ImageNet's {CLASSES} classes.")
    data = resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, size = data["input_size"]
    squash = data["crop_mode"] == "squash"
    if channels != 3 or height != size or not (squash or data["crop_mode"] == "center"):
        raise UserError(
            f"timm's {name} takes {channels} × {height} × {size} numbers cut out by "
            f"{data['crop_mode']!r}; give a network of square colour images cut out of the middle."
        )
    crop = Crop(size, math.floor(size / data["crop_pct"]), data["interpolation"], squash)
    files = (".".join(filter(None, (f"timm-{network}", config.tag))), name)
    return classifier(
        f"timm-{name.replace('_', '-').replace('.', '-')}",
        f"{name} of timm on ImageNet, MOPED",
        partial(timm_network, name),
        partial(_timm_pretrained, name, files),
        files,
        crop,
        (tuple(data["mean"]), tuple(data["std"])),
        delta,
    )


def _timm_pretrained(name: str, files: tuple[str, ...], root: Path | None) -> nn.Module:
    def download() -> dict[str, Tensor]:
        import timm

        state: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
        return state

    return with_weights(timm_network(name), files, root, download)


def classifier(
    name: str,
    title: str,
    model: partial[nn.Module],
    pretrained: partial[nn.Module],
    files: tuple[str, ...],
    crop: Crop,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    delta: float,
    recipes: Sequence[Recipe] = (),
) -> Workload:
    """A workload of ImageNet's 1,000 classes, its posterior made by MOPED.

    Args:
        name: of the workload.
        title: one line.
        model: builds the network.
        pretrained: builds it with its weights; takes the data root or None.
        files: what the file of these weights may be called, see `with_weights`.
        crop: what becomes of an image.
        statistics: mean and standard deviation per channel, of pixel / 255.
        delta: δ of MOPED.
        recipes: to train other posteriors by.
    """
    mean, std = statistics
    return Workload(
        name=name,
        version="2",
        title=title,
        model=model,
        splits=partial(splits, crop=crop, mean=mean, std=std),
        input_shape=(3, crop.size, crop.size),
        classes=CLASSES,
        recipes={recipe.name: recipe for recipe in recipes},
        pretrained=pretrained,
        weights_origin=partial(weights_origin, files),
        files=partial(files_of, files),
        delta=delta,
        official_corruptions="ImageNet-C",
        needs_data=NEEDS_DATA,
        digest_data=True,
    )
