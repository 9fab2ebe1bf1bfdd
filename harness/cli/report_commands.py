"""`sigmabench report`, `compare` and `pack`: what is stored, shown again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import UserError, unknown
from ..core.words import first, plural
from ..studies.documents import by_machine, documents
from ..studies.known import STUDIES, loadable
from .study_commands import RESULTS, conclude
from .terminal import echo, echo_json, show, tell

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..records.envelope import Record
    from ..records.run_record import RunRecord
    from ..studies.study import Study

FORMATS = ("table", "wide", "fidelity", "size", "paper", "markdown", "csv")
_PATH = click.Path(path_type=Path)


class Problems:
    """What could not be read; each is told once, after what could."""

    def __init__(self) -> None:
        self.told: dict[str, None] = {}

    def __call__(self, reason: UserError) -> None:
        self.told.setdefault(str(reason))

    def tell(self) -> None:
        """On standard error.

        Raises:
            SystemExit: with status 2, where there was one.
        """
        for line in self.told:
            tell(f"sigmabench: {line}")
        if self.told:
            raise SystemExit(2)


@click.command()
@click.argument("home", metavar="[WORKLOAD]", required=False)
@click.option(
    "--study", "name", default="run", help="The study whose records are shown; see --list."
)
@click.option("--results", type=_PATH, default=RESULTS, help="Directory of records.")
@click.option("--list", "listed", is_flag=True, help="List the records of every study.")
@click.option("--claims", is_flag=True, help="Judge the claims of the papers.")
@click.option(
    "--out", type=_PATH, help="Write tables and figures into this folder; for runs, a page too."
)
@click.option(
    "--site", type=_PATH, help="Write a site of all records of every study into this folder."
)
@click.option(
    "--format", "form", default="table", help=f"Form of the output: {', '.join(FORMATS)}."
)
@click.option("--where", metavar="FIELD=VALUE,...", help="Show only records with these values.")
@click.option(
    "--machine",
    metavar="HASH",
    help="Show only records of the machine whose hash begins with this.",
)
@click.option(
    "--since",
    metavar="DATE",
    help="Show only records made on this date or later, or from this ISO time on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def report(
    home: str | None,
    name: str,
    results: Path,
    listed: bool,
    claims: bool,
    out: Path | None,
    site: Path | None,
    form: str,
    as_json: bool,
    **chosen: str | None,
) -> None:
    """Show stored records as tables, figures or a site, measuring nothing.

    --out DIR writes tables and figures as files, and --site DIR pages of everything.

    For runs, --format is table, wide, fidelity, size, paper, markdown or csv; for other studies,
    table, markdown or csv. What cannot be read is reported, and the rest is shown.
    """
    if not results.is_dir():
        raise UserError(f"There is no results directory {results}; run something first.")
    shows = "--site" if site is not None else "--list" if listed else "--claims" if claims else ""
    _refuse_choice(shows, chosen)
    problems = Problems()
    if site is not None:
        _site(results, site, problems)
    elif listed:
        _list(results, as_json, problems)
    elif claims:
        from .claims_shown import show_claims

        show_claims(results, home, out, form, as_json, problems)
    else:
        _report(STUDIES.get(name), results, home, chosen, (out, form, as_json), problems)
    problems.tell()


def _refuse_choice(shows: str, chosen: Mapping[str, str | None]) -> None:
    """Options that choose among records say nothing where all are shown.

    Raises:
        UserError: one was given beside such an option.
    """
    given = [f"--{name}" for name, value in chosen.items() if value is not None]
    if shows and given:
        raise UserError(f"{shows} covers all records; leave out {' and '.join(given)}.")


def _site(results: Path, out: Path, problems: Problems) -> None:
    """Every page, whole or not at all."""
    from ..site.build import write_site
    from .terminal import progress

    with progress(True) as report_progress:
        written = write_site(results, out, problems, report_progress)
    echo(written)


def _report(
    study: Study,
    results: Path,
    home: str | None,
    chosen: Mapping[str, str | None],
    how: tuple[Path | None, str, bool],
    problems: Problems,
) -> None:
    from ..records.chosen import Chosen
    from ..records.run_record import for_tables

    asked = Chosen.from_options(study.plan.KIND.subject, **chosen)
    out, form, as_json = how
    keep = for_tables if study.name == "run" and out is None else None
    there = stored(study, results, home, problem=problems, keep=keep)
    records = asked.of(there)
    if not records and not (problems.told and not there):
        raise UserError("No record matches --where, --machine and --since; ask for less.")
    if study.name == "run":
        _show_runs(records, out, form, as_json)
    elif form in ("markdown", "csv"):
        _show_text(study, records, form)
    elif form == "table":
        conclude(study, by_machine(records), None, {}, out, as_json, told=True)
    else:
        raise unknown("report format", form, ("table", "markdown", "csv"))


def stored(
    study: Study,
    results: Path,
    home: str | None = None,
    *,
    latest: bool = True,
    problem: Callable[[UserError], None] | None = None,
    keep: Callable[[Any], Any] | None = None,
) -> list[Any]:
    """Records of a study, oldest first.

    Raises:
        UserError: there are none; without `problem`, one cannot be read.
    """
    from ..records.store import Store

    store: Store[Any] = Store(results, study.plan.KIND)
    known = store.homes()
    if not known:
        raise UserError(f"{results} holds no records{_others(study, results)}.")
    if home is not None and home not in known:
        raise unknown(f"workload with records in {results}", home, known)
    return store.records(home, latest=latest, problem=problem, keep=keep)


def _others(study: Study, results: Path) -> str:
    """Where records of other studies are."""
    from ..records.store import Store

    found = {
        other.plan.KIND.name: name
        for name, other in loadable().items()
        if other.plan.KIND.name != study.plan.KIND.name and Store(results, other.plan.KIND).homes()
    }
    command = f"{study.group} {study.name}".strip()
    if not found:
        return f"; run `sigmabench {command}` first"
    named = " or ".join(f"--study {name}" for name in found.values())
    return f" of {study.name}; give {named}, or run `sigmabench {command}` first"


def _show_text(study: Study, records: Sequence[Record[Any, Any]], form: str) -> None:
    from ..core.words import csv_files
    from ..report.rendering import markdown

    for group in by_machine(records):
        for document in documents(study, group, None, {}):
            if form == "markdown":
                echo(markdown(document).rstrip())
            else:
                for table in csv_files(document.data).values():
                    echo(table.rstrip("\n"))


def _list(results: Path, as_json: bool, problems: Problems) -> None:
    from ..core.sheet import Column, RichSheet, Sheet
    from ..records.store import strangers

    found = list(_every_record(results, problems))
    kinds = {study.plan.KIND.name for study in loadable(problems).values()}
    for reason in strangers(results, kinds):
        problems(reason)
    if as_json:
        echo_json([_told(name, record) for name, record in found])
        return
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, record in found:
        group = (name, record.subject.home, record.fingerprint.shown)
        groups.setdefault(group, []).append(record.created[:10])
    rows = tuple(
        (*group[:2], str(len(days)), min(days), max(days), group[2])
        for group, days in groups.items()
    )
    columns = (
        Column("study", numeric=False),
        Column("workload", "or network", numeric=False),
        Column("records"),
        Column("from", numeric=False),
        Column("to", numeric=False),
        Column("machine", numeric=False),
    )
    show(RichSheet(Sheet(f"Records in {results}", columns, rows, {})))


def _every_record(results: Path, problems: Problems) -> Iterator[tuple[str, Record[Any, Any]]]:
    """Without its body, nearly all of its size, and with the name of the first study that has such
    records."""
    from ..records.store import Store

    seen = set()
    for name, study in loadable(problems).items():
        kind = study.plan.KIND
        if kind.name not in seen:
            seen.add(kind.name)
            store: Store[Any] = Store(results, kind)
            for record in store.records(latest=False, problem=problems, keep=_headed):
                yield name, record


def _headed(record: Record[Any, Any]) -> Record[Any, Any]:
    return replace(record, body=None)


def _told(name: str, record: Record[Any, Any]) -> dict[str, Any]:
    machine = record.fingerprint.machine
    return {
        "study": name,
        "key": record.subject.key,
        "subject": asdict(record.subject),
        "machine": None if machine is None else machine.hash,
        "created": record.created,
        "valid": None if record.verdict is None else record.verdict.valid,
    }


def _show_runs(records: Sequence[RunRecord], out: Path | None, form: str, as_json: bool) -> None:
    from ..report import table

    if as_json:
        for piece in table.json_lines(records):
            echo(piece)
        return
    if out is not None:
        for path in _write_runs(records, out):
            echo(path)
        return
    rendered = render_runs(records, form)
    echo(rendered) if isinstance(rendered, str) else show(rendered)


def render_runs(records: Sequence[RunRecord], form: str) -> RenderableType | str:
    """One of the tables of runs.

    Raises:
        UserError: there is no such table, or the paper has no figures for it.
    """
    from ..report import table

    if form not in FORMATS:
        raise unknown("report format", form, FORMATS)
    paper = _paper(records)
    if form == "paper" and not paper:
        raise UserError("The paper has no figures for this; name one workload that it measured.")
    forms: dict[str, Any] = {
        "table": lambda: table.narrow(records),
        "wide": lambda: table.wide(records),
        "fidelity": lambda: table.fidelity(records),
        "size": lambda: table.size(records),
        "paper": lambda: table.paper(records, paper or {}),
        "markdown": lambda: table.markdown(records, paper),
        "csv": lambda: table.csv(records),
    }
    rendered: RenderableType | str = forms[form]()
    return rendered


def _write_runs(records: Sequence[RunRecord], out: Path) -> list[Path]:
    """Figures and the page, in `out`."""
    from ..report.draw import save
    from ..report.figures import figures
    from ..report.page import write_page
    from ..report.rows import sections

    page = out / "index.html"
    write_page(records, page, _paper(records))
    drawn = (save(figures(section), out, section.slug) for section in sections(records))
    return [page, *chain.from_iterable(drawn)]


def _paper(records: Sequence[RunRecord]) -> Mapping[str, Mapping[str, float]] | None:
    """The paper's figures, where all records are of one workload that has some."""
    from ..workload.workload import paper_of

    names = {record.subject.workload for record in records}
    return paper_of(names.pop()) if len(names) == 1 else None


