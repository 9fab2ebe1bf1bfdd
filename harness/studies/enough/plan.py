"""What is asked of the number of passes: a workload in, one subject per format out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.checks import check_counts
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...records.samples_record import SAMPLES as KIND
from ...records.samples_record import SamplesSubject
from ..flags import BACKEND, DATA, POSTERIOR
from ..study import SCORED, Option, Task

if TYPE_CHECKING:
    from ...workload.plan import Plan

__all__ = ["ARGUMENT", "HELP", "KIND", "OPTIONS", "SHOWN", "plan", "tasks"]

HELP = """Find how many MC samples (passes) WORKLOAD needs: the smallest T that is enough.

Enough is an NLL within 0.002 nats of that of 200 passes, and 99 % of their decisions, each at 95 %
confidence, on validation images. What was finished is stored in --results, and the same command
goes on.
"""
ARGUMENT = "workload"
FORMATS_ASKED = ("FP32", "INT8", "INT8_SIGMA1")
COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
REFERENCE_PASSES = 200
LEAST_DRAWS = 2  # one tells no luck
OPTIONS = (
    Option("--formats", "Formats that draw weights.", "names", default=",".join(FORMATS_ASKED)),
    Option("--mc", "Numbers of passes T to try.", "numbers", default=",".join(map(str, COUNTS))),
    Option(
        "--reference",
        "Passes that stand for infinitely many.",
        "whole",
        default=REFERENCE_PASSES,
    ),
    Option("--draws", "Draws of the largest T and of the reference.", "whole", default=5),
    Option("--limit", "Validation images.", "whole", shown="all of them"),
    Option("--seed", "Seed of the passes; the reference has the next one.", "whole", default=0),
    BACKEND,
    DATA,
    POSTERIOR,
)
SHOWN = (Option("--full", "Show every T.", "switch"),)


@dataclass(frozen=True)
class SamplesPlan:
    """Formats of a workload.

    Attributes:
        base: workload, formats, T, data, posterior, limit, seed.
        reference: passes that stand for infinitely many.
        draws: of the largest T and of the reference.
    """

    base: Plan
    reference: int = REFERENCE_PASSES
    draws: int = 5

    def __post_init__(self) -> None:
        largest = max(self.base.mc)
        check_counts("--draws", (self.draws,))
        if self.draws < LEAST_DRAWS:
            raise UserError(f"--draws is {self.draws}; give at least {LEAST_DRAWS}.")
        if self.reference < largest:
            raise UserError(
                f"--mc names {largest}, more than the {self.reference} passes that stand for "
                "infinitely many; give smaller ones, or a larger --reference."
            )
        for name in self.base.formats:
            if not FORMATS.get(name).bayesian:
                raise UserError(
                    f"{name} draws no weights, so one pass says all; give --formats that draw some."
                )

    def subjects(self) -> Iterator[SamplesSubject]:
        """One for each format."""
        from ...workload.hashes import fields_of_formats

        base = self.base
        for _, fields in fields_of_formats(base):
            yield SamplesSubject(
                limit=base.limit or 0,
                mc=base.mc,
                reference=self.reference,
                draws=self.draws,
                seed=base.seed,
                **fields,
            )


def plan(
    workload: str,
    *,
    scoring: bool,
    formats: Sequence[str] = FORMATS_ASKED,
    mc: Sequence[int] = COUNTS,
    reference: int = REFERENCE_PASSES,
    draws: int = 5,
    **choices: Any,
) -> tuple[SamplesPlan, tuple[str, ...]]:
    """A plan from a user's choices.

    Raises:
        UserError: one of them is out of range or not known.
    """
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    check_counts("--mc", mc)
    base = plan_from(
        resolve_workload(workload),
        formats=formats,
        mc=tuple(sorted(set(mc))),
        split="validation",
        measuring=scoring,
        **choices,
    )
    return SamplesPlan(base, reference, draws), ()


def tasks(plan: SamplesPlan, measuring: bool) -> list[Task[SamplesSubject]]:
    """One for each format."""
    return [Task((subject,), SCORED) for subject in plan.subjects()]
