"""What every command asks of the numbers it is given, in the words of its options."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import UserError

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
