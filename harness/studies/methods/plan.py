"""What a study of methods is asked: methods, formats, numbers of passes and conditions.

There is one task for each method in each format, whose conditions share its temperatures, and one
for each race.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError, unknown
from ...machine.cores import cores_for
from ...methods.method import COUNTS, FORMATS_OF_METHODS, METHODS
from ...records.methods_record import METHOD_RECORDS as KIND
from ...records.methods_record import MethodRecord, MethodSubject
from ..flags import DATA, POSTERIOR, PROCESSES, SEED, THREADS
from ..grid import absent_splits
from ..study import SCORED, TIMED, Option, Task

if TYPE_CHECKING:
    from pathlib import Path

    from ...workload.conditions import Condition, ShiftPlan
    from ...workload.plan import Plan
    from ...workload.workload import Workload

__all__ = [
    "ARGUMENT",
    "HELP",
    "KIND",
    "OPTIONS",
    "SHOWN",
    "answers",
    "asked",
    "plan",
    "tasks",
]

HELP = """Show whether T passes pay, beside other methods to state uncertainty on WORKLOAD.

Every method is scored as it is and with one temperature, which is fitted on validation images: on
the clean images, under corruptions, and on images from outside. What was finished is stored in
--results, and the same command goes on.
"""
ARGUMENT = "workload"
SEVERITIES = (1, 3, 5)
OPTIONS = (
    Option("--methods", "Names are listed by `sigmabench list`.", "names", shown="all"),
    Option("--formats", "FP32, INT8, INT8_SIGMA1.", "names", default=",".join(FORMATS_OF_METHODS)),
    Option("--mc", "MC passes T.", "numbers", default=",".join(map(str, COUNTS))),
    Option("--types", "Corruption types; none for no shift.", "names", shown="all"),
    Option("--severities", "Each 1 to 5.", "numbers", default=",".join(map(str, SEVERITIES))),
    Option("--splits", "Other test sets; none for none.", "names", shown="all that are there"),
    Option(
        "--ood",
        "Sets from outside: names, folders or .npz files; none for none.",
        "names",
        shown="the workload's, or svhn and cifar100",
    ),
    Option("--limit", "Clean images.", "whole", shown="the whole split"),
    Option("--shifted", "Images of each other condition.", "whole", default=1000),
    Option("--fitted", "Validation images to fit on.", "whole", shown="all of them"),
    SEED,
    Option("--seeds", "Draws of all passes, on clean images.", "whole", default=3),
    Option("--corruption-seed", "Of the corrupted images.", "whole", default=0),
    Option("--batch", "Images per timed query, a race for each.", "numbers", default="1,32"),
    THREADS,
    Option("--seconds", "Timed seconds of each T.", "number", default=0.5),
    PROCESSES,
    Option("--untimed", "Score, and time nothing.", "switch"),
    DATA,
    POSTERIOR,
)
SHOWN = ()
#: What differs between the clean images, on which methods are timed too, and all others.
_OWN = {"threads": None, "limit": None, "seeds": 3, "seconds": 0.5, "processes": 1}


@dataclass(frozen=True)
class MethodsPlan:
    """Methods on conditions.

    Attributes:
        base: workload, data, split, limit of clean images, seeds.
        shift: the conditions beside the clean images, and how many images each has.
        methods: names in `METHODS`.
        formats: each of `FORMATS_OF_METHODS`.
        mc: numbers of passes.
        fitted: validation images that temperatures are fitted on; None for all.
        timed: whether methods are timed too, at the batch sizes and as long as `base` says.
    """

    base: Plan
    shift: ShiftPlan
    methods: tuple[str, ...]
    formats: tuple[str, ...]
    mc: tuple[int, ...]
    fitted: int | None = None
    timed: bool = True

    def __post_init__(self) -> None:
        for name in self.methods:
            METHODS.get(name)
        if not self.methods or not self.formats:
            raise UserError("--methods or --formats names nothing; give at least one of each.")
        for name in self.formats:
            if name not in FORMATS_OF_METHODS:
                raise UserError(
                    f"Methods are not compared in {name}; give --formats of "
                    f"{', '.join(FORMATS_OF_METHODS)}."
                )

    def asked(self) -> Iterator[tuple[str, str]]:
        """Each method and format that there is."""
        for name in self.methods:
            for format in self.formats:
                if METHODS.get(name).without(self.base, format) is None:
                    yield name, format

    @cached_property
    def _network(self) -> str:
        """Digest of what the network computes, captured once for all subjects."""
        return self.base.workload.network_digest()

    @cached_property
    def _images(self) -> dict[tuple[str, int | None], str]:
        """Digests of all images, by split and limit, each read once for all subjects."""
        wanted = {("validation", self.fitted)}
        wanted |= {(one.split, limit) for one, limit in self._conditions()}
        digest, data = self.base.workload.data_digest, self.base.data
        return {(split, limit): digest(split, data, limit) for split, limit in wanted}

    def _conditions(self) -> Iterator[tuple[Condition, int | None]]:
        """Each with its limit, the clean images first."""
        for place, condition in enumerate(self.shift.conditions()):
            yield condition, self.shift.base.limit if place else self.base.limit

    def subjects(self, name: str, format: str) -> Iterator[tuple[MethodSubject, Condition]]:
        """One method in one format on every condition, the clean images first."""
        method, workload = METHODS.get(name), self.base.workload
        networks = tuple(each[:16] for each in method.networks(self.base))
        for place, (condition, limit) in enumerate(self._conditions()):
            subject = MethodSubject(
                workload=workload.name,
                workload_version=workload.version,
                method=name,
                format=format,
                networks=networks,
                split=condition.split,
                corruption=condition.corruption,
                severity=condition.severity,
                shifted=condition.shifted,
                limit=limit or 0,
                fitted=self.fitted or 0,
                mc=method.passes(self.base, self.mc),
                seed=self.base.seed if method.draws else 0,
                seeds=self.base.seeds if method.draws and not place else 1,
                data=self._images[condition.split, limit],
                network=self._network,
                threads=self.base.threads,
                validation=self._images["validation", self.fitted],
            )
            yield subject, condition

    def races(self) -> Iterator[tuple[MethodSubject, ...]]:
        """What takes turns, for each batch size."""
        if not self.timed:
            return
        clean = [next(self.subjects(*one))[0] for one in self.asked()]
        beside = tuple(f"{one.method} {one.format}" for one in clean)
        for batch in self.base.batches:
            yield tuple(
                replace(
                    one,
                    limit=0,
                    fitted=0,
                    validation="",
                    seeds=1,
                    beside=beside,
                    batch=batch,
                    threads=self.base.threads,
                    seconds=self.base.seconds,
                    processes=self.base.processes,
                )
                for one in clean
            )


def plan(
    workload: str,
    *,
    scoring: bool,
    methods: Sequence[str] | None = None,
    formats: Sequence[str] = FORMATS_OF_METHODS,
    mc: Sequence[int] = COUNTS,
    types: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    ood: Sequence[str] | None = None,
    shifted: int = 1000,
    fitted: int | None = None,
    batch: Sequence[int] = (1, 32),
    untimed: bool = False,
    **choices: Any,
) -> tuple[MethodsPlan, tuple[str, ...]]:
    """A plan from a user's choices, and what to tell of it.

    Raises:
        UserError: a choice is none.
    """
    from ...core.checks import check_counts
    from ...workload.choices import plan_from
    from ...workload.conditions import shift_plan
    from ...workload.workload import resolve_workload

    chosen = resolve_workload(workload)
    counts = tuple(sorted(set(mc)))
    check_counts("--mc", counts)
    check_counts("--shifted", (shifted,))
    if fitted is not None:
        check_counts("--fitted", (fitted,))
    own = {name: choices.pop(name, None) for name in _OWN}
    own = {**_OWN, **{name: value for name, value in own.items() if value is not None}}
    shared = {name: choices.get(name) for name in ("seed", "data", "posterior")}
    base = plan_from(chosen, mc=counts, batch=tuple(batch), measuring=scoring, **own, **shared)
    shift, told = shift_plan(
        chosen,
        formats=("FP32",),
        types=_unless_none(types),
        ood=(chosen.outside or None) if ood is None else _unless_none(ood),
        limit=shifted,
        mc=counts[-1],
        scoring=scoring,
        **choices,
    )
    others, lines = _splits(chosen, _unless_none(splits), base.data, scoring)
    shift, told = replace(shift, splits=others), (*told, *lines)
    names = tuple(dict.fromkeys(METHODS.usable() if methods is None else methods))
    kinds = tuple(dict.fromkeys(formats))
    made = MethodsPlan(base, shift, names, kinds, counts, fitted, not untimed)
    _check_some(made)
    return made, told


def _check_some(plan: MethodsPlan) -> None:
    """Refuse methods of which there is none in any of the formats.

    Raises:
        UserError: with the reasons.
    """
    if next(plan.asked(), None) is None:
        reasons = dict.fromkeys(
            str(METHODS.get(name).without(plan.base, format))
            for name in plan.methods
            for format in plan.formats
        )
        raise UserError(
            f"{plan.base.workload.name} has nothing of {', '.join(plan.methods)} in "
            f"{', '.join(plan.formats)}: {'; '.join(reasons)}."
        )


def _splits(
    workload: Workload, names: Sequence[str] | None, data: Path | None, scoring: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Further test sets that are to be scored, and a line for each that is not available."""
    wanted = workload.other_splits if names is None else tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in workload.other_splits:
            raise unknown(f"other test set of {workload.name}", name, workload.other_splits)
    absent = absent_splits(workload, data) if scoring and wanted else {}
    lines = (f"{name} is skipped: {why}" for name, why in absent.items() if name in wanted)
    return tuple(name for name in wanted if name not in absent), tuple(lines)


def _unless_none(names: Sequence[str] | None) -> Sequence[str] | None:
    """None of them where that is what was written."""
    return () if names is not None and list(names) == ["none"] else names


def tasks(plan: MethodsPlan, measuring: bool) -> list[Task[MethodSubject]]:
    """One for each method and format, about the condition of each subject; and one for each race.

    Raises:
        UserError: more threads than cores.
    """
    found: list[Task[MethodSubject]] = []
    if measuring and plan.timed:
        cores_for(plan.base.threads)
    for name, format in plan.asked():
        about = dict(plan.subjects(name, format))
        found.append(Task(tuple(about), SCORED, about=about))
    found += [Task(race, TIMED, whole=True) for race in plan.races()]
    return found


def asked(subject: MethodSubject) -> Iterator[str]:
    """What records may answer to that are shown for a subject."""
    yield subject.key if subject.batch else _on_any_cores(subject)


def answers(record: MethodRecord) -> str:
    """What a record answers to: scores are shown for any number of cores."""
    return record.subject.key if record.subject.batch else _on_any_cores(record.subject)


def _on_any_cores(subject: MethodSubject) -> str:
    return replace(subject, threads=0).key
