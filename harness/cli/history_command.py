"""`sigmabench history`: options in, one call, output."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.errors import UserError
from .report_commands import Problems
from .terminal import echo, echo_json, show, tell

#: asv's `results_dir` in asv.conf.json.
FOLDER = Path("results") / "asv"


@click.command()
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=FOLDER,
    help="Folder of asv's results.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write tables, numbers and figures here."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def history(results: Path, out: Path | None, as_json: bool) -> None:
    """Show what asv measured across commits, and which commit changed it.

    Machines are shown one after the other and never compared. What cannot be read is named, and
    the rest is shown.
    """
    from ..history.history import documents, nothing
    from ..report.rendering import terminal, write

    if not results.is_dir():
        raise UserError(f"There is no folder {results}; name asv's results with --results.")
    problems = Problems()
    found = documents(results, problems)
    if not found and not problems.told:
        raise nothing(results)
    for document in found:
        if not as_json:
            show(terminal(document))
        if out is not None:
            for one in write(document, "history", out):
                tell(one) if isinstance(one, str) else echo(one, err=as_json)
    if as_json:
        echo_json([document.values for document in found])
    problems.tell()
