"""`sigmabench export`: the numbers of stored records, one row per value, for analysis elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import UserError, unknown
from ..core.escape import visible
from ..studies.known import STUDIES, loadable
from .report_commands import Problems
from .study_commands import RESULTS
from .terminal import progress, tell, write

if TYPE_CHECKING:
    from ..records.chosen import Chosen
    from ..records.kind import Kind
    from ..records.store import Store

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("home", metavar="[WORKLOAD]", required=False)
@click.option("--study", "name", help="Only the records of this study.  [default: of all]")
@click.option("--results", type=_PATH, default=RESULTS, help="Directory of records.")
@click.option("--format", "form", default="csv", help="csv, jsonl or parquet.")
@click.option("--samples", is_flag=True, help="Add every raw time, one row each.")
@click.option("--out", type=_PATH, help="File to write.  [default: standard output]")
@click.option("--where", metavar="FIELD=VALUE,...", help="Only records with these values.")
@click.option(
    "--machine", metavar="HASH", help="Only records of the machine whose hash begins with this."
)
@click.option(
    "--since",
    metavar="DATE",
    help="Only records made on this date or later, or from this ISO time on.",
)
def export(
    home: str | None,
    name: str | None,
    results: Path,
    form: str,
    samples: bool,
    out: Path | None,
    **chosen: str | None,
) -> None:
    """Write every stored value as a row of CSV, JSON Lines or Parquet.

    A row holds all that says what the value is.

    What cannot be read is named on standard error, the rest is written, and the exit status is 2.
    """
    from ..report.export_columns import record_columns
    from ..report.export_files import (
        EXPORT_FORMATS,
        csv_text,
        jsonl_text,
        write_parquet,
        write_text,
    )
    from ..report.exported import Selected, rows_of

    if form not in EXPORT_FORMATS:
        raise unknown("export format", form, EXPORT_FORMATS)
    if form == "parquet" and out is None:
        raise UserError("Parquet is no text for standard output; name a file with --out.")
    if not results.is_dir():
        raise UserError(f"There is no results directory {results}; run something first.")
    problems = Problems()
    kinds = _kinds(name, problems)
    asked = _asked(kinds, chosen)
    stores = _stores({study: kinds[study] for study in asked}, results, home)
    columns = record_columns([store.kind for store in stores.values()])
    with progress(True) as report:
        selected = Selected(stores, asked, home, problems, report)
        rows = rows_of(selected, columns, samples)
        if out is None:
            for piece in (csv_text if form == "csv" else jsonl_text)(columns, rows):
                write(visible(piece))
        elif form == "parquet":
            write_parquet(out, columns, rows)
        else:
            write_text(out, (csv_text if form == "csv" else jsonl_text)(columns, rows))
    if out is not None:
        tell(f"{out}: {selected.values:,} values of {selected.records:,} records")
    if name is None:
        _tell_of_strangers(results, problems)
    problems.tell()


def _kinds(name: str | None, problems: Problems) -> dict[str, Kind[Any]]:
    """Kinds of record by the first study that has them, or that of one study."""
    if name is not None:
        return {name: STUDIES.get(name).plan.KIND}
    found: dict[str, Kind[Any]] = {}
    for study, one in loadable(problems).items():
        if one.plan.KIND.name not in {kind.name for kind in found.values()}:
            found[study] = one.plan.KIND
    return found


def _asked(kinds: Mapping[str, Kind[Any]], chosen: Mapping[str, str | None]) -> dict[str, Chosen]:
    from ..records.chosen import chosen_by_kind

    subjects = {study: kind.subject for study, kind in kinds.items()}
    return chosen_by_kind(subjects, **chosen)


def _stores(
    kinds: Mapping[str, Kind[Any]], results: Path, home: str | None
) -> dict[str, Store[Any]]:
    """Of the kinds that have records, and some at home there.

    Raises:
        UserError: there are none.
    """
    from ..records.store import Store

    stores = {study: Store(results, kind) for study, kind in kinds.items()}
    homes = {study: store.homes() for study, store in stores.items()}
    every = sorted({one for found in homes.values() for one in found})
    if not every:
        raise UserError(f"{results} holds no records that were asked for; run something first.")
    if home is not None and home not in every:
        raise unknown(f"workload with records in {results}", home, every)
    return {
        study: store
        for study, store in stores.items()
        if homes[study] and home in (None, *homes[study])
    }


def _tell_of_strangers(results: Path, problems: Problems) -> None:
    from ..records.store import strangers

    kinds = {study.plan.KIND.name for study in loadable(problems).values()}
    for reason in strangers(results, kinds):
        problems(reason)