@click.command()
@click.argument("a", type=_PATH)
@click.argument("b", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read.")
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Tell whether the results directories A and B differ.

    Each test says how large a difference it could have seen.
    """
    from ..studies.compare.document import comparison
    from ..studies.compare.measure import compare as compare_records

    run = STUDIES.get("run")
    for folder in (a, b):
        if not folder.is_dir():
            raise UserError(f"There is no results directory {folder}; run something first.")
    found = compare_records(stored(run, a, latest=False), stored(run, b, latest=False))
    echo_json(found.to_dict()) if as_json else show(comparison(found))
    if not found.cells:
        raise UserError(f"{a} and {b} have no cell in common, so nothing was compared.")


@click.command()
@click.option("--results", type=_PATH, default=RESULTS, help="Directory of records.")
def pack(results: Path) -> None:
    """Put the records of each folder into one file, and their arrays into another.

    They are read as before; a record that is measured again lies beside the pack and counts
    instead of the one in it.
    """
    from ..records.store import Store

    if not results.is_dir():
        raise UserError(f"There is no results directory {results}; run something first.")
    problems = Problems()
    kinds = {study.plan.KIND.name: study.plan.KIND for study in loadable(problems).values()}
    for kind in kinds.values():
        for written, gone in Store(results, kind).pack():
            echo(f"{first(list(map(str, written)))} for {plural(len(gone), 'file')}")
    problems.tell()
