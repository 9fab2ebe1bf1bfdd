"""A process of its own in which queries are sent and answered: what sends them may end it, or wait
for ever."""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from ..core.errors import UserError, few_warnings
from ..machine.cores import give_back
from ..measure.host import Host, Model
from .workers import born_deaf

START_SECONDS = 600.0


class UnderLoad:
    """A host in a process of its own, as long as the context lasts.

    Args:
        model: that it loads.

    Raises:
        UserError: the model cannot be loaded.
    """

    def __init__(self, model: Model) -> None:
        context = multiprocessing.get_context("spawn")
        give_back()  # a process is born with the cores of the thread that starts it
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_life, args=(theirs,), daemon=True)
        with born_deaf():
            self._process.start()
        theirs.close()
        try:
            self._send(model)
            self._answer("loading the model", START_SECONDS)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> UnderLoad:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def ask(self, method: str, *given: Any, limit: float) -> Any:
        """Call a method of the host.

        Args:
            method: its name.
            given: arguments.
            limit: seconds after which the process is ended.

        Raises:
            UserError: the process ended, or had not answered in time.
            Exception: what the method raised.
        """
        what = method.replace("_", " ")
        try:
            self._ours.send((method, given))
        except ConnectionError:
            raise self._dead(what) from None
        return self._answer(what, limit)

    def _send(self, model: Model) -> None:
        try:
            self._ours.send(model)
        except (pickle.PicklingError, AttributeError, TypeError) as reason:  # all are pickle's
            raise UserError(
                f"The images cannot be handed to the process that answers queries ({reason}); "
                "declare splits that can be pickled."
            ) from reason

    def _answer(self, what: str, limit: float) -> Any:
        try:
            if not self._ours.poll(limit):
                self._end()
                raise UserError(
                    f"The process that answers queries ({what}) had not ended after "
                    f"{limit:.0f} s and was stopped; give a smaller --mc or --batch, or fewer "
                    "--seconds."
                )
            found = self._ours.recv()
        except (EOFError, ConnectionError):
            raise self._dead(what) from None
        if isinstance(found, Exception):
            raise found
        return found

    def _dead(self, what: str) -> UserError:
        self._process.join()
        return UserError(
            f"The process that answers queries ended ({what}, status {self._process.exitcode}), "
            "perhaps because memory ran out; what was finished is stored, so give the same command "
            "again with a smaller --batch or --limit."
        )

    def _end(self) -> None:
        self._ours.close()
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _life(connection: Connection) -> None:
    """Load, then answer until nobody asks any more. The last breath is cut short: LoadGen aborts
    at exit where something has failed, which would only frighten."""
    try:
        with few_warnings():
            host = Host(connection.recv())
            connection.send(None)
            while True:
                method, given = connection.recv()
                connection.send(getattr(host, method)(*given))
    except (EOFError, BrokenPipeError):
        return
    except Exception as failure:
        if not isinstance(failure, UserError):
            traceback.print_exc()
        connection.send(failure)
