"""`sigmabench report --claims`: the papers' claims, judged from what is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..core.errors import UserError, unknown
from .terminal import echo, echo_json, show

FORMS = ("table", "markdown", "csv")


def show_claims(
    results: Path,
    home: str | None,
    out: Path | None,
    form: str,
    as_json: bool,
    problem: Callable[[UserError], None],
) -> None:
    """Print them, or write them down.

    Args:
        results: directory of records.
        home: a workload, of which alone is told; None for all.
        out: directory for tables.
        form: of the output.
        as_json: for a script.
        problem: told of what cannot be read.

    Raises:
        UserError: there is no such workload or form.
    """
    from ..claims.claims import judge
    from ..claims.document import document
    from ..core.words import csv_files
    from ..report.rendering import markdown, terminal, write

    if form not in FORMS:
        raise unknown("format of claims", form, FORMS)
    found = judge(results, problem=problem)
    known = sorted({one.workload for one in found})
    if home is not None and home not in known:
        raise unknown("workload that the claims are about", home, known)
    made = document([one for one in found if home in (None, one.workload)])
    if as_json:
        echo_json(made.values)
    elif form == "markdown":
        echo(markdown(made).rstrip())
    elif form == "csv":
        for table in csv_files(made.data).values():
            echo(table.rstrip("\n"))
    else:
        show(terminal(made))
    if out is not None:
        for one in write(made, "verdicts", out):
            echo(one, err=as_json)
