"""What takes turns with everything that is timed: the same work in every version, so that what the
machine and its neighbours did meanwhile is seen, and an empty program behind our interface."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..backends.base import BACKENDS
from ..peers.contender import PAUSE_SECONDS
from ..quantize.options import Options
from ..quantize.ptq import Origin, quantize
from ..records.reference_times import Reference
from ..workload.plan import INT8_BACKEND
from .networks import Network

if TYPE_CHECKING:
    from ..backends.base import Predictor

SIDE = 1024  # of the matrices
COPIED_BYTES = 64 << 20
ROUNDS = 3  # the first wakes threads and fetches what the others have driven out of the caches
EMPTY = Network("empty", "one weight", f"{__name__}:one_weight", (1, 1, 1), 1)

_WORK = {
    "int8 product": f"the product of two int8 matrices of {SIDE}×{SIDE}, by PyTorch",
    "copy": f"a copy of {COPIED_BYTES >> 20} MiB to another place, by PyTorch",
    "empty program": "one pass of one image of one pixel through a network of one weight, in INT8",
}


class References:
    """Work to be done once between turns.

    Args:
        threads: cores that it may use.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._calls = {name: call for name, call in _calls(threads).items() if call is not None}
        self._taken: dict[str, list[int]] = {name: [] for name in self._calls}

    def __call__(self) -> None:
        """Do all of it, and keep how long the last of three times took."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            for name, call in self._calls.items():
                for _ in range(ROUNDS):
                    start = time.perf_counter_ns()
                    call()
                    taken = time.perf_counter_ns() - start
                self._taken[name].append(taken)
        finally:
            torch.set_num_threads(before)
        time.sleep(PAUSE_SECONDS)  # PyTorch's threads spin a while, and would slow who is next

    def taken(self) -> tuple[Reference, ...]:
        """What was done, and how long it took."""
        return tuple(
            Reference(name, _WORK[name], tuple(taken))
            for name, taken in self._taken.items()
            if taken
        )


def one_weight() -> nn.Module:
    """The least network that there is."""
    return nn.Sequential(nn.Flatten(), nn.Linear(1, 1))


def _calls(threads: int) -> dict[str, Callable[[], object] | None]:
    """By name; None for what this machine or this torch cannot do."""
    source = torch.ones(COPIED_BYTES // 4)
    target = torch.zeros_like(source)
    return {
        "int8 product": product("int8"),
        "copy": lambda: target.copy_(source),
        "empty program": _empty(threads),
    }


def product(numbers: str) -> Callable[[], Tensor] | None:
    """A product of two square matrices by PyTorch; None where it has none.

    Args:
        numbers: `fp32`, `bf16` or `int8`.
    """
    generator = torch.Generator().manual_seed(0)
    if numbers != "int8":
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[numbers]
        one, other = (torch.randn(SIDE, SIDE, generator=generator).to(kind) for _ in range(2))
        return lambda: one @ other
    # PyTorch promises no public product of int8 matrices: the one it has is asked for by name.
    multiply: Callable[[Tensor, Tensor], Tensor] | None = getattr(torch, "_int_mm", None)
    if multiply is None:
        return None
    first, second = (
        torch.randint(-127, 128, (SIDE, SIDE), generator=generator, dtype=torch.int8)
        for _ in range(2)
    )
    return lambda: multiply(first, second)


def _empty(threads: int) -> Callable[[], Tensor] | None:
    if BACKENDS.get(INT8_BACKEND).unavailable():
        return None
    predictor, image = _predictor(threads), torch.ones(1, 1, 1, 1)
    return lambda: predictor.logits(image, 0, range(1))


def _predictor(threads: int) -> Predictor:
    made = EMPTY.synthetic()
    source = Origin(EMPTY.name, "synthetic", "")
    artefact = quantize(made.model, "INT8", made.calibration, Options(), source)
    return BACKENDS.get(INT8_BACKEND).load(artefact, threads)
