"""Batch-norm folding: μ and bias as for any network, σ times |γ| / √(var + eps)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.errors import UserError, first_line, quiet
from ..machine.torch_state import plain
from ..posterior import SAMPLED_LAYERS, Posterior, bayesian_parameters, check_has_numbers
from . import floats
from .divide import divide
from .forward import forward
from .graph import Conv, Graph
from .trace import Traced, trace

CHECKED_IMAGES = 2
CHECK_TOLERANCE = 1e-3  # of the largest logit: float32 sums in another order


@dataclass(frozen=True, eq=False)
class FloatLayer:
    """A folded layer before quantization, float32.

    Attributes:
        mean: μ, [O, I, KH, KW].
        std: σ, the same shape; all zero where the weight is deterministic.
        bias: μ of the bias, [O]; zero where the layer has none.
        bias_std: σ of the bias, [O].
    """

    mean: Tensor
    std: Tensor
    bias: Tensor
    bias_std: Tensor


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A posterior over a folded graph: what every format is made from.

    Attributes:
        graph: operations with float activations.
        layers: by layer name, in the order of the graph.
        constants: what the operations of a divided network read beside values: float32, int64 or
            bool.
    """

    graph: Graph
    layers: dict[str, FloatLayer]
    constants: dict[str, Tensor] = field(default_factory=dict)


@plain
def fold(module: nn.Module, posterior: Posterior, input_shape: tuple[int, int, int]) -> FloatModel:
    """Capture a module, attach the posterior and fold its batch norms.

    A network that no graph holds whole is divided; its operations that stay float have the
    posterior's means.

    Args:
        module: the deterministic network the posterior is over; its own weights are not used. It
            is put into evaluation mode.
        posterior: μ, ρ and the rest of the module's state.
        input_shape: (C, H, W) of one image.

    Raises:
        UserError: the posterior does not fit the module; the module has an operation that can
            neither be quantized nor stay float, a Bayesian weight that only such operations read,
            or a dropout or batch norm that trains in evaluation mode; it returns anything but
            logits; or the graph does not compute what it does on random images.
    """
    posterior.validate(module)
    module = _plain_module(module)
    try:
        model = _folded(trace(module, input_shape), module, posterior)
        _check(model, module, posterior, input_shape)
    except UserError as reason:
        sampled = {name for name, rho in posterior.rho.items() if torch.isfinite(rho).any()}
        tensors = {**posterior.state, **posterior.mean}
        traced = divide(module, input_shape, tensors, sampled)
        if not traced.graph.segments:
            raise reason
        model = _folded(traced, module, posterior)
        _check_bayesian(traced, posterior)
        _check(model, module, posterior, input_shape)
    return model


@plain
def sampled_parameters(module: nn.Module, input_shape: tuple[int, int, int]) -> list[str]:
    """Names of the parameters that a quantized network can draw, in the module's order: weights and
    biases of convolutions and linear layers, but for those that operations which stay float read.

    Args:
        module: the network. It is put into evaluation mode.
        input_shape: (C, H, W) of one image.

    Raises:
        UserError: the module cannot be captured, or an operation can neither be quantized nor stay
            float.
    """
    names = bayesian_parameters(module, layers=SAMPLED_LAYERS)
    module = _plain_module(module)
    try:
        trace(module, input_shape)
    except UserError:
        traced = divide(module, input_shape, module.state_dict(), names)
        read = frozenset[str]().union(*traced.origins.values())
        return [name for name in names if name not in read]
    return names


def _plain_module(module: nn.Module) -> nn.Module:
    """The same with parameters in float32 on the CPU, as images and posterior are: a copy, where
    they are of another type or elsewhere."""
    check_has_numbers(module)
    kinds = {(p.dtype, p.device.type, p.is_inference()) for p in module.parameters()}
    if kinds <= {(torch.float32, "cpu", False)}:
        return module
    return deepcopy(module).to("cpu").float()


def _folded(traced: Traced, module: nn.Module, posterior: Posterior) -> FloatModel:
    unsaved = dict(module.named_buffers())  # among them, such as the filter of a blurring pool
    means = {**unsaved, **posterior.state, **posterior.mean, **traced.constants}
    stds = posterior.std()
    layers = {conv.name: _fold_layer(conv, traced, means, stds) for conv in traced.graph.convs}
    nodes = tuple(
        replace(
            node,
            bayesian=node.weight in stds,
            bias_bayesian=traced.biases[node.name] in stds,
        )
        if isinstance(node, Conv)
        else node
        for node in traced.graph.nodes
    )
    return FloatModel(replace(traced.graph, nodes=nodes), layers, traced.floats)


def _check_bayesian(traced: Traced, posterior: Posterior) -> None:
    """Nothing is sampled for what stays float, so no weight there may have a σ."""
    layers = {conv.weight: conv.name for conv in traced.graph.convs}
    layers |= {bias: name for name, bias in traced.biases.items() if bias is not None}
    readers = {
        constant: step.name
        for step in traced.graph.operations
        for constant in floats.reads(step, "constant")
    }
    for constant, names in traced.origins.items():
        for name in sorted(names & posterior.rho.keys()):
            if torch.isfinite(posterior.rho[name]).any():
                shape = traced.graph.activations["input"].shape
                raise _not_sampled(name, layers.get(name), readers.get(constant, constant), shape)


