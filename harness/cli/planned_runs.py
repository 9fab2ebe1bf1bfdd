"""`sigmabench run --plan FILE`: what a plan asks for, checked whole, then listed or measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..core.errors import UserError
from ..core.waiting import Report, about
from ..core.words import MISSING, plural, verb
from ..studies.documents import by_machine
from ..studies.plan_file import TABLE, PlanFile
from .study_commands import conclude, default_of
from .terminal import command_line, echo, echo_json, progress, show, tell

if TYPE_CHECKING:
    from ..core.sheet import RichSheet
    from ..records.envelope import Record
    from ..records.store import Policy, Store
    from ..studies.plan_file import PlanJob
    from ..studies.study import Study, Task

#: Of a study's command, what may stand beside a plan.
BESIDE = ("plan_file", "dry_run", "results", "policy", "out", "as_json", "alone")


@dataclass(frozen=True, eq=False)
class CheckedJob:
    """A job that can be measured.

    Attributes:
        job: of the file.
        given: what its plan was made of.
        plan: of its study.
        tasks: of the plan.
        missing: those parts of them that are to be measured.
    """

    job: PlanJob
    given: dict[str, Any]
    plan: Any
    tasks: list[Task[Any]]
    missing: list[Task[Any]]


def refuse_choices(shown: Iterable[str]) -> None:
    """What a plan says cannot be said beside it.

    Args:
        shown: options of the study's tables, which may.

    Raises:
        UserError: something is.
    """
    context = click.get_current_context()
    given = [
        param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
        for param in context.command.params
        if param.name not in (*BESIDE, *shown)
        and context.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UserError(f"--plan says what is measured; leave out {' and '.join(given)}.")


def run_plan(
    path: Path,
    results: Path,
    policy: Policy,
    *,
    dry: bool,
    out: Path | None,
    as_json: bool,
    shown: dict[str, Any],
) -> None:
    """Measure what a plan asks for, or list it.

    Args:
        path: of the plan.
        results: directory of records.
        policy: what to do about subjects that have a record.
        dry: whether it is only listed.
        out: directory for figures and tables.
        as_json: for a script.
        shown: what the documents are asked beside.

    Raises:
        UserError: the plan is wrong, with the line; nothing is measured then.
        SystemExit: with status 2, where a job could not be measured and the others were.
    """
    file = PlanFile(path)
    asked = _asked(file, results, policy)
    if dry:
        _list(asked, as_json)
        return
    groups, problems = _measured(file, asked, results, policy, as_json)
    for study, records in groups:
        conclude(study, by_machine(records), None, shown, out, as_json, told=True)
    if problems:
        for line in problems:
            tell(f"sigmabench: {line}")
        raise SystemExit(2)


def _asked(file: PlanFile, results: Path, policy: Policy) -> list[CheckedJob]:
    """Every job, made into a plan: what is impossible is found before anything is measured."""
    from ..machine.describe import fingerprint
    from ..records.store import Policy, Store

    measuring = policy is not Policy.NEVER
    here, taken, found = fingerprint(), set[str](), []
    for job in file.jobs:
        study = job.study
        given = {one.called: default_of(one) for one in study.plan.OPTIONS} | dict(job.choices)
        try:
            plan, lines = study.plan.plan(**given, scoring=measuring)
            tasks = study.plan.tasks(plan, measuring)
        except UserError as reason:
            raise file.problem(job, reason) from reason
        for line in lines:
            tell(line)
        store: Store[Any] = Store(results, study.plan.KIND)
        lacking = {
            one
            for one in store.missing([s for task in tasks for s in task.subjects], here, policy)
            if one.key not in taken
        }
        taken |= {one.key for one in lacking}
        missing = [part for task in tasks if (part := task.only(lacking)).subjects]
        found.append(CheckedJob(job, given, plan, tasks, missing))
    return found


def _measured(
    file: PlanFile, asked: Sequence[CheckedJob], results: Path, policy: Policy, as_json: bool
) -> tuple[list[tuple[Study, list[Record[Any, Any]]]], list[str]]:
    """Records of each study, and why jobs could not be measured."""
    from ..studies.driver import Request, conduct

    found: dict[str, tuple[Study, dict[object, Record[Any, Any]]]] = {}
    problems = []
    request = Request(results, command_line(), policy, tell=tell)
    for place, one in enumerate(asked, 1):
        study = one.job.study
        if not as_json and len(asked) > 1:
            tell(f"Job {place} of {len(asked)}: {_title(one)}")
        try:
            with progress(not as_json) as report:
                groups = conduct(
                    study, one.plan, replace(request, report=report, choices=one.given)
                )
        except UserError as reason:
            problems.append(str(file.problem(one.job, reason)))
            tell(f"This job is left out: {problems[-1]}")
            continue
        _, records = found.setdefault(study.name, (study, {}))
        records |= {(r.subject.key, r.fingerprint.place): r for group in groups for r in group}
    return [(study, list(records.values())) for study, records in found.values()], problems


def _title(one: CheckedJob) -> str:
    subject = one.tasks[0].subjects[0]
    name = one.job.study.name
    told = [subject.home, *([name] if name != TABLE else [])]
    if threads := getattr(subject, "threads", 0):
        told.append(plural(threads, "thread"))
    backend = one.given.get("backend", "auto")
    return ", ".join([*told, *([f"backend {backend}"] if backend != "auto" else [])])


def _list(asked: Sequence[CheckedJob], as_json: bool) -> None:
    """Tasks, and about how long what is missing of them takes."""
    seconds = []
    for one in asked:
        with progress(not as_json) as report:
            seconds.append(_expected(one, report))
    if as_json:
        echo_json(_listed(asked, seconds))
        return
    show(_sheet(asked, seconds))
    parts = [part for one in asked for part in one.missing]
    missing = sum(len(part.subjects) for part in parts)
    every = len({s.key for one in asked for task in one.tasks for s in task.subjects})
    known = [each for each in seconds if each is not None]
    told = f"{missing:,} of {plural(every, 'cell')} {verb(missing)} missing"
    if missing:
        told += f", in {plural(len(parts), 'task')}: {about(sum(known))}"
        told += " and what has no estimate" if len(known) < len(seconds) else ""
    echo(f"{told}. Nothing was measured.")


def _expected(one: CheckedJob, report: Report) -> float | None:
    """Seconds; None where the study cannot tell."""
    if not one.missing:
        return 0.0
    expected = getattr(one.job.study.part("measure"), "expected_seconds", None)
    if expected is None:
        return None
    try:
        seconds: float = expected(one.plan, one.missing, report)
    except UserError as reason:
        tell(f"{_title(one)} has no estimate: {reason}")
        return None
    return seconds


def _sheet(asked: Sequence[CheckedJob], seconds: Sequence[float | None]) -> RichSheet:
    from ..core.sheet import Column, RichSheet, Sheet

    rows: list[tuple[str, ...]] = []
    headings = {}
    for one, each in zip(asked, seconds, strict=True):
        lacking = {subject.key for part in one.missing for subject in part.subjects}
        told = "stored" if not lacking else MISSING if each is None else about(each)
        headings[len(rows)] = f"{_title(one)}: {told}"
        rows += [_row(task, lacking) for task in one.tasks]
    columns = (
        Column("scenario", numeric=False),
        Column("formats", numeric=False),
        Column("T", numeric=False),
        Column("batch", numeric=False),
        Column("cells"),
        Column("missing"),
    )
    return RichSheet(Sheet("Tasks: what is measured together", columns, tuple(rows), headings))


def _row(task: Task[Any], lacking: set[str]) -> tuple[str, ...]:
    def each(name: str) -> str:
        values = dict.fromkeys(getattr(subject, name, None) for subject in task.subjects)
        return ", ".join(str(value) for value in values if value is not None) or MISSING

    missing = sum(subject.key in lacking for subject in task.subjects)
    told = (each("scenario"), each("format"), each("mc"), each("batch"))
    return (*told, str(len(task.subjects)), str(missing))


def _listed(asked: Sequence[CheckedJob], seconds: Sequence[float | None]) -> list[dict[str, Any]]:
    """For a script."""
    return [
        {
            "study": one.job.study.name,
            "table": one.job.table,
            "choices": {name: _plain(value) for name, value in one.job.choices.items()},
            "tasks": [[subject.key for subject in task.subjects] for task in one.tasks],
            "missing": [[subject.key for subject in part.subjects] for part in one.missing],
            "seconds": each,
        }
        for one, each in zip(asked, seconds, strict=True)
    ]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
