"""What every command asks of the numbers it is given, in the words of its options."""

from __future__ import annotations

from collections.abc import Iterable

from .cores import quota, usable_cores
from .errors import UserError
from .report.text import plural

LONGEST = 86_400.0  # seconds: a day; the clock's nanoseconds overflow far beyond
MOST_SEED = 2**63


def check_counts(flag: str, values: Iterable[int], *, may_be_empty: bool = False) -> None:
    """Refuse what is not counted from 1, or nothing at all.

    Raises:
        UserError: with the option's name.
    """
    counts = tuple(values)
    for value in counts:
        if value < 1:
            raise UserError(f"{flag} is {value}; give a whole number of at least 1.")
    if not counts and not may_be_empty:
        raise UserError(f"{flag} names nothing; give at least one number.")


def check_seconds(seconds: float) -> None:
    """Refuse what is no length of a measurement.

    Raises:
        UserError: it is not above 0, not a number, or longer than a day.
    """
    if not 0 < seconds <= LONGEST:
        raise UserError(
            f"--seconds is {seconds}; give a number above 0 and of at most {LONGEST:.0f}."
        )


def check_seed(seed: int) -> None:
    """Refuse a seed that the noise stream cannot hold with what is added to it.

    Raises:
        UserError: it is not from 0 to 2^63.
    """
    if not 0 <= seed <= MOST_SEED:
        raise UserError(f"--seed is {seed}; give a number from 0 to 2^63.")


def cores_for(threads: int | None) -> int:
    """How many cores a measurement may use: `threads`, or all there are where that is None.

    Raises:
        UserError: it is not counted from 1, or there are fewer cores, or a quota of fewer, which
            would time waiting.
    """
    cores = usable_cores()
    if threads is None:
        return cores
    check_counts("--threads", (threads,))
    if threads > cores:
        there, limit = plural(cores, "core"), quota()
        why = ""
        if limit is not None:
            why = f" (the CPU quota of its control group is {plural(limit, 'core')})"
        raise UserError(f"--threads is {threads}, but this process may use {there}{why}.")
    return threads
