"""Worker processes of a study: one task after the other to whoever is free.

A worker that loses its connection, because the study stops or is killed, still stores the subject
that it is at.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..core.errors import UserError, few_warnings
from ..data import decode
from ..machine.cores import give_back

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext, SpawnProcess


class Work(Protocol):
    """What a worker does; pickled, and so are tasks."""

    def __call__(self, task: Any) -> Iterator[int]:
        """Do a task, yielding how much more is done."""

    def close(self) -> None:
        """Let go of everything, before the process ends."""


def side_by_side(work: Work, tasks: Sequence[Any], workers: int) -> Iterator[int]:
    """What the work yields of the tasks, each done by one of several processes.

    Args:
        work: of a worker, one thread each.
        tasks: at least one.
        workers: at most so many processes.

    Raises:
        UserError: the work cannot be handed to a process, or a process was killed.
        Exception: what the work raised.
    """
    context = multiprocessing.get_context("spawn")
    give_back()  # processes are born with the cores of the thread that starts them
    with born_deaf():
        budget = decode.Budget.of_processes(context)
        team = dict(_worker(context, work, budget) for _ in range(min(workers, len(tasks))))
    try:
        waiting = iter(tasks)
        busy = {connection for connection in team if _give(connection, waiting)}
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                answer = _answer(connection)
                if isinstance(answer, int):
                    yield answer
                elif not _give(connection, waiting):
                    busy.remove(connection)
    finally:
        for connection in team:
            connection.close()
        for process in team.values():
            process.join()


def _worker(
    context: SpawnContext, work: Work, budget: decode.Budget
) -> tuple[Connection, SpawnProcess]:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(work, theirs, budget))
    try:
        process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as reason:  # all are pickle's
        raise UserError(
            f"The images, or what augments them, cannot be handed to worker processes ({reason}); "
            "give --workers 1."
        ) from reason
    theirs.close()
    return ours, process


def _give(connection: Connection, waiting: Iterator[Any]) -> bool:
    """Whether there was something to do."""
    task = next(waiting, None)
    if task is not None:
        with _alive():
            connection.send(task)
    return task is not None


def _answer(connection: Connection) -> int | None:
    """Cells that were stored, or None where a condition is done.

    Raises:
        Exception: what the worker raised.
    """
    with _alive():
        answer = connection.recv()
    if isinstance(answer, Exception):
        raise answer
    assert answer is None or isinstance(answer, int)
    return answer


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError):
        raise UserError(
            "A worker of the study was killed, perhaps because memory ran out; what was "
            "finished is stored, so run the same command again with fewer --workers."
        ) from None


@contextmanager
def born_deaf() -> Iterator[None]:
    """Processes started here inherit a mask: Ctrl-C reaches the parent alone, once this ends."""
    resource_tracker.ensure_running()  # it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(work: Work, connection: Connection, budget: decode.Budget) -> None:
    """A worker's life: it ends with its connection."""
    give_back()
    decode.share(budget)
    torch.set_num_threads(1)
    try:
        with few_warnings():
            for task in _tasks(connection):
                if not all(_told(connection, count) for count in work(task)):
                    return
                _told(connection, None)
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        _told(connection, error)
    finally:
        work.close()


def _tasks(connection: Connection) -> Iterator[Any]:
    try:
        while True:
            yield connection.recv()
    except (EOFError, ConnectionError):
        return


def _told(connection: Connection, message: object) -> bool:
    """Whether someone was there to be told, and goes on listening."""
    try:
        connection.send(message)
    except ConnectionError:
        return False
    return not connection.poll()  # nothing is sent meanwhile: the other end is closed
