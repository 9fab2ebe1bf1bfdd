"""The race: contenders take turns on one network, at one batch size after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from ...core.waiting import warn_if_long
from ...measure.watch import CoreWatch
from ...peers.contender import remotes_of
from ...race.contenders import locals_of
from ...race.references import References
from ...race.together import contender, references
from ...race.turns import INPUTS, Expected, Turns, take_turns
from ...records.runtime_record import Contender, RaceBody, RaceRecord, RaceSubject
from ..study import Measured, Surroundings, Task
from .plan import RacePlan


def measurer(
    plan: RacePlan, tasks: Sequence[Task[RaceSubject]], surroundings: Surroundings
) -> RaceMeasurer:
    """Our contenders, loaded.

    Raises:
        UserError: a format of ours cannot run here.
    """
    batches = tuple(one.batch for task in tasks for one in task.subjects)
    return RaceMeasurer(plan, batches, surroundings)


class RaceMeasurer:
    """Races at one batch size after the other.

    Args:
        plan: what to race.
        batches: that are left.
        surroundings: see there.
    """

    def __init__(
        self, plan: RacePlan, batches: tuple[int, ...], surroundings: Surroundings
    ) -> None:
        self.plan, self.batches = plan, batches
        self.report, self.earlier = surroundings.report, surroundings.earlier
        self.done = 0
        network, seed = plan.network, plan.seed
        self.report(f"Building {network.name}", 0, len(batches))
        made = network.synthetic(seed)
        self.ours = locals_of(network, made, plan.formats, plan.threads, seed)

    def __call__(self, task: Task[RaceSubject]) -> Iterator[Measured[RaceSubject]]:
        """Time everyone in turns."""
        (subject,) = task.subjects
        batch, total = subject.batch, len(self.batches)
        self.report(f"Loading peers at batch {batch}", self.done, total)
        watch = CoreWatch()
        fixed = References(self.plan.threads)

        def rest() -> None:
            self.report(f"Timing at batch {batch}", self.done, total)
            fixed()
            watch.look()

        timed = {one.name: one for one in self._contenders(task, batch, rest)}
        conditions = watch.conditions
        body = RaceBody(
            input_shape=self.plan.network.input_shape,
            inputs=INPUTS,
            contenders=tuple(timed[name] for name in subject.contenders),
            findings=watch.told(),
            references=fixed.taken(),
        )
        yield Measured(subject, body, conditions=conditions)
        self.done += 1

    def close(self) -> None:
        """Compiled programs are to end before the interpreter."""
        self.ours.clear()

    def _contenders(
        self, task: Task[RaceSubject], batch: int, rest: Callable[[], None]
    ) -> list[Contender]:
        plan = self.plan
        images = list(torch.split(plan.network.images(INPUTS * batch, plan.seed + 1), batch))
        for local in self.ours:
            local.images = images
        job = {
            "source": plan.network.source(),
            "shape": list(plan.network.input_shape),
            "batch": batch,
            "inputs": INPUTS,
            "threads": plan.threads,
            "seed": plan.seed,
        }
        before = self._before(task.subjects[0])
        turns = Turns(
            plan.mc,
            plan.threads,
            plan.seconds,
            processes=plan.processes,
            passes={name: one.mc for name, one in before.items()},
        )
        with remotes_of(job, task.about, before=before) as (remotes, absent):
            timed = take_turns([*self.ours, *remotes], turns, rest, self._tell_how_long)
        return [*timed, *(one.contender() for one in absent)]

    def _before(self, subject: RaceSubject) -> dict[str, Contender]:
        """What the first of several processes found, by contender: passes of a query that fit, the
        form that a peer runs in, who cannot be timed."""
        earlier: RaceRecord | None = self.earlier(subject)
        return {} if earlier is None else {c.name: c for c in earlier.body.contenders}

    def _tell_how_long(self, expected: Expected) -> None:
        """What is left, the batch that was measured first; a pass takes as much longer as there are
        more images."""
        left = self.batches[self.done :]
        long = sum(expected(batch / left[0]) for batch in left)
        warn_if_long(self.report, f"Timing at batch {', '.join(map(str, left))}", long)


def joined(parts: Sequence[RaceRecord]) -> Measured[RaceSubject]:
    """The race of all processes.

    Args:
        parts: one of each process.
    """
    bodies = [one.body for one in parts]
    same = zip(*(one.contenders for one in bodies), strict=True)
    findings = dict.fromkeys(finding for one in bodies for finding in one.findings)
    body = replace(
        bodies[0],
        contenders=tuple(map(contender, same)),
        findings=tuple(findings),
        references=references([one.references for one in bodies]),
    )
    return Measured(parts[0].subject, body)
