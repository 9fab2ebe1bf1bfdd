"""Networks that only speed is asked of: seeded weights, a synthetic posterior, random images.

What a pass costs does not depend on what was learned, so no data and no training are needed. Every
record of such a network says that its posterior is synthetic.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.deferred import Deferred
from ..core.registry import Registry
from ..machine.torch_state import plain

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..quantize.calibrate import Calibration
    from ..quantize.fold import FloatModel

CALIBRATION_IMAGES = 8
DELTA = 0.05  # σ = DELTA·|w|
POSTERIOR = f"synthetic: seeded weights, σ = {DELTA}·|w|"


@dataclass(frozen=True)
class Network:
    """A network and the images it takes.

    Attributes:
        name: how users call it.
        title: one line for listings.
        target: `module:attribute` of what makes the module when it is called.
        input_shape: (C, H, W) of one image.
        classes: number of classes.
    """

    name: str
    title: str
    target: str
    input_shape: tuple[int, int, int]
    classes: int

    def module(self) -> nn.Module:
        """The module with fresh weights, from PyTorch's global generator."""
        made: nn.Module = Deferred(self.target)()
        return made

    def source(self) -> str:
        """`target` for an environment without this package: its own modules as `file.py:attribute`.

        Such a file imports PyTorch alone.
        """
        module, _, attribute = self.target.partition(":")
        if not module.startswith("sigmabench."):
            return self.target
        spec = importlib.util.find_spec(module)
        assert spec is not None
        return f"{spec.origin}:{attribute}"

    @plain
    def images(self, count: int, seed: int) -> Tensor:
        """Normal numbers, float32 [count, C, H, W]."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, *self.input_shape, generator=generator)

    @plain
    def synthetic(self, seed: int = 0) -> Synthetic:
        """A folded posterior and its activation ranges; the same for the same seed."""
        import torch

        from ..posterior import moped
        from ..quantize.calibrate import observe_ranges
        from ..quantize.fold import fold

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.module()
        images = self.images(CALIBRATION_IMAGES, seed)
        settle(module, images)
        model = fold(module, moped(module, DELTA), self.input_shape)
        return Synthetic(model, observe_ranges(model, images, "minmax"))


@dataclass(frozen=True, eq=False)
class Synthetic:
    """What every format of a network is made from.

    Attributes:
        model: folded, with μ the seeded weights and σ = `DELTA`·|μ|.
        calibration: activation ranges on random images.
    """

    model: FloatModel
    calibration: Calibration


def settle(module: nn.Module, images: Tensor) -> None:
    """Batch-norm statistics of these images, so that activations have the scale of a trained
    network's; the module ends in evaluation mode."""
    import torch
    from torch import nn

    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches: here, one
    with torch.no_grad():
        module.train()(images)
    module.eval()


RESNET50 = Network(
    "resnet50",
    "torchvision's ResNet-50 at 224×224: 25.6 M weights",
    "torchvision.models:resnet50",
    (3, 224, 224),
    1000,
)
RESNET20 = Network(
    "resnet20",
    "ResNet-20 of the CIFAR-10 experiments: 0.27 M weights",
    "sigmabench.workloads.resnet20:ResNet20",
    (3, 32, 32),
    10,
)
LENET5 = Network(
    "lenet5",
    "LeNet-5 of the MNIST workload: 61,706 weights",
    "sigmabench.workloads.models:lenet5",
    (1, 28, 28),
    10,
)

NETWORKS: Registry[Network] = Registry(
    "network",
    {
        name: f"{__name__}:{attribute}"
        for name, attribute in (
            ("resnet50", "RESNET50"),
            ("resnet20", "RESNET20"),
            ("lenet5", "LENET5"),
        )
    },
)
