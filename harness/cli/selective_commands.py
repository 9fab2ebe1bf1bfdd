"""`sigmabench selective`: options in, one call, output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal import MEMORY, Names, echo, echo_json, progress, show, tell

if TYPE_CHECKING:
    from ..studies.selective.measure import SelectiveFindings
    from ..studies.selective.plan import SelectivePlan
    from ..workload.workload import Workload

RESULTS = "results/selective"


@click.command()
@click.argument("workload")
@click.option("--formats", type=Names(), help="Formats; see `sigmabench list`.")
@click.option("--splits", type=Names(), help="Test sets.  [default: test and the workload's own]")
@click.option("--by", default="confidence", help="confidence, entropy or mutual-information.")
@click.option("--coverage", type=float, default=80.0, help="Images that are kept, %.")
@click.option("--bound", type=float, default=5.0, help="Balanced error of what is kept, %.")
@click.option("--mc", type=int, default=50, help="MC passes T.")
@click.option("--seed", type=int, default=0, help="First seed of the MC draws.")
@click.option("--seeds", type=int, default=3, help="Seeds to score; verdicts take three.")
@click.option("--limit", type=int, help="Images of each split.  [default: all]")
@click.option("--ood", type=Names(), help="Sets from outside.  [default: the workload's]")
@click.option("--workers", type=int, help="Processes side by side.  [default: all cores]")
@click.option("--backend", default="auto", help="Backend of the int8 formats.")
@click.option("--range", "range_", default="headroom", help="headroom or paper.")
@click.option("--data", type=click.Path(path_type=Path), help="Data root.")
@click.option("--posterior", type=click.Path(path_type=Path), help="Posterior file.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Directory.")
@click.option("--policy", default="only-missing", help="only-missing, always or never (read only).")
@click.option("--out", type=click.Path(path_type=Path), help="Write figures and tables here too.")
@click.option("--tiles", type=int, default=24, help="Images on the sheet of the least sure.")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def selective(
    workload: str,
    workers: int | None,
    results: Path,
    policy: str,
    out: Path | None,
    tiles: int,
    as_json: bool,
    **choices: Any,
) -> None:
    """Refer what WORKLOAD is unsure of: errors of the rest, and whom quantization changes.

    Thresholds are chosen on the validation split, which is scored too. What was finished is stored
    in --results, and the same command goes on.
    """
    from ..core.checks import check_counts
    from ..studies.selective.measure import findings
    from ..studies.selective.plan import selective_plan
    from ..workload.workload import resolve_workload
    from .commands import studied

    check_counts("--tiles", (tiles,))
    chosen = resolve_workload(workload)
    plan, skipped = selective_plan(chosen, **choices, scoring=policy != "never")
    for line in skipped:
        tell(line)
    with progress(not as_json) as report:
        records = studied(plan.cells, results, policy, workers, report)
        splits, unrecorded = plan.recorded(records)
        for line in unrecorded:
            tell(line)
        found = findings(records, splits, plan.choices, report=report)
    _conclude(chosen, plan, found, out, tiles, as_json)


def _conclude(
    workload: Workload,
    plan: SelectivePlan,
    found: SelectiveFindings,
    out: Path | None,
    tiles: int,
    as_json: bool,
) -> None:
    """Tables of what was found, and files of it."""
    from ..studies.selective import document as tables

    echo_json(tables.to_dict(found, workload)) if as_json else show(tables.tables(found, workload))
    if out is not None:
        for path in _write(workload, plan, found, out, tiles):
            echo(path, err=as_json)


def _write(
    workload: Workload, plan: SelectivePlan, found: SelectiveFindings, out: Path, tiles: int
) -> Iterator[Path]:
    """What needs no data first."""
    from ..core.whole import write_atomically
    from ..report.draw import save
    from ..studies.selective import document as tables
    from ..studies.selective.referred_sheet import referred_sheets
    from ..studies.selective.selective_figures import selective_figures

    name = workload.name
    texts = {f"{name}-selective.md": tables.markdown(found, workload)}
    texts |= {f"{name}-{part}.csv": text for part, text in tables.csv(found, workload).items()}
    for file, text in texts.items():
        write_atomically(out / file, text.encode())
        yield out / file
    yield from save(selective_figures(found, workload), out, name)
    base = plan.cells.base
    splits = workload.splits(base.data)  # the data may not be here; all else is written by now
    for split in found.splits:
        if split in splits.absent:
            tell(f"No sheet of {split} is drawn: {splits.absent[split]}")
    images = {
        split: splits.scored(split).limit(base.limit).readable()
        for split in found.splits
        if split not in splits.absent
    }
    yield from save(referred_sheets(found, images, workload, tiles), out, name)
