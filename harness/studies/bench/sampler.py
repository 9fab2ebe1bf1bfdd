"""How fast weights are drawn, against a plain copy of the same bytes.

A weight costs one byte of μ and n/8 of σ read and one byte written, so a copy that moves as many
bytes, read and written, is what the memory could do at best. Every σ width draws the same number of
weights; sizes go beyond the caches.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ... import native
from ...backends.native import build
from ...core.checks import check_counts, check_seconds, check_seed
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.sheet import Column, RichSheet, Sheet
from ...core.waiting import Report, warn_if_long
from ...core.words import plural
from ...machine.describe import fingerprint
from ...machine.fingerprint import Fingerprint
from ...measure.clock import Task, expected_seconds, interleave
from ...quantize.artefact import Artefact, Header, Layer
from ...quantize.graph import Activation, Conv, Graph
from ...records.kind import digest
from ...records.record_file import write_record
from ...records.runtime_record import FOLDER
from ...records.store import fingerprint_hash
from ...stats.latency import Ratio, ratio_of_medians

INPUTS = 4096  # of the one linear layer whose weights are drawn
BITS = (1, 2, 3, 4, 5, 6, 7, 8)
MIN_SAMPLES = 20
LEAST = 1 << 16


@dataclass(frozen=True)
class Width:
    """One width of σ, and the copy that took turns with it.

    Attributes:
        bits: of σ, 1 to 8.
        weights: drawn in a sample.
        moved_bytes: μ and σ read and weights written in a sample; the copy reads and writes as many
            together.
        draw_ns: every timed draw, in order.
        draw_slices: how many draws each turn held.
        copy_ns: every timed copy, in order.
        copy_slices: how many copies each turn held.
    """

    bits: int
    weights: int
    moved_bytes: int
    draw_ns: tuple[int, ...]
    draw_slices: tuple[int, ...]
    copy_ns: tuple[int, ...]
    copy_slices: tuple[int, ...]

    @property
    def weights_per_second(self) -> float:
        """By the median draw."""
        return self.weights / statistics.median(self.draw_ns) * 1e9

    @property
    def gb_per_s(self) -> float:
        """Bytes moved by the median draw, 10^9 a second."""
        return self.moved_bytes / statistics.median(self.draw_ns)

    @property
    def copy_gb_per_s(self) -> float:
        """The same of the median copy."""
        return self.moved_bytes / statistics.median(self.copy_ns)

    @property
    def share(self) -> Ratio:
        """Bandwidth of the draws over that of the copies, with the 95 % interval."""
        return ratio_of_medians((self.copy_ns, self.draw_ns), (self.copy_slices, self.draw_slices))


@dataclass(frozen=True)
class SamplerRun:
    """All widths, timed in turns.

    Attributes:
        threads: cores that shared a draw, and a copy.
        sampler: the sampler's path.
        seed: of μ, σ and the first draw.
        seconds: timed seconds of every width at least.
        widths: by bits.
        fingerprint: machine, software and code.
        command: the command line that made it.
        created: when, UTC, ISO 8601.
        findings: what befell the cores meanwhile, a line each.
        schema_version: of this layout.
    """

    threads: int
    sampler: str
    seed: int
    seconds: float
    widths: tuple[Width, ...]
    fingerprint: Fingerprint
    command: str
    created: str
    findings: tuple[str, ...] = ()
    schema_version: int = 1

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of what was asked for."""
        return digest([self.widths[0].weights, self.threads, self.seconds, self.seed])


@dataclass(frozen=True)
class SamplerPlan:
    """What to draw.

    Attributes:
        weights: how many a pass.
        threads: cores that share a pass, and a copy.
        seconds: timed seconds of every width, and of its copy.
        seed: of μ, σ and the draws.
    """

    weights: int = 1 << 26
    threads: int = 1
    seconds: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not LEAST <= self.weights < 1 << 31:
            raise UserError(
                f"--weights is {self.weights}; give a number from {LEAST} to {2**31 - 1}."
            )
        check_counts("--threads", (self.threads,))
        check_seconds(self.seconds)
        check_seed(self.seed)


