"""What a study is: a package of four modules that one driver runs.

    plan.py      KIND, OPTIONS and HELP; `plan` makes choices a plan, `tasks` a plan's tasks
    measure.py   `measurer` makes what measures a task; of a study that can be timed in several
                 fresh processes, `joined` makes their records of a subject one result
    analyse.py   `analyse` makes findings of records; with SLOW it reports progress
    document.py  `document` makes tables, figures and conclusions of findings

Modules are imported when they are needed, so listing studies costs nothing; `plan.py` imports
nothing heavy before one of its functions is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..core.errors import UserError, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..core.waiting import Report
    from ..machine.fingerprint import Fingerprint
    from ..records.envelope import Record, Subject
    from ..records.kind import Kind
    from ..records.timed_conditions import Conditions
    from ..records.verdict import Verdict

S = TypeVar("S", bound="Subject")

#: One thread each, so that many workers may work side by side.
SCORED = "scored"
#: The whole machine alone.
TIMED = "timed"
#: The same, and the measurer starts a process for it that then ends.
FRESH = "fresh"


@dataclass(frozen=True)
class Option:
    """A choice of a study's user: a flag of its command.

    Attributes:
        flag: `--formats`; its name is what `plan` is called with, with underscores.
        help: one line.
        type: `text`, `whole`, `number`, `path`, `names` or `numbers` (separated by commas),
            `counts` (numbers and `auto`), or `switch`.
        default: where it is not given.
        name: what `plan` is called with, where the flag's own name will not do.
        shown: what the help says of the default, where that is not the default itself.
    """

    flag: str
    help: str
    type: str = "text"
    default: Any = None
    name: str = ""
    shown: str = ""

    @property
    def called(self) -> str:
        """Its name as an argument."""
        return self.name or self.flag.lstrip("-").replace("-", "_")


@dataclass(frozen=True)
class Task(Generic[S]):
    """What has to be measured together.

    Attributes:
        subjects: with a record each.
        place: `SCORED`, `TIMED` or `FRESH`.
        beside: subjects whose scores it needs, but does not store.
        about: what all its subjects share, such as the images that they are scored on.
        whole: whether all of it is measured again where a part is missing, as of a race whose
            times are held against one another.
    """

    subjects: tuple[S, ...]
    place: str
    beside: tuple[S, ...] = ()
    about: Any = None
    whole: bool = False

    def only(self, missing: Collection[S]) -> Task[S]:
        """The part of it that has to be measured."""
        if self.whole and any(one in missing for one in self.subjects):
            return self
        return replace(self, subjects=tuple(one for one in self.subjects if one in missing))


@dataclass(frozen=True, eq=False)
class Measured(Generic[S]):
    """What came of one subject: the parts of its record that are not known beforehand. What was
    timed has the conditions meanwhile, by which the driver explains noise; those of several
    processes it puts together."""

    subject: S
    body: Any
    verdict: Verdict | None = None
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    conditions: Conditions | None = None

    def record(self, kind: Kind[Any], made_on: Fingerprint, command: str) -> Record[Any, Any]:
        """What is stored of it, now.

        Args:
            kind: of the record.
            made_on: machine and code.
            command: that asked for it.
        """
        from ..measure.noise_cause import explained
        from ..records.envelope import Arrays, Provenance

        made = Provenance.now(made_on, command, self.conditions)
        judged = explained(self.verdict, self.conditions)
        record: Record[Any, Any] = kind.record(
            self.subject, made, judged, self.body, Arrays.of(self.arrays)
        )
        return record


class Measurer(Protocol):
    """What measures tasks; pickled where several workers do. It knows no store and no terminal.
    One with `counts` reports itself how much is done."""

    def __call__(self, task: Task[Any]) -> Iterator[Measured[Any]]:
        """Measure a task, giving each subject's result when it is ready."""

    def close(self) -> None:
        """Let go of everything. All tasks are done and stored, or the study has stopped."""


@dataclass(frozen=True)
class Surroundings:
    """What a measurer is made in.

    Attributes:
        fingerprint: of the machine and code.
        report: progress.
        workers: processes side by side.
        reuse: whether what earlier runs kept counts.
        kept: from a subject's home to the folder in which a study may keep what it needs to go on.
        logs: from a subject to the folder beside its record for logs of what measured it.
        earlier: from a subject to the record of the first of several processes that time it, once
            that is there; None before, and where one process alone times it.
    """

    fingerprint: Fingerprint
    report: Report
    workers: int = 1
    reuse: bool = True
    kept: Callable[[str], Path] = Path
    logs: Callable[[Any], Path] = Path
    earlier: Callable[[Any], Any] = field(default=lambda _: None)


@dataclass(frozen=True)
class Study:
    """One thing that a user can ask.

    Attributes:
        name: of its command.
        package: whose modules are its parts.
        summary: one line.
        group: name of the command that its own belongs to; empty where it stands alone.
        title: heading of what it shows; its name where empty.
    """

    name: str
    package: str
    summary: str
    group: str = ""
    title: str = ""

    @property
    def heading(self) -> str:
        """Of what it shows, for people."""
        return self.title or self.name.replace("-", " ").replace("_", " ").capitalize()

    def part(self, name: str) -> ModuleType:
        """`plan`, `measure`, `analyse` or `document`.

        Raises:
            UserError: it cannot be imported.
        """
        try:
            return importlib.import_module(f"{self.package}.{name}")
        except Exception as reason:  # whatever a package of somebody else's raises
            raise UserError(
                f"The study {self.name!r} cannot be loaded ({first_line(reason)}); fix or "
                f"uninstall the package {self.package}."
            ) from reason

    @property
    def plan(self) -> ModuleType:
        """Its choices and tasks."""
        return self.part("plan")
