"""How fast a processor can be at most, and how fast a record says it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from ..core.formats import FORMATS
from ..machine.fingerprint import Fingerprint

if TYPE_CHECKING:
    from torch import nn

HERTZ = 5e9
#: Multiply–adds that a core begins in a cycle at most, by arithmetic and what the processor has:
#: two vector instructions, or of AMX a tile of 16 × 16 × 64 bytes in 16 cycles.
WIDTHS: dict[str, tuple[tuple[str, int], ...]] = {
    "int8": (("amx_int8", 1024), ("avx512_vnni", 128), ("avx512bw", 128), ("", 64)),
    "bf16": (("amx_bf16", 512), ("avx512_bf16", 64), ("avx512f", 64), ("", 32)),
    "fp32": (("avx512f", 32), ("", 16)),
}


def width(format: str, made: Fingerprint) -> int:
    """Multiply–adds per cycle and core, of a format on a processor."""
    arithmetic = FORMATS.get(format).arithmetic if format in FORMATS else "int8"
    return next(count for flag, count in WIDTHS[arithmetic] if flag in ("", *made.isa))


def most_per_second(format: str, made: Fingerprint) -> float:
    """Multiply–adds per second of all cores."""
    machine = made.machine
    cores = made.cores if machine is None else max(made.cores, machine.cores)
    return cores * HERTZ * width(format, made)


@lru_cache(maxsize=32)
def multiply_adds(name: str) -> int | None:
    """Of convolutions and linear layers on one image, for a workload or network that ships; None
    for another.

    Args:
        name: of it.
    """
    from ..race.networks import NETWORKS
    from ..workload.workload import WORKLOADS

    if WORKLOADS.built_in(name) is not None:
        workload = WORKLOADS.get(name)
        return _counted(workload.model, workload.input_shape)
    if NETWORKS.built_in(name) is not None:
        network = NETWORKS.get(name)
        return _counted(network.module, network.input_shape)
    return None


def _counted(make: Callable[[], nn.Module], shape: tuple[int, int, int]) -> int:
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        module = make()
    total = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        places = output[0].numel() // weight.shape[0]
        total += weight.numel() * places

    layers = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        module.eval()(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return total
