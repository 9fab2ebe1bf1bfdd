"""Timings that are repeated in fresh processes, one after the other, before they are stored as one.

Where a process's pages lie, how its threads are placed and how fast the clock runs differ from
process to process, and no sample of one process shows that. What each has measured is kept beside
the records until all have, so that a study that stops goes on there.
"""

from __future__ import annotations

import multiprocessing
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError, few_warnings
from ..machine.cores import give_back
from ..machine.fingerprint import Fingerprint
from ..records.envelope import Record
from ..records.kind import Kind
from ..records.store import PREDICTIONS, Store
from ..records.timed_conditions import of_all_processes
from .study import Measured, Study, Surroundings, Task
from .workers import born_deaf

if TYPE_CHECKING:
    from ..core.waiting import Report

#: In a folder of records: what single processes have measured.
PROCESSES = ".processes"


@dataclass(frozen=True)
class Fresh:
    """What a process needs to measure a part of a study.

    Attributes:
        study: that is asked.
        choices: of its user, as its `plan` takes them: a plan may hold what no process can be
            given.
        results: directory of records.
        fingerprint: of the machine and code.
        command: written into records.
        process: its number, from 0.
        reuse: whether predictions that earlier runs kept count.
        keys: of the subjects to measure.
    """

    study: Study
    choices: Mapping[str, Any]
    results: Path
    fingerprint: Fingerprint
    command: str
    process: int
    reuse: bool
    keys: frozenset[str] = frozenset()

    @property
    def kind(self) -> Kind[Any]:
        """Of the study's records."""
        kind: Kind[Any] = self.study.plan.KIND
        return kind

    def store(self, home: str, process: int | None = None) -> Store[Any]:
        """Where a process keeps what it has measured of a home; this one if None."""
        folder = Store(self.results, self.kind).folder(home, self.fingerprint)
        number = self.process if process is None else process
        return Store(folder / PROCESSES / str(number), self.kind)

    def measure(self, report: Report) -> None:
        """Measure and keep.

        Raises:
            UserError: a subject cannot be measured.
        """
        plan, _ = self.study.plan.plan(**self.choices, scoring=True)
        tasks: list[Task[Any]] = [
            part
            for task in self.study.plan.tasks(plan, True)
            if (part := task.only({one for one in task.subjects if one.key in self.keys})).subjects
        ]
        store = Store(self.results, self.kind)
        surroundings = Surroundings(
            self.fingerprint,
            report,
            reuse=self.reuse,
            kept=lambda home: store.folder(home, self.fingerprint) / PREDICTIONS,
            logs=lambda subject: store.logs(subject, self.fingerprint) / str(self.process),
            earlier=self._first,
        )
        measurer = self.study.part("measure").measurer(plan, tasks, surroundings)
        try:
            for task in tasks:
                for one in measurer(task):
                    self.store(one.subject.home).save(self.record(one))
        finally:
            measurer.close()

    def _first(self, subject: Any) -> Record[Any, Any] | None:
        """What the first process has measured of a subject, if this is a later one."""
        if not self.process:
            return None
        found: Record[Any, Any] | None = self.store(subject.home, 0).find(subject, self.fingerprint)
        return found

    def record(self, one: Measured[Any]) -> Record[Any, Any]:
        """Of what was measured now."""
        return one.record(self.kind, self.fingerprint, self.command)


def in_fresh_processes(
    tasks: Sequence[Task[Any]], processes: int, job: Fresh, report: Report
) -> Iterator[Measured[Any]]:
    """Measure the subjects of tasks in so many processes each.

    Args:
        tasks: to measure.
        processes: at least 2.
        job: what each process is given, but for its number and its subjects.
        report: progress.

    Yields:
        Each subject's result, of all processes together.

    Raises:
        UserError: a subject cannot be measured, or a process was killed.
    """
    subjects = [subject for task in tasks for subject in task.subjects]
    here = job.fingerprint
    if not job.reuse:
        _forget(job, subjects, processes)
    for number in range(processes):
        left = [one for one in subjects if not job.store(one.home, number).has(one, here)]
        if left:
            keys = frozenset(one.key for one in left)
            one = replace(job, process=number, keys=keys, reuse=job.reuse or number > 0)
            _run(one, _of_process(report, number, processes))
    joined = job.study.part("measure").joined
    for subject in subjects:
        stores = [job.store(subject.home, number) for number in range(processes)]
        found: list[Any] = [store.find(subject, here) for store in stores]
        conditions = of_all_processes([one.provenance.conditions for one in found])
        yield replace(joined(found), conditions=conditions)
        _forget(job, [subject], processes)


def _of_process(report: Report, number: int, processes: int) -> Report:
    """Progress that says which process it is of."""

    def told(phase: str, done: int, total: int) -> None:
        report(f"{phase} (process {number + 1} of {processes})" if total else phase, done, total)

    return told


def _forget(job: Fresh, subjects: Sequence[Any], processes: int) -> None:
    """Remove what single processes have measured of these subjects."""
    here = job.fingerprint
    for subject in subjects:
        for number in range(processes):
            job.store(subject.home, number).file(subject, here).unlink(missing_ok=True)
    for home in dict.fromkeys(subject.home for subject in subjects):
        folder = Store(job.results, job.kind).folder(home, here) / PROCESSES
        if not any(folder.rglob("*.json")):
            shutil.rmtree(folder, ignore_errors=True)


def _run(job: Fresh, report: Report) -> None:
    """Let a new process measure, and pass on what it reports."""
    context = multiprocessing.get_context("spawn")
    give_back()  # a process is born with the cores of the thread that starts it
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_life, args=(job, theirs))
    with born_deaf():
        process.start()
    theirs.close()
    try:
        while True:
            message = ours.recv()
            if message is None:
                break
            if isinstance(message, Exception):
                raise message
            report(*message)
    except EOFError:
        raise UserError(
            "A process of the study was killed, perhaps because memory ran out; what was "
            "finished is stored, so run the same command again."
        ) from None
    except BaseException:
        process.terminate()  # Ctrl-C reaches this process alone; what it stores is whole or absent
        raise
    finally:
        ours.close()
        process.join()


def _life(job: Fresh, connection: Connection) -> None:
    give_back()
    try:
        with few_warnings():
            job.measure(lambda *told: connection.send(told))
        connection.send(None)
    except BrokenPipeError:
        return
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        connection.send(error)
