"""`sigmabench corruptions`: options in, one call, output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..core.errors import UserError
from .terminal import MEMORY, Names, Numbers, echo, tell

if TYPE_CHECKING:
    from torch import Tensor


@click.command()
@click.argument("workload")
@click.option("--types", type=Names(), help="Corruption types.  [default: all]")
@click.option("--images", type=Numbers(), default="0", help="Indices of the images in the split.")
@click.option("--split", default="test", help="Split: test or validation.")
@click.option("--seed", type=int, default=0, help="Seed of the corruptions.")
@click.option("--data", type=click.Path(path_type=Path), help="Root folder of the data.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write: .png, .svg or .pdf.")
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
    """Draw a contact sheet: images of WORKLOAD under every corruption and severity."""
    from ..corruptions.registered import CORRUPTIONS
    from ..report.draw import check_file, write
    from ..studies.shift.contact_sheet import contact_sheet
    from ..workload.workload import resolve_workload

    chosen = resolve_workload(workload)
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
    every = types or tuple(_makeable(tuple(CORRUPTIONS), shown, data))
    write(contact_sheet(shown, every, seed, root=data), path)
    echo(path)


def _makeable(types: Sequence[str], images: Tensor, root: Path | None) -> Iterator[str]:
    """Those that can be made here; of another it says why not."""
    from ..corruptions.registered import why_not

    for name in types:
        reason = why_not(images[:1], name, root)
        if reason:
            tell(f"{name} is left out: {reason}")
        else:
            yield name
