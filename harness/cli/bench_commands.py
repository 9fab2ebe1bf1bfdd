"""`sigmabench bench`: what the runtime costs. Each command is options in, one call, output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..peers.environment import ENVIRONMENTS
from .terminal import MEMORY, Names, Numbers, command_line, echo_json, progress, show

if TYPE_CHECKING:
    from ..records.runtime_record import MemoryUse, Race

R = TypeVar("R", "Race", "MemoryUse")


@click.group()
def bench() -> None:
    """Time the runtime itself, on networks with synthetic posteriors."""


@bench.command()
@click.argument("network")
@click.option("--batch", type=Numbers(), default="1,8,32", help="Images a query; a race each.")
@click.option("--mc", type=int, default=50, help="Passes a query, T; fewer where they are slow.")
@click.option("--threads", type=int, help="Cores a contender may use.  [default: all]")
@click.option("--formats", type=Names(), help="Ours.  [default: int8, BF16, FP32]")
@click.option("--peers", type=Names(), default="ipex,bayesian-torch", help="Others, or none.")
@click.option(
    "--environments",
    type=click.Path(path_type=Path),
    default=ENVIRONMENTS,
    help="Folder of the peers' environments.",
)
@click.option("--seconds", type=float, default=5.0, help="Timed seconds a contender.")
@click.option("--seed", type=int, default=0, help="Of weights, images and noise.")
@click.option("--results", type=click.Path(path_type=Path), default="results", help="Directory.")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def passes(
    network: str,
    batch: tuple[int, ...],
    mc: int,
    threads: int | None,
    formats: tuple[str, ...] | None,
    peers: tuple[str, ...],
    environments: Path,
    seconds: float,
    seed: int,
    results: Path,
    as_json: bool,
) -> None:
    """Race one pass of NETWORK (resnet50, resnet20, lenet5) in our formats and the peers'.

    Contenders take turns in one run; records go to --results.
    """
    from ..machine.cores import cores_for
    from ..peers.environment import chosen
    from ..race.contenders import FORMAT_NAMES
    from ..race.networks import NETWORKS
    from ..studies.bench import document as table
    from ..studies.bench import passes as race
    from ..workload.choices import format_name

    plan = race.RacePlan(
        NETWORKS.get(network),
        batches=tuple(dict.fromkeys(batch)),
        mc=mc,
        threads=cores_for(threads),
        formats=FORMAT_NAMES if formats is None else tuple(map(format_name, formats)),
        peers=tuple(chosen(peers)),
        environments=environments,
        seconds=seconds,
        seed=seed,
    )
    with progress(not as_json) as report:
        races = race.race(plan, command_line(), report)
        told = _stored(races, results, None if as_json else table.renderables, table.to_dict)
    if as_json:
        echo_json(told)


@bench.command()
@click.option("--weights", type=int, default=1 << 26, help="Weights a draw.")
@click.option("--threads", type=int, help="Cores that share a draw.  [default: all]")
@click.option("--seconds", type=float, default=2.0, help="Timed seconds a width.")
@click.option("--seed", type=int, default=0, help="Of the posterior and the draws.")
@click.option("--results", type=click.Path(path_type=Path), default="results", help="Directory.")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def sampler(
    weights: int, threads: int | None, seconds: float, seed: int, results: Path, as_json: bool
) -> None:
    """Draw weights with σ in 1 to 8 bits, against a plain copy of the same bytes."""
    from ..machine.cores import cores_for
    from ..measure.watch import CoreWatch
    from ..records.run_record import RUN_RECORDS
    from ..records.store import Store
    from ..studies.bench import sampler as measured

    plan = measured.SamplerPlan(weights, cores_for(threads), seconds, seed)
    Store(results, RUN_RECORDS).ensure_writable()
    with progress(not as_json) as report:
        watch = CoreWatch()
        widths = measured.measure(plan, report)
    run = measured.record_of(plan, command_line(), widths, watch.told())
    path = measured.save(run, results)
    if as_json:
        echo_json(measured.to_dict(run))
        return
    show(measured.table(run), *measured.notes(run), f"Record: {path}\n")


@bench.command()
@click.argument("network")
@click.option("--format", "form", default="INT8", help="Numeric format; see `sigmabench list`.")
@click.option("--batch", type=Numbers(), default="1,32", help="Images a query; a process each.")
@click.option("--mc", type=int, default=50, help="Passes a query, T.")
@click.option("--threads", type=int, help="Cores the program may use.  [default: all]")
@click.option("--seed", type=int, default=0, help="Of weights, images and noise.")
@click.option("--results", type=click.Path(path_type=Path), default="results", help="Directory.")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def memory(
    network: str,
    form: str,
    batch: tuple[int, ...],
    mc: int,
    threads: int | None,
    seed: int,
    results: Path,
    as_json: bool,
) -> None:
    """Memory that a program of NETWORK (resnet50, resnet20, lenet5) takes, against the least.

    Each batch size runs in a fresh process; records go to --results.
    """
    from ..machine.cores import cores_for
    from ..race.networks import NETWORKS
    from ..studies.bench import memory as measured
    from ..workload.choices import format_name

    batches = tuple(dict.fromkeys(batch))
    cores = cores_for(threads)
    plan = measured.MemoryPlan(NETWORKS.get(network), format_name(form), batches, mc, cores, seed)
    with progress(not as_json) as report:
        uses = measured.measure(plan, command_line(), report)
        told = _stored(uses, results, None if as_json else measured.renderables, measured.to_dict)
    if as_json:
        echo_json(told)


def _stored(
    measured: Iterable[R],
    results: Path,
    shown: Callable[[R], list[Any]] | None,
    to_dict: Callable[[R], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Each record as JSON types, written, and shown if a person reads, before the next is made."""
    from ..records import runtime_record as record
    from ..records.run_record import RUN_RECORDS
    from ..records.store import Store

    Store(results, RUN_RECORDS).ensure_writable()
    told = []
    for one in measured:
        path = record.save(one, results)
        told.append(to_dict(one))
        if shown is not None:
            show(*shown(one), f"Record: {path}\n")
    return told
