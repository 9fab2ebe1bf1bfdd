"""The one driver of all studies: which subjects have no current record, who measures them, and
that each is stored when it is ready. What was finished when a study stops is not measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.waiting import Report
from ..core.words import plural, verb
from ..machine.describe import fingerprint
from ..machine.fingerprint import Fingerprint
from ..records.envelope import Record
from ..records.kind import Kind
from ..records.store import PREDICTIONS, Policy, Store
from .study import SCORED, Measurer, Study, Surroundings, Task


@dataclass(frozen=True)
class Request:
    """How a study is asked for.

    Attributes:
        results: directory of records.
        command: written into them.
        policy: what to do about subjects that have a record.
        workers: processes side by side, for what needs no machine alone.
        report: progress.
        choices: that the plan was made of, by which fresh processes make it again; None where it
            is not known, as of one that is to be timed in this process alone.
        tell: what a user should know before anything is measured.
    """

    results: Path
    command: str
    policy: Policy = Policy.ONLY_MISSING
    workers: int = 1
    report: Report = field(default=lambda *_: None)
    choices: Mapping[str, Any] | None = None
    tell: Callable[[str], None] = field(default=lambda _: None)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"--workers is {self.workers}; give at least 1.")


def conduct(study: Study, plan: Any, request: Request) -> list[list[Record[Any, Any]]]:
    """Measure a plan's subjects, and give the records of all of them.

    Args:
        study: whose plan it is.
        plan: of its `plan` part.
        request: how it is asked for.

    Returns:
        The records by the machine that they are from, each in the plan's order: those of this
        machine and code; with the policy `never` the youngest of each subject on each machine,
        whatever code made it, the machine that has most of them first.

    Raises:
        UserError: the results directory cannot be written to, or holds a record of the study that
            cannot be read; the policy is `never` and there is no record; a subject cannot be
            measured.
    """
    tasks: list[Task[Any]] = study.plan.tasks(plan, request.policy is not Policy.NEVER)
    store: Store[Any] = Store(request.results, study.plan.KIND)
    # All are read: a damaged one is noticed now, not hours later.
    stored = [one for home in _homes(tasks) for one in store.records(home)]
    subjects = [subject for task in tasks for subject in task.subjects]
    if request.policy is Policy.NEVER:
        return _shown(study, stored, subjects, request.results)
    here = fingerprint()
    missing = set(store.missing(subjects, here, request.policy))
    _tell_of_others(stored, missing, store, here, request.tell)
    surroundings = Surroundings(
        here,
        request.report,
        request.workers,
        request.policy is not Policy.ALWAYS,
        lambda home: store.folder(home, here) / PREDICTIONS,
        lambda subject: store.logs(subject, here),
    )
    if missing:
        store.ensure_writable()
        wanted = [part for task in tasks if (part := task.only(missing)).subjects]
        _measure(study, plan, wanted, surroundings, request)
    _tidy(study, plan, tasks, surroundings)
    return [[found for one in subjects if (found := store.find(one, here)) is not None]]


def _homes(tasks: Sequence[Task[Any]]) -> list[str]:
    return list(dict.fromkeys(subject.home for task in tasks for subject in task.subjects))


def _tell_of_others(
    stored: Sequence[Record[Any, Any]],
    missing: set[Any],
    store: Store[Any],
    here: Fingerprint,
    tell: Callable[[str], None],
) -> None:
    there = {record.subject.key for record in stored}
    others = sum(one.key in there and not store.has(one, here) for one in missing)
    if others:
        tell(
            f"{plural(others, 'subject')} {verb(others, 'has', 'have')} records of another "
            "machine, code or environment, which are not used; --policy never shows them."
        )


@dataclass(frozen=True, eq=False)
class Saving:
    """Measures tasks and stores what comes of them; a worker is given one."""

    measurer: Measurer
    study: Study
    results: Path
    fingerprint: Fingerprint
    command: str

    def __call__(self, task: Task[Any]) -> Iterator[int]:
        """Measure a task, saying of each subject that it is stored."""
        kind: Kind[Any] = self.study.plan.KIND
        store = Store(self.results, kind)
        for one in self.measurer(task):
            store.save(one.record(kind, self.fingerprint, self.command))
            yield 1

    def close(self) -> None:
        """See `Measurer`."""
        self.measurer.close()


def _measure(
    study: Study,
    plan: Any,
    tasks: Sequence[Task[Any]],
    surroundings: Surroundings,
    request: Request,
) -> None:
    repeated = [task for task in tasks if _processes(task) > 1]
    _measure_repeatedly(study, repeated, surroundings, request)
    tasks = [task for task in tasks if _processes(task) == 1]
    if not tasks:
        return
    measurer: Measurer = study.part("measure").measurer(plan, tasks, surroundings)
    here = surroundings.fingerprint
    saving = Saving(measurer, study, request.results, here, request.command)
    total, done = sum(len(task.subjects) for task in tasks), 0
    try:
        for count in _done(saving, tasks, surroundings.workers):
            done += count
            if not getattr(measurer, "counts", False):
                surroundings.report("Measuring", done, total)
    finally:
        saving.close()


def _processes(task: Task[Any]) -> int:
    """Fresh processes that its subjects are timed in."""
    return max(getattr(one, "processes", 1) for one in task.subjects)


def _measure_repeatedly(
    study: Study, tasks: Sequence[Task[Any]], surroundings: Surroundings, request: Request
) -> None:
    """Those that several fresh processes time."""
    from .fresh import Fresh, in_fresh_processes

    if not tasks:
        return
    if request.choices is None:
        raise ValueError("fresh processes need the choices that a plan is made of")
    store: Store[Any] = Store(request.results, study.plan.KIND)
    here, reuse = surroundings.fingerprint, surroundings.reuse
    job = Fresh(study, request.choices, request.results, here, request.command, 0, reuse)
    for one in in_fresh_processes(tasks, _processes(tasks[0]), job, request.report):
        store.save(job.record(one))


def _done(saving: Saving, tasks: Sequence[Task[Any]], workers: int) -> Iterator[int]:
    """What may be done side by side first, then what takes the machine alone."""
    scored = [task for task in tasks if task.place == SCORED]
    if workers > 1 and len(scored) > 1:
        from .workers import side_by_side

        yield from side_by_side(saving, scored, workers)
        scored = []
    for task in (*scored, *(task for task in tasks if task.place != SCORED)):
        yield from saving(task)


def _tidy(study: Study, plan: Any, tasks: Sequence[Task[Any]], surroundings: Surroundings) -> None:
    """Remove what was kept to go on with, by this run or one that was killed: all is stored."""
    left = [home for home in _homes(tasks) if surroundings.kept(home).exists()]
    if left and hasattr(measure := study.part("measure"), "tidy"):
        measure.tidy(plan, tasks, surroundings)


def _shown(
    study: Study,
    stored: Sequence[Record[Any, Any]],
    subjects: Sequence[Any],
    results: Path,
) -> list[list[Record[Any, Any]]]:
    """The youngest record of each subject, by machine."""
    answers = getattr(study.plan, "answers", lambda record: record.subject.key)
    asked = getattr(study.plan, "asked", lambda subject: (subject.key,))
    wanted = {name: place for place, one in enumerate(subjects) for name in asked(one)}
    machines: dict[tuple[object, ...], dict[int, Record[Any, Any]]] = {}
    for record in stored:  # from old to young
        place = wanted.get(answers(record))
        if place is not None:
            machines.setdefault(record.fingerprint.place, {})[place] = record
    if not machines:
        nearest = getattr(study.plan, "nearest", lambda *_: "")(stored, subjects)
        raise UserError(
            f"{results} holds no record of this study{nearest}; ask for one that is there, or "
            "leave out --policy never."
        )
    ranked = sorted(
        machines.values(),
        key=lambda one: (len(one), max(record.created for record in one.values())),
        reverse=True,
    )
    return [[found[place] for place in sorted(found)] for found in ranked]
