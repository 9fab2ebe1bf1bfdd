"""What happened to the cores while a clock ran: the same audits and findings for all records."""

from __future__ import annotations

from .. import native
from ..core.words import plural
from ..machine.cores import binding, bound, give_back, quota, throttled
from ..machine.describe import has_avx2
from . import audits

#: A finding; what it says of results is tested by forcing the portable paths.
WITHOUT_AVX2 = (
    "this processor has no AVX2, so int8 layers and draws run in portable C++: the results are the "
    "same, and the times say little about int8"
)


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
        """What a reader of the times should know, one line each."""
        limit = quota()
        found = () if limit is None else (f"the CPU quota allows {plural(limit, 'core')}",)
        missing = native.unavailable()
        if missing is not None:
            return (*found, missing.rstrip("."))
        return found if has_avx2() else (*found, WITHOUT_AVX2)

    def told(self) -> tuple[str, ...]:
        """`findings`, and which audits failed, for a record without a verdict."""
        failed = [result for result in self.audits().values() if result.startswith("fail: ")]
        return (*self.findings(), *(result.removeprefix("fail: ") for result in failed))
