"""Last-layer Laplace approximations, which laplace-torch fits to a deterministic network.

(Daxberger et al., "Laplace redux: effortless Bayesian deep learning", NeurIPS 2021.) The curvature
is the generalised Gauss-Newton matrix of the last layer over all training images as they are; the
prior precision is the one of `PRECISIONS` that has the lowest NLL on the validation images.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError, few_warnings
from ..core.waiting import Report, warn_if_long
from ..workload.kept import kept
from .ensemble import deterministic_part
from .trunk import DrawnLayer, OnTrunk, parted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.splits import Split
    from ..quantize.fold import FloatLayer
    from ..workload.prepare import NetworkPart, Prepared

PACKAGE = "laplace-torch"
DIAGONAL, FULL = "diag", "full"  # as laplace-torch calls them
#: Prior precisions to choose from: as many as there are trials of other methods.
PRECISIONS = (1.0, 10.0, 100.0, 1000.0)
#: Passes that a choice is made by, and the seed of their draws: none that a published run uses.
PASSES, SEED = 50, 1000
_BATCH_BYTES = 1 << 26  # of the Jacobians of a batch
_BATCH = 256  # images that features are made of at a time


@dataclass(frozen=True)
class LastLayer:
    """The linear layer that makes the logits.

    Attributes:
        name: of the layer in the graph.
        biased: whether it has a bias.
        count: its weights and biases.
    """

    name: str
    biased: bool
    count: int

    def vector(self, weight: Tensor, bias: Tensor) -> Tensor:
        """What belongs to its weights [O, I, KH, KW] and biases [O] as one, [n]: laplace-torch's
        order."""
        import torch

        return torch.cat([weight.flatten(), bias]) if self.biased else weight.flatten()


@lru_cache(maxsize=8)  # capturing a network takes a second
def last_layer(
    network: Callable[[], nn.Module], input_shape: tuple[int, int, int]
) -> LastLayer | None:
    """Of a network; None where it has none by itself, behind others, in a graph that is whole.

    Args:
        network: builds it.
        input_shape: (C, H, W) of one image.
    """
    from ..quantize.trace import trace

    module = network()
    try:
        traced = trace(module, input_shape)
    except UserError:  # it is divided, or cannot be captured: loading it says which
        return None
    layer = traced.graph.convs[-1]
    if traced.graph.nodes[-1] is not layer or len(traced.graph.nodes) == 1:
        return None
    if layer.relu or layer.name in traced.norms or module.get_parameter(layer.weight).ndim != 2:
        return None
    biased = traced.biases[layer.name] is not None
    return LastLayer(layer.name, biased, layer.weights + biased * layer.shape[0])


@dataclass(frozen=True, eq=False)
class LaplaceFit:
    """A Gaussian over the last layer's weights, around those of a trained network.

    Attributes:
        network: the network.
        layer: its last one.
        scale: S of the covariance S Sᵀ, [n, n] float32, or [n] of a diagonal one: weights row by
            row, then biases.
        nll: of validation images at each of `PRECISIONS`, nats, without a temperature.
    """

    network: NetworkPart
    layer: LastLayer
    scale: Tensor
    nll: tuple[float, ...]

    @property
    def precision(self) -> float:
        """The prior precision that was chosen."""
        return PRECISIONS[self.nll.index(min(self.nll))]

    @property
    def mean(self) -> Tensor:
        """Of the last layer's weights and biases, [n] float32."""
        numbers = self.network.model.layers[self.layer.name]
        return self.layer.vector(numbers.mean, numbers.bias)


