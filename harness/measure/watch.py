"""What befell the cores while a clock ran: the same audits and findings for every timed record."""

from __future__ import annotations

from ..core.words import plural
from ..machine.cores import binding, bound, give_back, quota, throttled
from . import audits


class CoreWatch:
    """Made before something is timed, on the thread that times it, and asked afterwards.

    The thread gets back the cores that OpenMP's runtime may have taken from it.
    """

    def __init__(self) -> None:
        give_back()
        self._before = throttled()

    def audits(self) -> dict[str, str]:
        """Whether the cores were free and no CPU quota stopped the process, by audit."""
        stopped = throttled() - self._before
        return {
            "cores free": audits.cores_free(binding(), bound()),
            "not throttled": audits.not_throttled(stopped, quota()),
        }

    def findings(self) -> tuple[str, ...]:
        """What a reader of the times should know, a line each."""
        limit = quota()
        return () if limit is None else (f"the CPU quota allows {plural(limit, 'core')}",)

    def told(self) -> tuple[str, ...]:
        """`findings`, and which audits failed, for a record without a verdict."""
        failed = [result for result in self.audits().values() if result.startswith("fail: ")]
        return (*self.findings(), *(result.removeprefix("fail: ") for result in failed))
