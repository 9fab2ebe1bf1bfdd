"""What a commit has of the library, how much is measured, and the networks that are measured."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    from sigmabench.harness import api
except Exception as reason:  # a commit from before there was one, or that cannot be imported
    api, ABSENT = None, f"sigmabench.harness.api: {reason}"
else:
    ABSENT = ""

T = TypeVar("T")

PROFILES = ("quick", "regular", "full")
PROFILE = os.environ.get("SIGMABENCH_PROFILE", PROFILES[0])
if PROFILE not in PROFILES:
    raise ValueError(f"SIGMABENCH_PROFILE is {PROFILE!r}; give {', '.join(PROFILES)}.")


def by_profile(quick: T, regular: T, full: T) -> T:
    """What the chosen profile takes."""
    return (quick, regular, full)[PROFILES.index(PROFILE)]


NETWORKS = by_profile(
    ["lenet5", "resnet20"], ["lenet5", "resnet20", "resnet50"], ["lenet5", "resnet20", "resnet50"]
)
INT8_FORMATS = ["INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1"]
FORMATS = by_profile(
    ["INT8", "FP32", "BF16"],
    ["INT8", "INT8_SIGMA4", "INT8_SIGMA1", "FP32", "BF16"],
    [*INT8_FORMATS, "FP32", "BF16", "DNN_INT8", "DNN_FP32"],
)
BATCHES = by_profile([1], [1, 32], [1, 8, 32])
#: σ bits of the sampler, by the format that has them.
SAMPLED = {8: "INT8", 4: "INT8_SIGMA4", 2: "INT8_SIGMA2", 1: "INT8_SIGMA1"}

#: Samples of a time; asv sets up anew for each, and so waits for a quiet moment.
REPEAT = by_profile(8, 10, 20)
ROUNDS = by_profile(1, 2, 2)

SAMPLER = "sampler"  # a network whose weights alone are drawn
_WORKLOADS = {"lenet5": "lenet5-mnist", "resnet20": "resnet20-cifar10"}
_DELTA = 0.05  # σ = _DELTA·|w|
_IMAGES = 512  # that ranges are calibrated on
_CHANNELS = 128  # of the sampler's convolution, as in the larger layers of ResNets


def needed(name: str) -> Any:
    """What the API calls `name`.

    Raises:
        NotImplementedError: (asv's way to skip) this commit has none.
    """
    if api is None:
        raise NotImplementedError(ABSENT)
    if not hasattr(api, name):
        raise NotImplementedError(f"sigmabench.harness.api has no {name}")
    return getattr(api, name)


def tried(make: Callable[[], T]) -> tuple[T | None, dict[str, str]]:
    """What is made; else why not: what the commit or the machine `lacks`, or how it `failed`. A
    `setup_cache` that raises would take all of its benchmarks with it."""
    try:
        return make(), {}
    except NotImplementedError as reason:
        return None, {"lacks": str(reason)}
    except Exception as reason:
        return None, {"failed": f"{type(reason).__name__}: {reason}"}


def check(found: dict[str, Any]) -> None:
    """What `tried` said.

    Raises:
        NotImplementedError: something is lacking; asv skips.
        RuntimeError: it failed.
    """
    if "lacks" in found:
        raise NotImplementedError(found["lacks"])
    if "failed" in found:
        raise RuntimeError(found["failed"])


#: Why there is nothing of what was not asked for.
LEFT_OUT = {"lacks": "not in this profile"}


@lru_cache(maxsize=4)
def synthetic(network: str) -> tuple[Any, Any]:
    """A folded posterior with σ = 0.05·|w| and its activation ranges; speed and size do not depend
    on what was learned.

    Raises:
        NotImplementedError: this commit has no such network.
    """
    torch_threads()
    if network == SAMPLER:
        return _folded(_layer, (_CHANNELS, 4, 4))
    if api is not None and hasattr(api, "NETWORKS"):
        made = api.NETWORKS.get(network).synthetic()
        return made.model, made.calibration
    if network not in _WORKLOADS:
        raise NotImplementedError(f"sigmabench.harness.api has no {network} without weights")
    try:
        workload = needed("resolve_workload")(_WORKLOADS[network])
    except needed("UserError") as reason:
        raise NotImplementedError(str(reason)) from reason
    return _folded(workload.model, tuple(workload.input_shape))


def _folded(make: Callable[[], Any], shape: tuple[int, int, int]) -> tuple[Any, Any]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make().eval()
    model = needed("fold")(module, needed("moped")(module, _DELTA), shape)
    return model, needed("calibrate")(model, _normal(_IMAGES, shape, seed=0))


def _layer() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(_CHANNELS, 16),
    )


def artefact(network: str, format: str) -> Any:
    """The network in one format."""
    model, calibration = synthetic(network)
    return needed("quantize")(model, format, calibration)


def load(made: Any, format: str) -> Any:
    """A predictor of an artefact on one core.

    Raises:
        NotImplementedError: its backend cannot run here, or this commit has none.
    """
    torch_threads()
    backends = needed("BACKENDS")
    try:
        backend = backends.get("native" if "INT" in format else "float")
    except (ImportError, needed("UserError")) as reason:
        raise NotImplementedError(str(reason)) from reason
    if reason := backend.unavailable():
        raise NotImplementedError(reason)
    return backend.load(made, 1)


def draws(predictor: Any) -> Callable[[int], None]:
    """What draws the weights of so many passes, and computes nothing with them.

    Raises:
        NotImplementedError: this commit's programs cannot.
    """
    program = getattr(predictor, "program", None)
    if not hasattr(program, "draw"):
        raise NotImplementedError("the compiled program of this commit draws no weights alone")
    return lambda count: program.draw(0, 0, count)


def images(shape: tuple[int, ...], batch: int) -> Any:
    """Normal numbers, float32 [batch, *shape], every page of them written."""
    return _normal(batch, shape, seed=1)


def shape_of(network: str) -> tuple[int, int, int]:
    """(C, H, W) of its images."""
    return {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "resnet50": (3, 224, 224)}[network]


def _normal(count: int, shape: tuple[int, ...], seed: int) -> Any:
    import torch

    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def torch_threads() -> None:
    """One core for PyTorch, too: what is timed here leaves the other cores to the system."""
    import torch

    torch.set_num_threads(1)


def cells() -> Iterator[tuple[str, str]]:
    """Networks and formats of the profile; ResNet-50 in three formats."""
    for network in NETWORKS:
        for format in FORMATS:
            if network != "resnet50" or format in ("INT8", "FP32", "BF16"):
                yield network, format