def _not_sampled(
    name: str, layer: str | None, operation: str, shape: tuple[int, int, int]
) -> UserError:
    """The error of a Bayesian parameter that an operation reads, and perhaps a layer, too."""
    if layer is not None:
        return UserError(
            f"The layer {layer} is called more than once (again as {operation}), and each layer of "
            "a quantized network draws weights of its own; give the module one layer for each call "
            f"(`copy.deepcopy({layer})`)."
        )
    return UserError(
        f"{name} is Bayesian, but {operation}, an operation that stays float, reads it, and "
        "nothing is sampled there; replace that operation in the module, or make a posterior in "
        "which only what can be sampled has a σ (in Python, `moped(module, delta, "
        f"bayesian=sampled_parameters(module, {shape}))`)."
    )


def _check(
    model: FloatModel, module: nn.Module, posterior: Posterior, input_shape: tuple[int, int, int]
) -> None:
    """Whether the graph computes what the mean network does, on random images.

    Raises:
        UserError: it does not.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(CHECKED_IMAGES, *input_shape, generator=generator)
    means = {**posterior.state, **posterior.mean}
    name = type(module).__name__
    try:
        expected = _computed(module, means, x)
    except RuntimeError as reason:
        raise UserError(
            f"{name} cannot be computed on float32 images of shape {input_shape}: "
            f"{first_line(reason)}"
        ) from reason
    try:
        found = _found(model, x)
    except RuntimeError as reason:
        raise UserError(
            f"{name} has an operation that PyTorch cannot compute for each image of a batch by "
            f"itself: {first_line(reason)}"
        ) from reason
    if not _near(found, expected) and not _near_in_float64(model, module, means, x):
        error = float((found - expected).abs().max())
        raise UserError(
            f"{name}, as a graph of what runs in int8 and what stays float, does not compute what "
            f"the module does: logits differ by {error:.2g}. It may mix the images of a batch, or "
            "draw numbers of its own."
        )


@torch.no_grad()
def _computed(module: nn.Module, means: dict[str, Tensor], x: Tensor) -> Tensor:
    """The module's logits."""
    with quiet():
        logits: Tensor = functional_call(module.eval(), means, (x.clone(),), tie_weights=False)
    return logits.flatten(1)


@torch.no_grad()
def _found(model: FloatModel, x: Tensor) -> Tensor:
    """The graph's logits, in the dtype of the images."""

    def typed(tensor: Tensor) -> Tensor:
        return tensor.to(x.dtype) if tensor.is_floating_point() else tensor

    weights = {name: (typed(w), typed(b)) for name, (w, b) in mean_weights(model).items()}
    constants = {name: typed(tensor) for name, tensor in model.constants.items()}
    return forward(model.graph, weights, x, constants=constants)


def _near(found: Tensor, expected: Tensor) -> bool:
    error = (found - expected).abs().max()
    return bool(error <= CHECK_TOLERANCE * expected.abs().max())


def _near_in_float64(
    model: FloatModel, module: nn.Module, means: dict[str, Tensor], x: Tensor
) -> bool:
    """Some networks amplify float32's rounding until it says nothing; false where a module has no
    float64 form."""
    doubled = {name: t.double() if t.is_floating_point() else t for name, t in means.items()}
    try:
        expected = _computed(deepcopy(module).double(), doubled, x.double())
        return _near(_found(model, x.double()), expected)
    except RuntimeError:
        return False


def mean_weights(model: FloatModel) -> dict[str, tuple[Tensor, Tensor]]:
    """μ of every layer's weight and bias, as `forward` takes them."""
    return {name: (layer.mean, layer.bias) for name, layer in model.layers.items()}


def _fold_layer(
    conv: Conv, traced: Traced, means: Mapping[str, Tensor], stds: Mapping[str, Tensor]
) -> FloatLayer:
    channels = conv.shape[0]

    def pair(name: str | None, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        if name is None:
            return torch.zeros(shape), torch.zeros(shape)
        std = stds.get(name)
        return means[name].reshape(shape), torch.zeros(shape) if std is None else std.reshape(shape)

    mean, std = pair(conv.weight, conv.shape)
    bias, bias_std = pair(traced.biases[conv.name], (channels,))
    norm = traced.norms.get(conv.name)
    if norm is not None:
        gain = torch.rsqrt(means[norm.var].double() + norm.eps)
        if norm.weight is not None:
            gain = gain * means[norm.weight].double()
        shift = means[norm.bias].double() if norm.bias is not None else torch.zeros(channels)
        factor = gain.reshape(-1, 1, 1, 1)
        mean, std = mean.double() * factor, std.double() * factor.abs()
        bias = (bias.double() - means[norm.mean].double()) * gain + shift
        bias_std = bias_std.double() * gain.abs()
    return FloatLayer(mean.float(), std.float(), bias.float(), bias_std.float())
