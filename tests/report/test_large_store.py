"""What a report of many records costs: calls, which do not depend on the machine, not seconds."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Sequence

import pytest
from large_store import large
from rich.console import Console

from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.report import table

SMALL, LARGE = 4, 24


def _calls(task: Callable[[], object]) -> int:
    profile = cProfile.Profile()
    profile.runcall(task)
    calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return calls


@pytest.fixture(scope="module")
def stores() -> list[list[RunRecord]]:
    """One race and several, all of which stand in one table."""
    return [list(large(1, 1, races, slices=2, queries=10)) for races in (1, SMALL, LARGE)]


@pytest.mark.parametrize(
    "form",
    [
        *("narrow", "fidelity", "size", "csv"),
        *(pytest.param(form, marks=pytest.mark.thorough) for form in ("wide", "json_lines")),
    ],
)
def test_a_report_takes_as_many_calls_a_record_for_many_as_for_few(
    form: str, stores: Sequence[Sequence[RunRecord]]
) -> None:
    def shown(records: Sequence[RunRecord]) -> None:
        made = getattr(table, form)(records)
        if form == "json_lines":
            assert list(made)
        elif not isinstance(made, str):
            Console(quiet=True, width=200).print(made)

    first, few, many = stores
    shown(first)  # what is imported and kept
    each = [_calls(lambda r=records: shown(r)) / len(records) for records in (few, many)]
    assert each[1] < 1.05 * each[0]
