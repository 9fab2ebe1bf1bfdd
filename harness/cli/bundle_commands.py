"""`sigmabench submit` and `verify`: results that others send in."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.errors import UserError
from ..core.words import plural
from .study_commands import RESULTS
from .terminal import MEMORY, echo, echo_json, show, tell

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("home", metavar="[WORKLOAD]", required=False)
@click.option("--results", type=_PATH, default=RESULTS, help="Directory of records.")
@click.option("--out", type=_PATH, help="File to write.  [default: named after WORKLOAD]")
@click.option(
    "--artefact",
    "artefacts",
    type=_PATH,
    multiple=True,
    help="An artefact that the records name; may be given several times.",
)
@click.option("--by", default="", help="Name that the results are submitted under.")
@MEMORY
def submit(
    home: str | None, results: Path, out: Path | None, artefacts: tuple[Path, ...], by: str
) -> None:
    """Pack records, with their raw samples and hashes, into one file to be sent in.

    With the artefacts of `sigmabench quantize`, size, σ kept and moments can be recomputed too.
    """
    from ..bundle.packing import submit as pack

    if not results.is_dir():
        raise UserError(f"There is no results directory {results}; run something first.")
    made = pack(results, out or Path(f"{home or 'records'}.tar"), home, artefacts, by)
    held = f"{plural(made.records, 'record')}, {plural(made.artefacts, 'artefact')}"
    echo(f"{made.path}: {held}, {made.size:,} bytes")


@click.command()
@click.argument("bundle", type=_PATH)
@MEMORY
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def verify(bundle: Path, as_json: bool) -> None:
    """Recompute what BUNDLE states, and name what cannot be true.

    BUNDLE is a file made by `sigmabench submit`, or a folder of such files. What cannot be
    recomputed is listed as stated by the submitter.
    """
    from ..bundle.document import document
    from ..bundle.verify import bundles_in
    from ..bundle.verify import verify as check
    from ..report.rendering import terminal

    paths, values, bad = bundles_in(bundle), [], []
    for path in paths:
        try:
            found = check(path)
        except UserError as reason:
            if not bundle.is_dir():
                raise
            tell(f"sigmabench: {reason}")  # the others are checked all the same
            bad.append(path.name)
            continue
        values.append(document(found).values)
        bad += [path.name] * (not found.sound)
        if not as_json:
            show(terminal(document(found)))
    if as_json:
        echo_json(values if bundle.is_dir() else values[0])
    elif not paths:
        echo(f"{bundle} holds no bundle.")
    if bad:
        named = ", ".join(bad)
        raise UserError(f"{named} cannot be believed as it stands; see what is named above.")
