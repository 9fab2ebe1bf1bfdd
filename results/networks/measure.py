"""One network of the survey: built with random weights, quantized, run on two backends."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from sigmabench.harness.backends.base import BACKENDS, Predictor
from sigmabench.harness.backends.divided import DividedPredictor
from sigmabench.harness.backends.native import NativePredictor
from sigmabench.harness.backends.native import build as compiled
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.measure.operations import operations
from sigmabench.harness.posterior import SAMPLED_LAYERS, bayesian_parameters, moped
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import observe_ranges
from sigmabench.harness.quantize.fold import FloatModel, fold, mean_weights
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.ptq import quantize

CLASSES = 10
SIZES = (64, 224)  # pixels; then what the network was published for
IMAGES = 4
PASSES = 2
DELTA = 0.05  # σ = DELTA·|w|
TOLERANCE = 1e-4  # of the largest logit, between the module and its FP32 graph
PUBLISHED = 224  # pixels, of a network whose own size is not known


def build(name: str, size: int) -> nn.Module:
    """A `torchvision:NAME` or `timm:NAME` with random weights, for images of a size."""
    collection, _, name = name.partition(":")
    if collection == "torchvision":
        import torchvision

        return torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    import timm

    try:
        return timm.create_model(name, num_classes=CLASSES, img_size=size)
    except TypeError:  # it takes any size
        return timm.create_model(name, num_classes=CLASSES)


def settled(module: nn.Module, x: Tensor) -> nn.Module:
    """Batch norms get the statistics of random images, and layers that training starts at zero
    weights, else networks tell no two images apart."""
    module.train()
    for one in module.modules():
        if isinstance(one, nn.modules.batchnorm._BatchNorm):
            one.momentum = 1.0
        elif isinstance(one, nn.modules.dropout._DropoutNd):
            one.p = 0.0
        elif isinstance(one, (nn.Linear, nn.Conv2d)) and not one.weight.any():
            nn.init.normal_(one.weight, 0.0, 0.02)
    with torch.no_grad():
        module(x)
    return module.eval()


def published(name: str) -> int:
    """The pixels that a network was published for; timm does not know a deprecated name's."""
    collection, _, name = name.partition(":")
    if collection == "torchvision":
        import torchvision

        return torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    import timm

    known = timm.get_pretrained_cfg(name)
    return PUBLISHED if known is None else known.input_size[-1]


def fitting(name: str) -> tuple[nn.Module, Tensor]:
    """The network at the smallest size it takes, and images."""
    sizes = [*SIZES, published(name)]
    for size in sizes:
        torch.manual_seed(4)
        x = torch.randn(IMAGES, 3, size, size)
        try:
            module = build(name, size)
            with torch.no_grad():
                module.eval()(x[:1].clone())
            return settled(module, x.clone()), x
        except Exception:  # networks say in many ways that maps are too small
            if size == sizes[-1]:
                raise
    raise AssertionError


def measured(name: str) -> dict[str, Any]:
    """What came of a network, as JSON."""
    began = time.process_time()
    module, x = fitting(name)
    found: dict[str, Any] = {
        "size": x.shape[-1],
        "parameters": sum(one.numel() for one in module.parameters()),
    }
    try:
        names = bayesian_parameters(module, layers=SAMPLED_LAYERS)  # as `run` does
        posterior = moped(module, DELTA, bayesian=names)
        model = fold(module, posterior, tuple(x.shape[1:]))  # type: ignore[arg-type]
    except UserError as reason:
        found |= {"verdict": "refused", "reason": str(reason)}
    else:
        found |= _run(module, model, x)
    return found | {"seconds": round(time.process_time() - began, 1)}


def plain(artefact: Artefact) -> Predictor:
    """The native backend's own loops, whose every operation is defined; oneDNN may contract a
    requantization's multiplication and addition (docs/spec.md)."""
    if artefact.graph.steps:
        return DividedPredictor(artefact, plain)
    return NativePredictor(compiled(artefact, 1, "portable"), artefact.graph, 1)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest, of the largest logit."""
    return float((found - expected).abs().max() / expected.abs().max())


def against_float64(
    module: nn.Module, computed: Tensor, expected: Tensor, x: Tensor
) -> dict[str, float]:
    """How far the graph and the module, both in float32, are from the module in float64."""
    with torch.no_grad():
        exact = deepcopy(module).double()(x.double())
    return {"graph_error": difference(computed, exact), "own_error": difference(expected, exact)}


def agrees(found: dict[str, Any]) -> bool:
    """Whether a graph computes what its module does, as well as float32 can tell."""
    if "graph_error" not in found:
        return bool(found["error"] <= TOLERANCE)
    return bool(found["graph_error"] <= max(TOLERANCE, found["own_error"]))


def _run(module: nn.Module, model: FloatModel, x: Tensor) -> dict[str, Any]:
    with torch.no_grad():
        expected = module(x.clone())
        computed = forward(model.graph, mean_weights(model), x, constants=model.constants)
    artefact = quantize(model, "INT8_SIGMA4", observe_ranges(model, x, "minmax"))
    predictors = (
        plain(artefact),
        *(BACKENDS.get(n).load(artefact, 1) for n in ("reference", "native")),
    )
    logits = [one.logits(x[:1], 3, range(PASSES)) for one in predictors]
    error = difference(computed, expected)
    equal = torch.equal(logits[0], logits[1]) and bool(logits[2].isfinite().all())
    drawn = not torch.equal(logits[0][0], logits[0][1])
    share = operations(model.graph)
    found = {
        "error": error,
        **(against_float64(module, computed, expected, x) if error > TOLERANCE else {}),
        "equal": equal,
        "drawn": drawn,
        "operations": [share.inside, share.total] if share else None,
        "multiply_adds": [share.inside_multiply_adds, share.total_multiply_adds] if share else None,
        "float": sorted({one.target for one in model.graph.operations}),
    }
    ran = equal and drawn and agrees(found)
    return found | {"verdict": ("divided" if share else "native") if ran else "differs"}
