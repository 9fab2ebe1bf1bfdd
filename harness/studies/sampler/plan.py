"""What is asked of the sampler: how many weights are drawn, by how many threads."""

from __future__ import annotations

from ...core.checks import check_counts, check_seconds, check_seed
from ...core.errors import UserError
from ...machine.cores import cores_for
from ...records.nearest import nearest
from ...records.runtime_record import SAMPLER as KIND
from ...records.runtime_record import SamplerSubject
from ..flags import PROCESSES
from ..study import TIMED, Option, Task

__all__ = ["ARGUMENT", "HELP", "KIND", "OPTIONS", "SHOWN", "nearest", "plan", "tasks"]

HELP = """Draw weights with σ in 1 to 8 bits, against a plain copy of the same bytes."""
ARGUMENT = ""
INPUTS = 4096  # of the one linear layer whose weights are drawn
LEAST = 1 << 16
OPTIONS = (
    Option("--weights", "Number of weights per draw.", "whole", default=1 << 26),
    Option("--threads", "Cores that share a draw.", "whole", shown="all"),
    Option("--seconds", "Timed seconds per width of σ.", "number", default=2.0),
    PROCESSES,
    Option("--seed", "Seed of the posterior and the draws.", "whole", default=0),
)
SHOWN: tuple[Option, ...] = ()


def plan(
    *,
    scoring: bool,
    weights: int,
    threads: int | None,
    seconds: float,
    processes: int = 1,
    seed: int,
) -> tuple[SamplerSubject, tuple[str, ...]]:
    """From a user's choices; the weights are those of whole blocks of outputs.

    Raises:
        UserError: one of them is out of range.
    """
    if not LEAST <= weights < 1 << 31:
        raise UserError(f"--weights is {weights}; give a number from {LEAST} to {2**31 - 1}.")
    cores = cores_for(threads, scoring)
    check_counts("--threads", (cores,))
    check_counts("--processes", (processes,))
    check_seconds(seconds)
    check_seed(seed)
    outputs = max(weights // INPUTS // 16 * 16, 16)
    return SamplerSubject(outputs * INPUTS, cores, seconds, seed, processes), ()


def tasks(plan: SamplerSubject, measuring: bool) -> list[Task[SamplerSubject]]:
    """One: all widths and their copies take turns."""
    return [Task((plan,), TIMED)]
