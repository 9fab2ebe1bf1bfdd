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

from ..core.whole import content_hash
from ..workload.cell import NORMAL
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
from .method import MadeMethod
from .single import draws_nothing, in_format
from .trunk import DrawnLayer, OnTrunk, parted

if TYPE_CHECKING:
    from torch import Tensor

    from ..backends.base import Passes
    from ..quantize.cut import TwoParts
    from ..quantize.options import Options
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
        noise: see there.
    """

    name: str
    title: str
    description: str
    structure: str
    draws: bool = True
    of_posterior: bool = False
    noise: str = ""

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

    def made(self, prepared: Prepared, format: str, options: Options | None = None) -> MadeMethod:
        """See `Method`."""
        fit = fitted(prepared, self.structure)
        at, precision = fit.layer.name, fit.precision
        if self.structure == DIAGONAL:
            artefact, backend = in_format(diagonal_part(fit), format, options, draws=True)
            return MadeDiagonal((artefact,), backend, at, precision)
        artefact, backend = in_format(fit.network, format, options, draws=False)
        return MadeFull((artefact,), backend, at, precision, fit.mean, fit.scale)


@dataclass(frozen=True, eq=False)
class MadeDiagonal(MadeMethod):
    """A posterior whose last layer alone has a σ: all before it runs once for all passes.

    Attributes:
        at: name of the last layer.
        precision: of the prior.
    """

    at: str
    precision: float

    @property
    def chosen(self) -> str:
        """See `LoadedMethod`."""
        return f"prior precision {self.precision:g}"

    def passes(self, threads: int) -> Passes:
        """See `MadeMethod`."""
        from ..backends.base import BACKENDS

        backend = BACKENDS.get(self.backend)
        parts, trunk = parted(self.artefacts[0], self.at, backend, threads)
        return OnTrunk(trunk, self.rest(parts, threads), parts.shape)

    def rest(self, parts: TwoParts, threads: int) -> Passes:
        """What gives the logits of passes from what the trunk gives."""
        from ..backends.base import BACKENDS

        return BACKENDS.get(self.backend).load(parts.rest, threads)


@dataclass(frozen=True, eq=False)
class MadeFull(MadeDiagonal):
    """A network whose last layer is drawn in float32.

    Attributes:
        mean: as of `DrawnLayer`.
        scale: see there, [n, n].
    """

    mean: Tensor
    scale: Tensor

    @property
    def digests(self) -> tuple[str, ...]:
        """See `MadeMethod`; and of the covariance."""
        return (*super().digests, hashlib.sha256(_bytes(self.scale)).hexdigest())

    @property
    def file_bytes(self) -> int:
        """See `MadeMethod`; the covariance counts as the triangle that makes it."""
        count = len(self.scale)
        return super().file_bytes + 4 * (count * (count + 1) // 2)

    def rest(self, parts: TwoParts, threads: int) -> Passes:
        """See `MadeDiagonal`."""
        classes = len(self.artefacts[0].layers[self.at].bias)
        return DrawnLayer(self.mean, self.scale, classes, threads)


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
    noise=NORMAL,
)
