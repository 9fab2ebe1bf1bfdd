"""How fast weights are drawn, against a plain copy of the same bytes.

A weight costs one byte of μ and n/8 of σ read and one byte written, so a copy that moves as many
bytes, read and written, is what the memory could do at best. Every σ width draws the same number of
weights; sizes go beyond the caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from ... import native
from ...backends.native import build
from ...core.errors import UserError
from ...core.waiting import Report, warn_if_long
from ...measure.clock import Task as Timed
from ...measure.clock import expected_seconds, interleave
from ...measure.watch import CoreWatch
from ...race.one_layer import one_layer
from ...race.references import References
from ...race.together import references
from ...records.runtime_record import SamplerBody, SamplerRecord, SamplerSubject, Width
from ..study import Measured, Surroundings, Task
from .plan import INPUTS

BITS = (1, 2, 3, 4, 5, 6, 7, 8)
MIN_SAMPLES = 20


def measurer(
    plan: SamplerSubject, tasks: Sequence[Task[SamplerSubject]], surroundings: Surroundings
) -> SamplerMeasurer:
    """What draws and copies."""
    return SamplerMeasurer(surroundings.report)


class SamplerMeasurer:
    """Times every σ width and the copy of its bytes in turns.

    Args:
        report: progress; told how long it will take, too.
    """

    def __init__(self, report: Report) -> None:
        self.report = report

    def __call__(self, task: Task[SamplerSubject]) -> Iterator[Measured[SamplerSubject]]:
        """Draw and copy.

        Raises:
            UserError: nothing is compiled here.
        """
        if reason := native.unavailable():
            raise UserError(f"Nothing can be drawn natively here: {reason}")
        (subject,) = task.subjects
        watch = CoreWatch()
        fixed = References(subject.threads)

        def rest() -> None:
            self.report("Drawing", 0, 1)
            fixed()
            watch.look()

        widths = self._widths(subject, rest)
        conditions = watch.conditions
        path = native.load().sampler_paths()[0]
        body = SamplerBody(path, widths, watch.told(), fixed.taken())
        yield Measured(subject, body, conditions=conditions)

    def close(self) -> None:
        """Nothing is kept."""

    def _widths(self, asked: SamplerSubject, rest: Callable[[], None]) -> tuple[Width, ...]:
        programs = [_program(bits, asked) for bits in BITS]
        moved = [program.traffic(1) for program in programs]
        sizes = [one["mean"] + one["std"] + asked.weights for one in moved]
        copies = [native.load().Buffers(size // 2, asked.threads) for size in sizes]
        timed = [_draw(program, asked.seed) for program in programs] + [_copy(c) for c in copies]
        long = sum(expected_seconds(_seconds(one), asked.seconds, MIN_SAMPLES) for one in timed)
        warn_if_long(self.report, "Drawing and copying", long)

        samples = interleave(
            timed,
            asked.seconds,
            min_samples=MIN_SAMPLES,
            rest=rest,
        )
        return tuple(
            Width(
                bits=bits,
                weights=asked.weights,
                moved_bytes=sizes[k],
                draw_ns=samples[k].latency_ns,
                draw_slices=samples[k].slices,
                copy_ns=samples[len(BITS) + k].latency_ns,
                copy_slices=samples[len(BITS) + k].slices,
            )
            for k, bits in enumerate(BITS)
        )


def _seconds(timed: Timed) -> float:
    """A query, buffers made."""
    timed(0)
    start = time.perf_counter()
    timed(1)
    return time.perf_counter() - start


def _draw(program: Any, seed: int) -> Callable[[int], None]:
    return lambda index: program.draw(seed, index, 1)


def _copy(copy: Any) -> Callable[[int], None]:
    return lambda _: copy.copy()


def _program(bits: int, asked: SamplerSubject) -> Any:
    """One linear layer with σ in `bits` bits."""
    format = "INT8" if bits == 8 else f"INT8_SIGMA{bits}"
    artefact = one_layer(format, asked.weights // INPUTS, INPUTS, seed=asked.seed)
    return build(artefact, asked.threads, team=asked.threads)


def joined(parts: Sequence[SamplerRecord]) -> Measured[SamplerSubject]:
    """The widths of all processes.

    Args:
        parts: one of each process.
    """
    bodies = [one.body for one in parts]
    findings = dict.fromkeys(finding for one in bodies for finding in one.findings)
    body = replace(
        bodies[0],
        widths=tuple(map(_together, zip(*(one.widths for one in bodies), strict=True))),
        findings=tuple(findings),
        references=references([one.references for one in bodies]),
    )
    return Measured(parts[0].subject, body)


def _together(same: Sequence[Width]) -> Width:
    """One width in all processes."""
    return replace(
        same[0],
        draw_ns=tuple(chain.from_iterable(one.draw_ns for one in same)),
        draw_slices=tuple(chain.from_iterable(one.draw_slices for one in same)),
        copy_ns=tuple(chain.from_iterable(one.copy_ns for one in same)),
        copy_slices=tuple(chain.from_iterable(one.copy_slices for one in same)),
        processes=(
            tuple(len(one.draw_slices) for one in same),
            tuple(len(one.copy_slices) for one in same),
        ),
    )
