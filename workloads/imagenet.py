"""Image classifiers of torchvision and timm on ImageNet, with posteriors made by MOPED."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sigmabench.harness.errors import UserError, unknown
from sigmabench.harness.imagenet import CLASSES, splits, with_weights
from sigmabench.harness.images import Crop
from sigmabench.harness.workload import Workload

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
        crop,
        (tuple(way.mean), tuple(way.std)),
        delta,
    )


def torchvision_network(name: str) -> nn.Module:
    """The network with fresh weights."""
    from torchvision.models import get_model

    # Without this, Inception and GoogLeNet draw their weights by a slow truncated normal.
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = get_model(name, weights=None, **options)
    return network


def torchvision_pretrained(name: str, weights: str, root: Path | None) -> nn.Module:
    """The network with its weights, from the data root or downloaded.

    Args:
        name: of the network, and of its file in the data root.
        weights: which ones to download, as torchvision calls them.
        root: data root, see `data.data_root`.
    """

    def download() -> dict[str, Tensor]:
        from torchvision.models import get_model_weights

        state: dict[str, Tensor] = get_model_weights(name)[weights].get_state_dict(
            progress=True, check_hash=True
        )
        return state

    return with_weights(torchvision_network(name), name, root, download)


def timm_classifier(name: str, delta: float = DELTA) -> Workload:
    """A workload of a timm network.

    Args:
        name: as `timm.list_models` has it, with or without the tag of its weights.
        delta: δ of MOPED.

    Raises:
        UserError: there is no such network, or it is no classifier of ImageNet's 1,000 classes.
    """
    import timm
    from timm.data import resolve_model_data_config

    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise unknown("timm network", name, known)
    config = timm.get_pretrained_cfg(name)
    if config is None or config.num_classes != CLASSES:
        raise UserError(f"timm's {name} is no classifier of ImageNet's {CLASSES} classes.")
    data = resolve_model_data_config(config.to_dict())
    size = data["input_size"][1]
    crop = Crop(size, math.floor(size / data["crop_pct"]), data["interpolation"])
    return classifier(
        f"timm-{name.replace('_', '-').replace('.', '-')}",
        f"{name} of timm on ImageNet, MOPED",
        partial(_timm_network, name),
        partial(_timm_pretrained, name),
        crop,
        (tuple(data["mean"]), tuple(data["std"])),
        delta,
    )


def _timm_network(name: str) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name)
    return network


def _timm_pretrained(name: str, root: Path | None) -> nn.Module:
    def download() -> dict[str, Tensor]:
        import timm

        state: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
        return state

    return with_weights(_timm_network(name), name, root, download)


def classifier(
    name: str,
    title: str,
    model: partial[nn.Module],
    pretrained: partial[nn.Module],
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
        crop: what becomes of an image.
        statistics: mean and standard deviation per channel, of pixel / 255.
        delta: δ of MOPED.
        recipes: to train other posteriors by.
    """
    mean, std = statistics
    return Workload(
        name=name,
        version="1",
        title=title,
        model=model,
        splits=partial(splits, crop=crop, mean=mean, std=std),
        input_shape=(3, crop.size, crop.size),
        classes=CLASSES,
        recipes={recipe.name: recipe for recipe in recipes},
        pretrained=pretrained,
        delta=delta,
        official_corruptions="ImageNet-C",
        needs_data=NEEDS_DATA,
        digest_data=True,
    )
