"""What this machine does at best: loops in registers, levels of memory, the sampler, products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import native
from ...backends import float_program
from ...backends import native as int8_program
from ...backends.divided import torch_threads
from ...core.errors import UserError
from ...core.formats import FORMATS, Format
from ...machine.caches import cache_sizes
from ...machine.describe import this_machine
from ...measure.clock import fastest
from ...quantize.artefact import Artefact
from ...race.one_layer import NAME, one_layer
from ...race.own_process import answer_of
from ...race.references import SIDE, product
from ...records.roofline_record import LoopRate, ProductRate, SamplerRate

NUMBERS = ("fp32", "bf16", "int8")
INPUTS = 512  # of the layer that is drawn
DRAWS = 32  # of each thread in a timed call
_OF_NUMBERS = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}
_CACHE = 1 << 20  # where the machine does not tell
_MAP = 32  # side of the map whose pixels are the rows of a product: SIDE = _MAP²
START_SECONDS = 0.6  # of a process


def thread_counts(threads: int) -> tuple[int, ...]:
    """1, 2, 4 and so on, and all."""
    counts = {threads}
    one = 1
    while one < threads:
        counts.add(one)
        one *= 2
    return tuple(sorted(counts))


def loop_names() -> tuple[str, ...]:
    """Loops that this CPU can run."""
    return tuple(one["name"] for one in native.load().loops())


def loop_rates(name: str, threads: tuple[int, ...], seconds: float) -> Iterator[LoopRate]:
    """Of one loop, in a process of its own.

    Args:
        name: in `loop_names`.
        threads: numbers of them.
        seconds: of each number.

    Raises:
        UserError: the process fails.
    """
    told = answer_of(
        f"{__package__}.loop_process",
        {"loop": name, "threads": threads, "seconds": seconds},
        f"The process that runs the loop {name}",
        ("give less --seconds", "run the same command again"),
    )
    if "error" in told:
        raise UserError(f"Here {told['error']}; give --policy never to see older records.")
    numbers, isa = name.split()
    for count, (rate, hertz) in zip(threads, told["rates"], strict=True):
        yield LoopRate(numbers, isa, count, rate, hertz)


def sampler_rates(
    format: Format, threads: tuple[int, ...], seconds: float
) -> Iterator[SamplerRate]:
    """Weights of one layer, as many as half of a second-level cache holds with their μ and σ, drawn
    by each thread for itself.

    Args:
        format: whose sampler it is.
        threads: numbers of them.
        seconds: of each number.
    """
    caches = cache_sizes(this_machine().caches)
    bits = 2 * format.mean_bits + format.sigma_bits
    weights = caches.get(2, _CACHE) // 2 * 8 // bits
    outputs = max(weights // INPUTS // 16 * 16, 16)
    artefact = one_layer(format.name, outputs, INPUTS)
    for count in threads:
        program = _program(artefact, count)
        passes = DRAWS * count
        taken = fastest(lambda: program.draw(0, 0, passes), seconds)  # noqa: B023
        yield SamplerRate(program.sampler, count, passes * outputs * INPUTS / taken)


def product_rates(threads: int, seconds: float) -> Iterator[ProductRate]:
    """Products of large matrices, by PyTorch and by the compiled runtime.

    Args:
        threads: that share one.
        seconds: of each.
    """
    for numbers in NUMBERS:
        yield _by_pytorch(numbers, threads, seconds)
        yield _by_runtime(numbers, threads, seconds)


def _by_pytorch(numbers: str, threads: int, seconds: float) -> ProductRate:
    call = product(numbers)
    if call is None:
        reason = "this PyTorch has no product of int8 matrices"
        return ProductRate("PyTorch", numbers, SIDE, threads, None, reason)
    with torch_threads(threads):
        taken = fastest(call, seconds)
    return ProductRate("PyTorch", numbers, SIDE, threads, SIDE**3 / taken)


def _by_runtime(numbers: str, threads: int, seconds: float) -> ProductRate:
    """A 1×1 convolution of fixed weights: the time inside its kernel, as the program tells it."""
    artefact = one_layer(_OF_NUMBERS[numbers], SIDE, SIDE, side=_MAP, sampled=False)
    try:
        program = _program(artefact, threads)
    except ValueError as reason:
        return ProductRate("sigmabench", numbers, SIDE, threads, None, str(reason))
    x = np.random.default_rng(0).standard_normal((1, SIDE, _MAP, _MAP), np.float32)
    taken: list[int] = []

    def call() -> None:
        steps = program.profile(x, 0, 0, 1)["steps"]
        taken.append(sum(step["compute_ns"] for step in steps if step["name"] == NAME))

    fastest(call, seconds)
    return ProductRate("sigmabench", numbers, SIDE, threads, SIDE**3 * threads / min(taken) * 1e9)


def _program(artefact: Artefact, threads: int) -> Any:
    """Of one layer; passes are drawn side by side, a product is shared by all threads."""
    format = FORMATS.get(artefact.header.format)
    sampled = artefact.sampled(artefact.graph.convs[0])
    build = int8_program.build if format.quantized else float_program.build
    return build(artefact, threads, team=1 if sampled else threads)


def expected_seconds(loops: int, levels: int, counts: int, seconds: float) -> float:
    """About how long all of it takes.

    Args:
        loops: instruction sets.
        levels: of caches and memory.
        counts: numbers of threads.
        seconds: of each measurement.
    """
    each = loops + 2 * levels + 1
    return loops * START_SECONDS + (each * counts + 2 * len(NUMBERS)) * seconds
