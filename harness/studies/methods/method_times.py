"""Methods on the clock: every method, format and number of passes takes turns with all others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...measure.audits import noise_bounded
from ...measure.clock import passes_per_query
from ...measure.watch import CoreWatch
from ...methods.method import METHODS, LoadedMethod
from ...methods.trunk import OnTrunk
from ...predict.logit_law import Summarizer
from ...race.references import References
from ...race.turns import RACE_QUERY_SECONDS, Expected, Turns, take_turns
from ...records.kind import digest
from ...records.methods_record import MethodBody, MethodRecord, MethodSubject
from ...records.runtime_record import OURS, Contender
from ...records.verdict import PASS, Verdict
from ...records.verdict import verdict as verdict_of
from ...stats.samples import run_noise
from ..study import Measured

if TYPE_CHECKING:
    from torch import Tensor

Earlier = Callable[[MethodSubject], "MethodRecord | None"]


@dataclass
class MethodRunner:
    """One method in one format, `mc` passes per query; see `race.contenders.Runner`."""

    subject: MethodSubject
    loaded: LoadedMethod
    images: Sequence[Tensor]
    mc: int
    by: str = OURS
    packages: dict[str, str] = field(default_factory=dict)
    streams: int = 1

    @property
    def name(self) -> str:
        """Unique in a race."""
        return f"{self.format}, T = {self.mc}"

    @property
    def format(self) -> str:
        """Method and format."""
        return f"{self.subject.method} {self.subject.format}"

    @property
    def backend(self) -> str:
        """What computes it."""
        return self.loaded.backend

    def query(self, index: int, passes: int) -> int:
        """Nanoseconds of one query: float32 images in, the logits of all passes out, or the summary
        of a method without passes."""
        images, method = self.images[index % len(self.images)], self.loaded.passes
        start = time.perf_counter_ns()
        if isinstance(method, Summarizer):
            method.summary(images)
        else:
            method.logits(images, self.subject.seed + index, range(passes))
        return time.perf_counter_ns() - start

    def details(self) -> dict[str, str]:
        """Nothing."""
        return {}


def timed(
    methods: Mapping[MethodSubject, LoadedMethod],
    images: Sequence[Tensor],
    earlier: Earlier,
    rest: Callable[[], None],
    expect: Callable[[Expected], None],
) -> Iterator[Measured[MethodSubject]]:
    """What came of each, after all took turns.

    Args:
        methods: loaded, by subject, of one batch size.
        images: batches that queries go round.
        earlier: what the first of several processes found.
        rest: called between rounds.
        expect: told how long it takes.
    """
    first = next(iter(methods))
    watch, fixed = CoreWatch(), References(first.threads)
    runners = [
        MethodRunner(subject, loaded, images, mc)
        for subject, loaded in methods.items()
        for mc in _passes(subject, loaded, images, earlier(subject))
    ]
    turns = Turns(
        max(one.mc for one in runners),
        first.threads,
        first.seconds,
        processes=first.processes,
        passes={one.name: one.mc for one in runners},
    )

    def between() -> None:
        rest()
        fixed()
        watch.look()

    found = take_turns(runners, turns, between, expect)
    conditions = watch.conditions
    race = digest([*(one.key for one in methods), time.time_ns()])
    for subject, loaded in methods.items():
        mine = [c for r, c in zip(runners, found, strict=True) if r.subject is subject]
        body = MethodBody(
            backend=loaded.backend,
            artefacts=loaded.artefacts,
            file_bytes=loaded.file_bytes,
            images=subject.batch,
            validation_images=0,
            temperatures=(),
            scores={},
            tempered={},
            timed=tuple(mine),
            references=fixed.taken(),
            race=race,
        )
        audits = {"noise": quiet(mine), **watch.audits()}
        judged = verdict_of(audits, watch.findings())
        yield Measured(subject, body, judged, conditions=conditions)


def _passes(
    subject: MethodSubject,
    loaded: LoadedMethod,
    images: Sequence[Tensor],
    before: MethodRecord | None,
) -> tuple[int, ...]:
    """T of the queries, ascending. A query that would take long has fewer passes, unless each is of
    another network, or they share a trunk, so that T times the time per pass would say too much;
    several T that become one are timed once."""
    if before is not None:
        return tuple(one.mc for one in before.body.timed)
    if not METHODS.get(subject.method).draws or isinstance(loaded.passes, OnTrunk):
        return subject.mc
    some = min(subject.threads, subject.mc[-1])
    probe = MethodRunner(subject, loaded, images, some)
    each = min(probe.query(index, some) for index in range(3)) / 1e9 / some
    most = subject.mc[-1]
    fit = passes_per_query(each, most, subject.threads, RACE_QUERY_SECONDS)
    return tuple(dict.fromkeys(min(T, fit) for T in subject.mc))


def quiet(contenders: Sequence[Contender]) -> str:
    """The audit of noise: the first of them that had too much."""
    for one in contenders:
        found = noise_bounded(run_noise(one.latency_ns, one.slices, one.processes))
        if found != PASS:
            return f"{found} ({one.name})" if found.startswith("fail") else found
    return PASS


def of_all(parts: Sequence[MethodRecord], contenders: Sequence[Contender]) -> Verdict:
    """The verdict on times of several processes.

    Args:
        parts: one of each.
        contenders: of all processes.
    """
    from ...records.verdict import together

    verdicts = [one.verdict for one in parts if one.verdict is not None]
    return together(verdicts, {"noise": quiet(contenders)})
