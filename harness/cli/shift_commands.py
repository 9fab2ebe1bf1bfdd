"""`sigmabench shift`, `corruptions`, `ablation` and `weights`: options in, one call, output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import UserError
from .terminal import MEMORY, Names, Numbers, command_line, echo, echo_json, progress, show

if TYPE_CHECKING:
    from ..studies.findings import Findings
    from ..workload.workload import Workload

RESULTS = "results/shift"


def _workload(name: str) -> Workload:
    from ..workload.workload import resolve_workload

    return resolve_workload(name)


@click.command()
@click.argument("workload")
@click.option("--types", type=Names(), help="Corruption types.  [default: all]")
@click.option("--images", type=Numbers(), default="0", help="Which images of the split.")
@click.option("--split", default="test", help="test or validation.")
@click.option("--seed", type=int, default=0, help="Of the corruptions.")
@click.option("--data", type=click.Path(path_type=Path), help="Data root.")
@click.option("--out", type=click.Path(path_type=Path), help="File: .png, .svg or .pdf.")
@MEMORY
def corruptions(
    workload: str,
    types: tuple[str, ...] | None,
    images: tuple[int, ...],
    split: str,
    seed: int,
    data: Path | None,
    out: Path | None,
) -> None:
    """Draw images of WORKLOAD under every corruption and severity: a contact sheet."""
    from ..corruptions.registered import CORRUPTIONS
    from ..report.draw import check_file, write
    from ..studies.shift.contact_sheet import contact_sheet

    chosen = _workload(workload)
    if split not in chosen.scored_splits:
        known = ", ".join(chosen.scored_splits)
        raise UserError(f"The split {split!r} is not shown; give one of {known}.")
    part = chosen.splits(data).scored(split)
    for index in images:
        if not 0 <= index < len(part):
            raise UserError(f"--images has {index}; the split has images 0 to {len(part) - 1}.")
    path = out or Path(f"{chosen.name}-corruptions.png")
    check_file(path)
    shown = part.images[list(images)]
    write(contact_sheet(shown, types or tuple(CORRUPTIONS), seed, root=data), path)
    echo(path)


@click.command()
@click.argument("workload")
@click.option("--split", default="validation", help="validation, for choosing; or test.")
@click.option("--types", type=Names(), help="Corruption types.  [default: four of them]")
@click.option("--severity", type=int, default=5, help="Of the corrupted images.")
@click.option("--mc", type=int, default=20, help="MC passes T.")
@click.option("--limit", type=int, default=1000, help="Clean images; half of them corrupted.")
@click.option("--seed", type=int, default=0, help="First seed of the MC draws.")
@click.option("--seeds", type=int, default=1, help="Seeds to score.")
@click.option("--threads", type=int, help="Cores a pass may use.  [default: all]")
@click.option("--data", type=click.Path(path_type=Path), help="Data root.")
@click.option("--posterior", type=click.Path(path_type=Path), help="Posterior file.")
@click.option("--out", type=click.Path(path_type=Path), help="Write JSON and Markdown here too.")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def ablation(workload: str, out: Path | None, as_json: bool, **choices: Any) -> None:
    """Change every choice of quantization alone: size, accuracy, NLL, ECE, clean and shifted.

    Among them what is beyond the paper: σ in a Lloyd–Max codebook, μ in 4 bits, dithered rounding.
    """
    from ..studies.ablation.ablation_command import run_ablation

    with progress(not as_json) as report:
        found = run_ablation(_workload(workload), command_line(), report=report, **choices)
    _tell(found, workload, "ablation", out, as_json)


@click.command()
@click.argument("workload")
@click.option("--formats", type=Names(), help="FP32 and others.  [default: the paper's]")
@click.option("--range", "ranges", type=Names(), default="headroom,paper", help="Weight ranges.")
@click.option("--passes", type=int, default=20, help="Sampled passes.")
@click.option("--seed", type=int, default=0, help="Of the draws.")
@click.option("--data", type=click.Path(path_type=Path), help="Data root.")
@click.option("--posterior", type=click.Path(path_type=Path), help="Posterior file.")
@click.option("--out", type=click.Path(path_type=Path), help="Write figures and JSON here too.")
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def weights(workload: str, out: Path | None, as_json: bool, **choices: Any) -> None:
    """Range and noise of WORKLOAD's sampled weights, layer by layer and format by format.

    The 2021 paper explains why 1-bit σ suffices by the range that sampled weights keep.
    """
    from ..studies.weights.weights_command import sampled_weights

    with progress(not as_json) as report:
        found = sampled_weights(_workload(workload), command_line(), report=report, **choices)
    _tell(found, workload, "weights", out, as_json)


def _tell(found: Findings, workload: str, what: str, out: Path | None, as_json: bool) -> None:
    """Print findings, and write them down where that is asked for."""
    echo_json(found.values) if as_json else show(*found.shown)
    if out is not None:
        for path in found.write(out, f"{_workload(workload).name}-{what}"):
            echo(path, err=as_json)