def installed() -> str | None:
    """The version of laplace-torch; None where there is none."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=4)
def fitted(prepared: Prepared, structure: str) -> LaplaceFit:
    """The approximation of a workload's deterministic network, fitted once.

    Args:
        prepared: the workload.
        structure: of the covariance, `DIAGONAL` or `FULL`.
    """
    workload = prepared.plan.workload
    layer = last_layer(workload.model, workload.input_shape)
    assert layer is not None  # else there is none of the method
    part = deterministic_part(prepared)
    choices = [part.source.posterior, structure, installed(), list(PRECISIONS), PASSES, SEED]
    found = kept(workload, "laplace", choices, lambda: _fit(prepared, layer, structure))
    return LaplaceFit(part, layer, found["scale"], tuple(found["nll"].tolist()))


def _fit(prepared: Prepared, layer: LastLayer, structure: str) -> dict[str, Tensor]:
    """`scale` and `nll` of a fit, float64 the latter."""
    import torch

    numbers = deterministic_part(prepared).model.layers[layer.name]
    train, validation = _features(prepared, layer.name)
    mean = layer.vector(numbers.mean, numbers.bias)
    told = f"Fitting {prepared.plan.workload.name}'s last layer"
    with few_warnings():
        approximation = _approximation(numbers, layer, structure)
        approximation.fit(_Batches(*train, len(mean), told, prepared.report))
    scales = [_scale(approximation, precision) for precision in PRECISIONS]
    classes = len(numbers.bias)
    nll = [_nll(DrawnLayer(mean, scale, classes), *validation) for scale in scales]
    return {
        "scale": scales[nll.index(min(nll))],
        "nll": torch.tensor(nll, dtype=torch.float64),
    }


def _nll(layer: DrawnLayer, features: Tensor, labels: Tensor) -> float:
    from ..predict.temperature import mean_nll

    return mean_nll(layer.logits(features, SEED, range(PASSES)).double(), labels)


def _approximation(numbers: FloatLayer, layer: LastLayer, structure: str) -> Any:
    """laplace-torch's, of a network that has this layer alone."""
    from laplace import Laplace
    from torch import nn

    weight = numbers.mean.flatten(1)
    linear = nn.Linear(weight.shape[1], len(weight), bias=layer.biased)
    bias = {"bias": numbers.bias} if layer.biased else {}
    linear.load_state_dict({"weight": weight, **bias})
    return Laplace(
        nn.Sequential(OrderedDict(last=linear)),
        "classification",
        subset_of_weights="last_layer",
        hessian_structure=structure,
        last_layer_name="last",
    )


def _scale(approximation: Any, precision: float) -> Tensor:
    approximation.prior_precision = precision
    scale: Tensor = approximation.posterior_scale.detach().float()
    return scale


class _Batches:
    """What laplace-torch needs of a `DataLoader`: features and labels, in order.

    Attributes:
        dataset: as long as there are images.
    """

    def __init__(
        self, features: Tensor, labels: Tensor, weights: int, told: str, report: Report
    ) -> None:
        classes = int(labels.max()) + 1
        self.dataset: Sequence[int] = range(len(labels))
        self._size = max(1, _BATCH_BYTES // (4 * weights * classes))
        self._features, self._labels = features, labels
        self._told, self._report = told, report

    def __len__(self) -> int:
        return -(-len(self.dataset) // self._size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for at in range(0, len(self.dataset), self._size):
            self._report(self._told, at, len(self.dataset))
            part = slice(at, at + self._size)
            yield self._features[part], self._labels[part]


@lru_cache(maxsize=1)
def _features(
    prepared: Prepared, layer: str
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What the last layer reads of training and validation images, [N, F] float32, with labels."""
    from ..backends.base import BACKENDS
    from ..quantize.ptq import quantize
    from ..workload.plan import FLOAT_BACKEND

    made = quantize(deterministic_part(prepared).model, "DNN_FP32")
    parts, trunk = parted(made, layer, BACKENDS.get(FLOAT_BACKEND), 1)
    on, splits = OnTrunk(trunk, trunk, parts.shape), prepared.splits
    train, validation = (
        _read(on, split.readable(), prepared.report) for split in (splits.train, splits.validation)
    )
    return train, validation


def _read(on: OnTrunk, split: Split, report: Report) -> tuple[Tensor, Tensor]:
    import torch

    told = f"Reading the {split.name} images"
    found: list[Tensor] = []
    begun = time.perf_counter()
    for at in range(0, len(split), _BATCH):
        found.append(on.features(split.batch(slice(at, at + _BATCH))).flatten(1))
        if not at:
            warn_if_long(report, told, (time.perf_counter() - begun) * len(split) / _BATCH)
        report(told, at, len(split))
    return torch.cat(found), split.labels