def measure(plan: SamplerPlan, report: Report | None = None) -> tuple[Width, ...]:
    """Time every σ width and the copy of its bytes in turns.

    Args:
        plan: what to draw.
        report: progress; told how long it will take, too.

    Raises:
        UserError: nothing is compiled here.
    """
    if reason := native.unavailable():
        raise UserError(f"Nothing can be drawn natively here: {reason}")
    outputs = max(plan.weights // INPUTS // 16 * 16, 16)
    weights = outputs * INPUTS
    programs = [_program(bits, outputs, plan) for bits in BITS]
    moved = [program.traffic(1) for program in programs]
    sizes = [one["mean"] + one["std"] + weights for one in moved]
    copies = [native.load().Copy(size // 2, plan.threads) for size in sizes]
    tasks = [_draw(program, plan.seed) for program in programs] + [_copy(c) for c in copies]
    told = report or (lambda *_: None)
    long = sum(expected_seconds(_seconds(task), plan.seconds, MIN_SAMPLES) for task in tasks)
    warn_if_long(told, "Drawing and copying", long)
    samples = interleave(
        tasks, plan.seconds, min_samples=MIN_SAMPLES, rest=lambda: told("Drawing", 0, 1)
    )
    return tuple(
        Width(
            bits=bits,
            weights=weights,
            moved_bytes=sizes[k],
            draw_ns=samples[k].latency_ns,
            draw_slices=samples[k].slices,
            copy_ns=samples[len(BITS) + k].latency_ns,
            copy_slices=samples[len(BITS) + k].slices,
        )
        for k, bits in enumerate(BITS)
    )


def _seconds(task: Task) -> float:
    """A query, buffers made."""
    task(0)
    start = time.perf_counter()
    task(1)
    return time.perf_counter() - start


def record_of(
    plan: SamplerPlan, command: str, widths: tuple[Width, ...], findings: tuple[str, ...] = ()
) -> SamplerRun:
    """The record of a measurement."""
    return SamplerRun(
        threads=plan.threads,
        sampler=native.load().sampler_paths()[0],
        seed=plan.seed,
        seconds=plan.seconds,
        widths=widths,
        fingerprint=fingerprint(),
        command=command,
        created=datetime.now(timezone.utc).isoformat(),
        findings=findings,
    )


def save(run: SamplerRun, results: Path) -> Path:
    """Write to `<results>/runtime/sampler/<fingerprint hash>/<key>.json`.

    Raises:
        UserError: the place cannot be written.
    """
    folder = results / FOLDER / "sampler" / fingerprint_hash(run.fingerprint)
    path = folder / f"{run.key}.json"
    write_record(path, run)
    return path


def table(run: SamplerRun) -> RichSheet:
    """For every σ width: weights and bytes a second, and the copy of the same bytes."""
    title = (
        f"Drawing {run.widths[0].weights / 1e6:.0f} M weights, "
        f"{plural(run.threads, 'thread')}, {run.sampler}"
    )
    headings = ("σ bits", "10⁹ weights/s", "GB/s", "copy GB/s", "of the copy", "95 %")
    rows = tuple(
        (
            str(width.bits),
            f"{width.weights_per_second / 1e9:.2f}",
            f"{width.gb_per_s:.1f}",
            f"{width.copy_gb_per_s:.1f}",
            f"{width.share.value:.2f}",
            f"{width.share.low:.2f}–{width.share.high:.2f}",
        )
        for width in run.widths
    )
    return RichSheet(Sheet(title, tuple(map(Column, headings)), rows, {}))


def notes(run: SamplerRun) -> list[str]:
    """What a reader of the table should know, a sentence each."""
    return [f"Mind the cores: {finding}." for finding in run.findings]


def to_dict(run: SamplerRun) -> dict[str, Any]:
    """The record, with what the table shows."""
    figures = [
        {
            "bits": width.bits,
            "weights_per_second": width.weights_per_second,
            "gb_per_s": width.gb_per_s,
            "copy_gb_per_s": width.copy_gb_per_s,
            "share_of_copy": width.share.value,
        }
        for width in run.widths
    ]
    return {**asdict(run), "figures": figures}


def _draw(program: Any, seed: int) -> Callable[[int], None]:
    return lambda index: program.draw(seed, index, 1)


def _copy(copy: Any) -> Callable[[int], None]:
    return lambda _: copy.run()


def _program(bits: int, outputs: int, plan: SamplerPlan) -> Any:
    """One linear layer with σ in `bits` bits."""
    rng = np.random.default_rng(plan.seed)
    shape = (outputs, INPUTS, 1, 1)
    layer = Layer(
        mean=rng.integers(-127, 128, shape, np.int8),
        std=None,
        weight_scale=np.full(outputs, 0.01, np.float32),
        bias=np.zeros(outputs, np.float32),
        bias_std=np.zeros(outputs, np.float32),
        sigma_q=rng.integers(0, 1 << bits, shape, np.uint8),
        sigma_bits=bits,
        sigma_scale=np.full(outputs, 0.02 / (1 << bits), np.float32),
        sigma_offset=np.full(outputs, 0.001, np.float32),
    )
    graph = Graph(
        "x",
        "y",
        (Conv("y", "x", shape, "y.weight"),),
        {"x": Activation((INPUTS, 1, 1), 0.02), "y": Activation((outputs, 1, 1))},
    )
    format = FORMATS.get("INT8" if bits == 8 else f"INT8_SIGMA{bits}")
    header = Header(format.name, "sampler", "1", "", graph)
    return build(Artefact(header, {"y": layer}), plan.threads, team=plan.threads)
