"""What is asked of memory: a network and a format in, a program for each batch size out."""

from __future__ import annotations

from ...core.checks import check_counts, check_seed
from ...core.formats import FORMATS
from ...machine.cores import cores_for
from ...race.networks import NETWORKS, POSTERIOR
from ...records.nearest import nearest
from ...records.runtime_record import MEMORY as KIND
from ...records.runtime_record import MemorySubject
from ..study import FRESH, Option, Task

__all__ = ["ARGUMENT", "HELP", "KIND", "OPTIONS", "SHOWN", "nearest", "plan", "tasks"]

HELP = """Measure the memory that a program of NETWORK (resnet50, resnet20, lenet5) takes.

The bound is the least memory it needs. Each batch size runs in a fresh process; records go to
--results.
"""
ARGUMENT = "network"
OPTIONS = (
    Option("--format", "Numeric format; see `sigmabench list`.", default="INT8"),
    Option("--batch", "Images per query; one process for each.", "numbers", default="1,32"),
    Option("--mc", "Number of passes per query, T.", "whole", default=50),
    Option("--threads", "Cores that the program may use.", "whole", shown="all"),
    Option("--seed", "Seed of weights, images and noise.", "whole", default=0),
)
SHOWN: tuple[Option, ...] = ()
Plan = tuple[MemorySubject, ...]


def plan(
    network: str,
    *,
    scoring: bool,
    format: str,
    batch: tuple[int, ...],
    mc: int,
    threads: int | None,
    seed: int,
) -> tuple[Plan, tuple[str, ...]]:
    """A program for each batch size.

    Raises:
        UserError: a choice is out of range or not known.
    """
    from ...workload.choices import format_name

    name, cores = NETWORKS.get(network).name, cores_for(threads, scoring)
    named = FORMATS.get(format_name(format)).name
    for flag, values in (("--batch", batch), ("--mc", (mc,)), ("--threads", (cores,))):
        check_counts(flag, values)
    check_seed(seed)
    batches = dict.fromkeys(batch)
    return tuple(MemorySubject(name, POSTERIOR, named, b, mc, cores, seed) for b in batches), ()


def tasks(plan: Plan, measuring: bool) -> list[Task[MemorySubject]]:
    """One for each batch size."""
    return [Task((subject,), FRESH) for subject in plan]
