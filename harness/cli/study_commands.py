"""The commands of the studies: each is made of what the study declares, and all share one body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import UserError
from ..core.words import plural, verb
from ..studies.documents import documents
from ..studies.known import STUDIES
from .terminal import (
    MEMORY,
    Counts,
    Names,
    Numbers,
    command_line,
    echo,
    echo_json,
    progress,
    show,
    tell,
)

if TYPE_CHECKING:
    from ..core.document import Document
    from ..records.envelope import Record
    from ..studies.driver import Request
    from ..studies.study import Option, Study

RESULTS = "results"
_TYPES: dict[str, Any] = {
    "text": str,
    "whole": int,
    "number": float,
    "path": click.Path(path_type=Path),
    "names": Names(),
    "numbers": Numbers(),
    "counts": Counts(),
}
_ALONE = click.Option(
    ["--alone"], is_flag=True, help="Leave out what another study says beside it."
)
_PLANS = (
    click.Option(
        ["--plan", "plan_file"],
        type=click.Path(path_type=Path),
        help="File of plans, in place of all choices; see docs/plans.md.",
    ),
    click.Option(
        ["--dry-run"], is_flag=True, help="Of --plan: list tasks and about how long they take."
    ),
)
_WORKERS = click.Option(
    ["--workers"], type=int, help="Processes side by side.  [default: all cores]"
)


def study_command(study: Study) -> click.Command:
    """The command of a study.

    Raises:
        UserError: the study cannot be loaded.
    """
    plan = study.plan
    arguments = [click.Argument([plan.ARGUMENT])] if plan.ARGUMENT else []
    if default := getattr(plan, "ARGUMENT_DEFAULT", None):
        arguments = [click.Argument([plan.ARGUMENT], default=default)]
    options = [_option(one) for one in (*plan.OPTIONS, *plan.SHOWN)]
    parallel = getattr(plan, "PARALLEL", False)
    command = click.Command(
        study.name,
        callback=_run(study, parallel),
        params=[
            *arguments,
            *options,
            *([_WORKERS] if parallel else []),
            *([_ALONE] if hasattr(plan, "companion") else []),
            *(_PLANS if getattr(plan, "PLANS", False) else ()),
        ],
        help=plan.HELP,
        short_help=study.summary,
    )
    for common in _common():
        common(command)
    return command


def _common() -> list[Any]:
    path = click.Path(path_type=Path)
    return [
        click.option("--results", type=path, default=RESULTS, help="Directory of records."),
        click.option(
            "--policy", default="only-missing", help="only-missing, always or never (read only)."
        ),
        click.option("--out", type=path, help="Write figures and tables into this directory too."),
        MEMORY,
        click.option("--json", "as_json", is_flag=True, help="Print JSON for a script to read."),
    ]


def option(one: Option) -> Any:
    """A decorator that gives a command of its own a flag that studies have."""
    made = _option(one)
    return click.option(*made.opts, made.name, type=made.type, default=made.default, help=made.help)


def _option(one: Option) -> click.Option:
    text = f"{one.help}  [default: {one.shown}]" if one.shown else one.help
    names = [one.flag, one.called]
    if one.type == "switch":
        return click.Option(names, is_flag=True, help=text)
    return click.Option(names, type=_TYPES[one.type], default=one.default, help=text)


def _run(study: Study, parallel: bool) -> Any:
    def run(
        results: Path,
        policy: str,
        out: Path | None,
        as_json: bool,
        workers: int | None = None,
        alone: bool = False,
        plan_file: Path | None = None,
        dry_run: bool = False,
        **choices: Any,
    ) -> None:
        from ..machine.cores import cores_for
        from ..records.store import Policy
        from ..studies.driver import Request, conduct

        how, started = Policy.named(policy), datetime.now(timezone.utc).isoformat()
        shown = {one.called: choices.pop(one.called) for one in study.plan.SHOWN}
        if plan_file is not None:
            from .planned_runs import refuse_choices, run_plan

            refuse_choices(shown)
            return run_plan(
                plan_file, results, how, dry=dry_run, out=out, as_json=as_json, shown=shown
            )
        if dry_run:
            raise UserError("--dry-run lists the tasks of a plan; give one with --plan.")
        plan, lines = study.plan.plan(**choices, scoring=how is not Policy.NEVER)
        for line in lines:
            tell(line)
        with progress(not as_json) as report:
            many = (cores_for(None) if workers is None else workers) if parallel else 1
            request = Request(results, command_line(), how, many, report, choices, tell)
            groups = conduct(study, plan, request)
            beside = {} if as_json or alone else _companion(study, plan, choices, request)
        before = [one for group in groups for one in group if one.created < started]
        for record in before:
            _tell_of_lacking(study, record)
        conclude(study, groups, plan, shown, out, as_json, how is Policy.NEVER, beside)
        if how is not Policy.NEVER and not as_json:
            _tell_of_stored(len(before), len(groups[0]))

    return run


def _companion(
    study: Study, plan: Any, choices: Mapping[str, Any], request: Request
) -> dict[object, Document]:
    """What another study answers in brief, by the machine that its records are from, where this one
    names one; a line instead where that cannot be answered."""
    from ..records.store import Policy
    from ..studies.driver import conduct

    asked = getattr(study.plan, "companion", lambda _: None)(plan)
    if asked is None:
        return {}
    name, differing = asked
    other = STUDIES.get(name)
    given = {one.called: default_of(one) for one in other.plan.OPTIONS} | differing
    given[other.plan.ARGUMENT] = choices[study.plan.ARGUMENT]
    measured = request.policy is not Policy.NEVER
    try:
        planned, _ = other.plan.plan(**given, scoring=measured)
        groups = conduct(other, planned, replace(request, choices=given))
        found: dict[object, Document] = {
            group[0].fingerprint.place: next(documents(other, group, planned, {"brief": True}))
            for group in groups
        }
    except UserError as reason:
        if measured:
            tell(f"{other.heading} is not shown: {reason}")
        return {}
    return found


def default_of(one: Option) -> Any:
    """What a command would give where the flag is left out."""
    if one.type == "switch":
        return False
    kind = click.types.convert_type(_TYPES[one.type])
    return None if one.default is None else kind.convert(one.default, None, None)


def _tell_of_lacking(study: Study, record: Record[Any, Any]) -> None:
    lacking: list[str] = getattr(study.plan, "lacking", lambda _: [])(record)
    if lacking:
        tell(
            f"This is the record of {record.created[:10]}, in which {', '.join(lacking)} had no "
            "figures; --policy always measures again."
        )


def _tell_of_stored(before: int, records: int) -> None:
    if before:
        told = f"{before} of {plural(records, 'record')} {verb(before, 'was', 'were')}"
        echo(f"{told} stored before; --policy always measures again.")


def conclude(
    study: Study,
    groups: Sequence[Sequence[Record[Any, Any]]],
    plan: Any,
    shown: dict[str, Any],
    out: Path | None,
    as_json: bool,
    told: bool,
    beside: Mapping[object, Document] | None = None,
) -> None:
    """Show what the records of each machine say, and write it down.

    Args:
        study: whose records they are.
        groups: records by machine; no ratio is formed across them.
        plan: that they are of; None where that is not known.
        shown: what the document is asked beside.
        out: directory for figures and tables.
        as_json: for a script.
        told: whether the machine and the days stand above.
        beside: what else stands there, by machine.
    """
    from ..report.rendering import terminal, write

    values = []
    for place, group in enumerate(groups):
        also = (beside or {}).get(group[0].fingerprint.place)
        asked = shown if also is None else {**shown, "beside": also}
        try:
            found = _made(study, group, plan, asked, as_json)
        except UserError as reason:
            if not place:
                raise
            tell(f"{_head(group)}: {reason}")  # what is asked is answered by the first
            continue
        for document in found:
            values.append(document.values)
            for line in document.asides:
                tell(line)
            if not as_json:
                show(*([_head(group)] if told else []), terminal(document))
            if out is not None:
                folder = out / group[0].fingerprint.place_name if place else out
                for one in write(document, study.name, folder):
                    tell(one) if isinstance(one, str) else echo(one, err=as_json)
    if as_json:
        echo_json(values[0] if len(values) == 1 else values)


def _made(
    study: Study, records: Sequence[Record[Any, Any]], plan: Any, shown: dict[str, Any], quiet: bool
) -> list[Document]:
    with progress(not quiet) as report:
        return list(documents(study, records, plan, shown, report))


def _head(records: Sequence[Record[Any, Any]]) -> str:
    """Machine and days of the records of a table."""
    days = sorted({record.created[:10] for record in records})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{records[0].fingerprint.shown}, {when}"


class StudyGroup(click.Group):
    """Commands that are written here, and those of the studies, made when they are asked for."""

    of = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """By name."""
        return sorted({*super().list_commands(ctx), *self._studies()})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """One that is written here, or a study's, which is loaded for it."""
        found = super().get_command(ctx, name)
        if found is not None or name not in self._studies():
            return found
        made = study_command(self._studies()[name])
        made.context_class = self.context_class
        return made

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, for which no study is loaded."""
        rows = []
        for name in self.list_commands(ctx):
            study = self._studies().get(name)
            if study is not None:
                rows.append((name, study.summary))
            elif (command := super().get_command(ctx, name)) is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(formatter.width)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _studies(self) -> dict[str, Study]:
        return {name: one for name, one in STUDIES.usable().items() if one.group == self.of}
