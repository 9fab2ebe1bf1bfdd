"""Dropout while predicting: T passes of one network, each with masks of its own.

(Gal and Ghahramani, "Dropout as a Bayesian approximation: representing model uncertainty in deep
learning", ICML 2016.) The masks of a pass serve all images, as draws of weights do, so that a
prediction does not depend on the images beside it: a pass is a network with some of its weights 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError
from ..workload.cell import MASKS
from .ensemble import network_without_draws
from .method import MadeMethod
from .single import in_format
from .trunk import OnTrunk

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ..backends.base import Passes
    from ..data.given import Given
    from ..quantize.artefact import Artefact
    from ..quantize.graph import Conv
    from ..quantize.options import Options
    from ..workload.plan import Plan
    from ..workload.prepare import Prepared
    from ..workload.workload import Workload

FORMAT = "FP32"
STACKED = 1024  # images x passes that are computed at once


@dataclass(frozen=True)
class Dropped:
    """What a network was trained with.

    Attributes:
        rate: probability by which an input is 0.
        layers: names of the layers whose inputs are.
    """

    rate: float
    layers: tuple[str, ...]


def dropped_in(metadata: Mapping[str, Any], file: object) -> Dropped:
    """What the recipe in a network's metadata says.

    Args:
        metadata: of its file.
        file: what messages call it.

    Raises:
        UserError: it was trained without dropout.
    """
    recipe = metadata.get("recipe")
    found = recipe if isinstance(recipe, Mapping) else {}
    rate, layers = found.get("dropout", 0.0), found.get("dropout_at", [])
    named = isinstance(layers, list) and layers and all(isinstance(name, str) for name in layers)
    if not isinstance(rate, float) or not 0 < rate < 1 or not named:
        raise UserError(
            f"{file} was trained without dropout; give a network of a recipe that has `dropout`, "
            "or leave dropout out of --methods."
        )
    return Dropped(rate, tuple(layers))


@dataclass(frozen=True, eq=False)
class MaskedLayers:
    """Passes with masks, in PyTorch's float32; several at once.

    Attributes:
        artefact: the network, or what follows its trunk.
        masked: shape of the mask of each layer that has one, in order: (C, H, W), or (C, 1, 1)
            where whole channels are dropped out.
        rate: probability by which an input is 0.
        threads: that a call may use.
    """

    artefact: Artefact
    masked: Mapping[str, tuple[int, int, int]]
    rate: float
    threads: int

    def masks(self, seed: int, t: int) -> dict[str, Tensor]:
        """Of pass t, by layer: 0 or 1 / (1 - rate), float32."""
        import torch

        from ..backends.stack import pass_seed

        generator = torch.Generator().manual_seed(pass_seed(seed, t))

        def mask(shape: tuple[int, int, int]) -> Tensor:
            kept = torch.rand(shape, generator=generator) >= self.rate
            return kept / (1 - self.rate)

        return {name: mask(shape) for name, shape in self.masked.items()}

    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """See `Passes`; x are images, or features [N, C, H, W]."""
        import torch

        from ..backends.divided import torch_threads

        given = torch.as_tensor(x)
        weights = {name: _numbers(layer) for name, layer in self.artefact.layers.items()}
        at_once = max(1, STACKED // len(given))
        with torch.inference_mode(), torch_threads(self.threads):
            chunks = (passes[at : at + at_once] for at in range(0, len(passes), at_once))
            return torch.cat([self._stacked(given, seed, chunk, weights) for chunk in chunks])

    def _stacked(
        self, x: Tensor, seed: int, passes: range, weights: dict[str, tuple[Tensor, Tensor]]
    ) -> Tensor:
        """[len(passes), N, classes]."""
        import torch

        from ..quantize.forward import forward

        each, shape = [self.masks(seed, t) for t in passes], (len(passes), len(x))
        masks = {name: torch.stack([one[name] for one in each])[:, None] for name in self.masked}

        def change(conv: Conv, y: Tensor) -> Tensor:
            if conv.name not in masks:
                return y
            return (y.unflatten(0, shape) * masks[conv.name]).flatten(0, 1)

        images = x.expand(len(passes), *x.shape).flatten(0, 1)
        constants = {name: torch.from_numpy(a) for name, a in self.artefact.constants.items()}
        found = forward(self.artefact.graph, weights, images, constants=constants, change=change)
        return found.unflatten(0, shape)


def _numbers(layer: Any) -> tuple[Tensor, Tensor]:
    import torch

    return torch.from_numpy(layer.mean), torch.from_numpy(layer.bias)


def mask_shapes(
    artefact: Artefact, module: nn.Module, dropped: Dropped
) -> dict[str, tuple[int, int, int]]:
    """Of each layer that drops out inputs, by its name in the graph; see `MaskedLayers`.

    Raises:
        UserError: a layer is not in the graph.
    """
    from torch import nn

    graph, found = artefact.graph, {}
    layers = {conv.weight.removesuffix(".weight"): conv for conv in graph.convs}
    for name in dropped.layers:
        if name not in layers:
            raise UserError(
                f"The network drops out inputs of {name}, which is not a layer of its graph; train "
                "it with dropout at other layers."
            )
        conv = layers[name]
        channels, height, width = graph.activations[conv.input].shape
        whole = isinstance(module.get_submodule(name), nn.Conv2d)
        found[conv.name] = (channels, 1, 1) if whole else (channels, height, width)
    return {conv.name: found[conv.name] for conv in graph.convs if conv.name in found}


def masked_passes(
    artefact: Artefact, masked: Mapping[str, tuple[int, int, int]], rate: float, threads: int
) -> OnTrunk | MaskedLayers:
    """A network that drops out inputs; what lies before the first of them runs once.

    Args:
        artefact: the network in `DNN_FP32`.
        masked: see `MaskedLayers`; at least one.
        rate: see there.
        threads: that a call may use.
    """
    from ..backends.base import BACKENDS
    from ..quantize.cut import cut
    from ..workload.plan import FLOAT_BACKEND

    parts = cut(artefact, next(iter(masked)))
    rest = MaskedLayers(parts.rest, masked, rate, threads)
    if parts.trunk is None:
        return rest
    trunk = BACKENDS.get(FLOAT_BACKEND).load(parts.trunk, threads)
    return OnTrunk(trunk, rest, parts.shape)


@dataclass(frozen=True, eq=False)
class MadeDropout(MadeMethod):
    """A network that drops out inputs while it predicts.

    Attributes:
        dropped: what it was trained with.
        masked: see `MaskedLayers`.
    """

    dropped: Dropped
    masked: Mapping[str, tuple[int, int, int]]

    @property
    def chosen(self) -> str:
        """See `LoadedMethod`."""
        return f"rate {self.dropped.rate:g} at {', '.join(self.dropped.layers)}"

    def passes(self, threads: int) -> Passes:
        """See `MadeMethod`."""
        return masked_passes(self.artefacts[0], self.masked, self.dropped.rate, threads)


@dataclass(frozen=True)
class Dropout:
    """T passes of a network that was trained with dropout; see `Method`.

    Attributes:
        name: see there.
        title: see there.
        description: see there.
        draws: see there.
        of_posterior: see there.
        noise: see there.
    """

    name: str
    title: str
    description: str
    draws: bool = True
    of_posterior: bool = False
    noise: str = MASKS

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        if plan.workload.dropout is None:
            return f"no network of {plan.workload.name} was trained with dropout"
        if format != FORMAT:
            return "the int8 runtime draws weights and no masks"
        return None

    def networks(self, plan: Plan) -> Sequence[str]:
        """See `Method`."""
        from ..workload.hashes import network_hash

        return [network_hash(plan.workload, _file(plan.workload))]

    def passes(self, plan: Plan, mc: Sequence[int]) -> tuple[int, ...]:
        """See `Method`."""
        return tuple(sorted(mc))

    def made(self, prepared: Prepared, format: str, options: Options | None = None) -> MadeMethod:
        """See `Method`.

        Raises:
            UserError: there is no network that was trained with dropout.
        """
        workload = prepared.plan.workload
        path = _file(workload)
        dropped = dropped_in(workload.load_posterior(path)[1], path)
        part = network_without_draws(prepared, path)
        artefact, backend = in_format(part, format, options, draws=False)
        masked = mask_shapes(artefact, workload.model(), dropped)
        return MadeDropout((artefact,), backend, dropped, masked)


def _file(workload: Workload) -> Path:
    if workload.dropout is None:
        raise UserError(
            f"No network of {workload.name} was trained with dropout; train one of a recipe that "
            "has `dropout`, and declare it as the workload's."
        )
    return workload.dropout


DROPOUT = Dropout(
    "dropout",
    "T passes with dropout",
    "Passes of a network that drops out inputs of layers while it predicts, too.",
)
