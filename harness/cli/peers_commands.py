"""`sigmabench peers`: options in, one call, output."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from ..peers.environment import ENVIRONMENTS
from .terminal import MEMORY, Names, command_line, echo_json, progress, show, tell


@click.command()
@click.argument("workload")
@click.option("--peers", type=Names(), default="bayesian-torch,inductor,ipex", help="Or none.")
@click.option(
    "--formats",
    type=Names(),
    help="Ours.  [default: FP32, BF16, INT8, its σ in 4, 2, 1 bits, twins]",
)
@click.option("--mc", type=int, default=50, help="Passes T of Bayesian contenders.")
@click.option("--batch", type=int, default=32, help="Images a query.")
@click.option("--threads", type=int, help="Cores a contender may use.  [default: all]")
@click.option("--limit", type=int, default=500, help="Images to score; 0 for the whole split.")
@click.option("--split", default="test", help="test, or validation for choosing.")
@click.option("--posterior", type=click.Path(path_type=Path), help="File.  [default: what ships]")
@click.option("--data", type=click.Path(path_type=Path), help="Data root.")
@click.option("--seed", type=int, default=0, help="Of the draws.")
@click.option("--seconds", type=float, default=3.0, help="Timed seconds a contender.")
@click.option(
    "--environments",
    type=click.Path(path_type=Path),
    default=ENVIRONMENTS,
    help="Folder of the peers' environments.",
)
@click.option("--results", type=click.Path(path_type=Path), default="results", help="Directory.")
@click.option("--policy", default="only-missing", help="only-missing, always or never (read only).")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def peers(
    workload: str,
    peers: tuple[str, ...],
    environments: Path,
    results: Path,
    policy: str,
    as_json: bool,
    **choices: Any,
) -> None:
    """WORKLOAD in our formats and in other implementations: one posterior, the same images and T.

    Accuracy, calibration, what the draws keep of σ, time a pass in turns, size on disk. A peer that
    is not installed, or fails, is a row that says why.
    """
    from ..peers.environment import chosen
    from ..records.peers_record import failed
    from ..records.run_record import RUN_RECORDS
    from ..records.store import Policy, Store
    from ..studies.peers import document as table
    from ..studies.peers.measure import compare
    from ..studies.peers.plan import PeersPlan, plan_from
    from ..workload.workload import resolve_workload

    plan = PeersPlan(
        plan_from(resolve_workload(workload), **choices), tuple(chosen(peers)), environments
    )
    how = Policy.named(policy)
    if policy != "never":
        Store(results, RUN_RECORDS).ensure_writable()
    with progress(not as_json) as report:
        started = datetime.now(timezone.utc).isoformat()
        found, path = compare(plan, results, command_line(), how, report)
    lacking = failed(found)
    if lacking and found.created < started:
        tell(
            f"This is the record of {found.created[:10]}, in which {', '.join(lacking)} had no "
            "figures; --policy always measures again."
        )
    if as_json:
        echo_json(table.to_dict(found))
        return
    show(*table.renderables(found), f"Record: {path}\n")
