"""Last-layer Laplace approximations of a deterministic network (`laplace_fit`).

The layers before the last one draw nothing and run once for all passes. A diagonal covariance makes
a posterior like any other, whose last layer is drawn by the runtime; of a full one the last layer
is drawn in float32, behind a trunk in either format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ..core.formats import FORMATS
from ..core.whole import content_hash
from .ensemble import DETERMINISTIC
from .laplace_fit import (
    DIAGONAL,
    FULL,
    PACKAGE,
    PASSES,
    PRECISIONS,
    SEED,
    fitted,
    installed,
    last_layer,
)
from .method import LoadedMethod
from .single import WITHOUT_DRAWS, draws_nothing
from .trunk import DrawnLayer, OnTrunk, parted

if TYPE_CHECKING:
    from torch import Tensor

    from ..quantize.artefact import Artefact
    from ..workload.plan import Plan
    from ..workload.prepare import NetworkPart, Prepared
    from .laplace_fit import LaplaceFit

MOST_WEIGHTS = 1 << 13  # of a last layer with a full covariance: 256 MiB


@dataclass(frozen=True)
class Laplace:
    """T draws of the last layer around a deterministic network; see `Method`.

    Attributes:
        name: see there.
        title: see there.
        description: see there.
        structure: of the covariance, `DIAGONAL` or `FULL`.
        draws: see there.
        of_posterior: see there.
    """

    name: str
    title: str
    description: str
    structure: str
    draws: bool = True
    of_posterior: bool = False

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        workload = plan.workload
        if (why := DETERMINISTIC.without(plan, "FP32")) is not None:
            return why
        if not DETERMINISTIC.files(workload):
            return "published weights leave no images to choose a prior precision by"
        layer = last_layer(workload.model, workload.input_shape)
        if layer is None:
            return "its last layer is not a linear one behind layers that a graph holds whole"
        if self.structure == FULL and layer.count > MOST_WEIGHTS:
            return f"the covariance of {layer.count:,} weights is too large"
        if self.structure == FULL and draws_nothing(format) is not None:
            return "its last layer is drawn in float32, so there is no σ to put into fewer bits"
        if installed() is None:
            return f"{PACKAGE}, which fits it, is not installed; pip install 'sigmabench[laplace]'"
        return None

    def networks(self, plan: Plan) -> Sequence[str]:
        """See `Method`; and how the approximation is made of it."""
        made = [self.structure, installed(), PRECISIONS, PASSES, SEED]
        return [*DETERMINISTIC.networks(plan), content_hash(json.dumps(made))]

    def passes(self, plan: Plan, mc: Sequence[int]) -> tuple[int, ...]:
        """See `Method`."""
        return tuple(sorted(mc))

    def load(self, prepared: Prepared, format: str, threads: int) -> LoadedMethod:
        """See `Method`."""
        fit = fitted(prepared, self.structure)
        if self.structure == FULL:
            return _full(fit, format, threads)
        return _diagonal(fit, format, threads)


def _diagonal(fit: LaplaceFit, format: str, threads: int) -> LoadedMethod:
    from ..backends.base import BACKENDS

    made, backend = _made(diagonal_part(fit), format)
    parts, trunk = parted(made, fit.layer.name, BACKENDS.get(backend), threads)
    rest = BACKENDS.get(backend).load(parts.rest, threads)
    return _loaded(made, backend, OnTrunk(trunk, rest, parts.shape), fit)


def _full(fit: LaplaceFit, format: str, threads: int) -> LoadedMethod:
    from ..backends.base import BACKENDS

    made, backend = _made(fit.network, WITHOUT_DRAWS[format])
    parts, trunk = parted(made, fit.layer.name, BACKENDS.get(backend), threads)
    classes = len(fit.network.model.layers[fit.layer.name].bias)
    rest = DrawnLayer(fit.mean, fit.scale, classes, threads)
    return _loaded(made, backend, OnTrunk(trunk, rest, parts.shape), fit)


def _made(part: NetworkPart, format: str) -> tuple[Artefact, str]:
    """A network in a format, and the name of the backend that computes it."""
    from ..quantize.ptq import quantize

    chosen = FORMATS.get(format)
    ranges = part.calibration if chosen.quantized else None
    made = quantize(part.model, format, ranges, part.plan.options, part.source)
    return made, part.plan.backend_of(chosen)


def _loaded(made: Artefact, backend: str, passes: OnTrunk, fit: LaplaceFit) -> LoadedMethod:
    """A full covariance counts as the triangle that makes it."""
    from ..predict.loop import batch_of
    from ..quantize.artefact import artefact_hash, size

    stored, digests = size(made).file_bytes, [artefact_hash(made)]
    if fit.scale.ndim == 2:
        count = len(fit.scale)
        stored += 4 * (count * (count + 1) // 2)
        digests.append(hashlib.sha256(_bytes(fit.scale)).hexdigest())
    chosen = f"prior precision {fit.precision:g}"
    return LoadedMethod(passes, backend, tuple(digests), stored, batch_of(made.graph), chosen)


@lru_cache(maxsize=2)
def diagonal_part(fit: LaplaceFit) -> NetworkPart:
    """The posterior of a diagonal approximation: the network, whose last layer alone has a σ."""
    from ..workload.prepare import NetworkPart

    network, model, at = fit.network, fit.network.model, fit.layer.name
    numbers = model.layers[at]
    std, bias_std = fit.scale[: numbers.mean.numel()], fit.scale[numbers.mean.numel() :]
    drawn = replace(numbers, std=std.reshape(numbers.mean.shape))
    if fit.layer.biased:
        drawn = replace(drawn, bias_std=bias_std)
    nodes = tuple(
        replace(node, bayesian=node.name == at, bias_bayesian=node.name == at and fit.layer.biased)
        if node.op == "conv"
        else node
        for node in model.graph.nodes
    )
    graph = replace(model.graph, nodes=nodes)
    made = replace(model, graph=graph, layers={**model.layers, at: drawn})
    digest = hashlib.sha256(network.source.posterior.encode() + _bytes(fit.scale)).hexdigest()
    source = replace(network.source, posterior=digest)
    return NetworkPart(network.plan, network.splits, made, source)


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()


LAPLACE = Laplace(
    "laplace",
    "Laplace approximation of the last layer, diagonal",
    "T draws of a deterministic network's last layer, its weights independent (laplace-torch).",
    DIAGONAL,
)
LAPLACE_FULL = Laplace(
    "laplace-full",
    "Laplace approximation of the last layer, full covariance",
    "T draws of a deterministic network's last layer, of all its weights together (laplace-torch).",
    FULL,
)
