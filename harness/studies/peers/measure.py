"""The comparison: ours and peers judged one by one on the same images, then timed in turns."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...core.waiting import warn_if_long
from ...core.words import plural, verb
from ...measure.estimate import image_pass_seconds
from ...measure.watch import CoreWatch
from ...peers.contender import Absent, Remote, remotes_of
from ...peers.environment import Environment
from ...peers.handover import NoRoomError, write_images, write_networks
from ...peers.process import PeerError
from ...peers.source import source_of
from ...race.contenders import Local
from ...race.references import References
from ...race.together import contender, references
from ...race.turns import INPUTS, Expected, Turns, take_turns
from ...records.peers_record import Asked, PeerRow, PeersBody, PeersRecord
from ...records.runtime_record import Contender
from ...records.verdict import Verdict, together
from ...records.verdict import verdict as verdict_of
from ...workload.prepare import Prepared, load_networks, prepare
from ..study import Measured, Surroundings, Task
from .judge import Exam, Judged, judge_ours, judge_theirs
from .peer_audits import effective, quiet, verdict
from .plan import DRAWS, PeersPlan


def measurer(
    plan: PeersPlan, tasks: Sequence[Task[Asked]], surroundings: Surroundings
) -> PeersMeasurer:
    """What judges and times everyone.

    Raises:
        UserError: a file is missing or damaged, or a batch is larger than the split.
    """
    torch.set_num_threads(plan.ours.threads)
    return PeersMeasurer(plan, surroundings)


@dataclass(frozen=True, eq=False)
class _Contestant:
    """Ours, or a peer's that runs, and how it was judged; None where an earlier process did."""

    runner: Local | Remote
    judged: Judged | None


class PeersMeasurer:
    """Judges contenders one by one, then times them in turns.

    Args:
        plan: who and what.
        surroundings: see there.

    Raises:
        UserError: a file is missing or damaged, or a batch is larger than the split.
    """

    def __init__(self, plan: PeersPlan, surroundings: Surroundings) -> None:
        self.plan, self.report = plan, surroundings.report
        self.environments: list[Environment] = []
        self._of_earlier, self.earlier = surroundings.earlier, dict[str, PeerRow]()
        self._kept = surroundings.kept
        self.report("Loading data", 0, 1)
        self.networks = load_networks(plan.ours)
        self.prepared: Prepared = prepare(plan.ours, self.networks)
        split = self.prepared.splits.scored(plan.ours.split)
        self.split = split.limit(plan.ours.limit).readable()
        if plan.batch > len(self.split):
            raise UserError(
                f"--batch is {plan.batch}, more than the {plural(len(self.split), 'image')} that "
                f"{verb(len(self.split))} scored; give a smaller batch or a larger --limit."
            )

    def __call__(self, task: Task[Asked]) -> Iterator[Measured[Asked]]:
        """Everything, in order.

        Raises:
            UserError: a format of ours cannot run here, or the temporary folder is too small.
        """
        (asked,) = task.subjects
        before: PeersRecord | None = self._of_earlier(asked)
        if before is not None:
            self.earlier = {row.contender.name: row for row in before.body.rows}
        self.environments = list(task.about)
        with tempfile.TemporaryDirectory(prefix="sigmabench-peers-") as place:
            folder = Path(place)
            ours = [self._ours(name, folder) for name in dict.fromkeys(asked.formats)]
            job = {**self._handed_over(folder), "kept": str(self._kept_for(asked, folder))}
            before_this = {name: row.contender for name, row in self.earlier.items()}
            with remotes_of(job, self.environments, self._tell_who(), before_this) as (
                remotes,
                absent,
            ):
                theirs, failed = self._theirs(remotes, folder)
                running = [*ours, *theirs]
                watch, fixed = CoreWatch(), References(asked.threads)
                settled = {name: row.contender.mc for name, row in self.earlier.items()}
                turns = Turns(
                    self.plan.mc,
                    asked.threads,
                    asked.seconds,
                    processes=asked.processes,
                    passes=settled,
                )

                def rest() -> None:
                    self.report("Timing", 0, 1)
                    fixed()
                    watch.look()

                timed = take_turns(
                    [one.runner for one in running], turns, rest, self._tell_how_long
                )
                conditions = watch.conditions
        rows = [self._row(one, contender) for one, contender in zip(running, timed, strict=True)]
        rows += [PeerRow(one.contender()) for one in [*failed, *absent]]
        body = PeersBody(
            images=len(self.split),
            skipped=self.split.skipped,
            inputs=INPUTS,
            draws=DRAWS,
            rows=tuple(sorted(rows, key=self._place)),
            references=fixed.taken(),
        )
        judged = self._verdict(rows, running, watch, before)
        yield Measured(asked, body, judged, conditions=conditions)

    def close(self) -> None:
        """What peers have made lies there until the record does; see `tidy`."""

    def _tell_who(self) -> Callable[[str], None]:
        """Progress of loading."""
        of_peers = [(e, name) for e in self.environments for name in e.peer.formats]
        there = [f"{e.peer.name} {name}" for e, name in of_peers if not e.unavailable]
        known = {name: row.contender.unavailable for name, row in self.earlier.items()}
        total = sum(not known.get(name) for name in there)
        loading = iter(range(total))
        return lambda name: self.report(f"Loading {name}", next(loading), total)

    def _kept_for(self, asked: Asked, folder: Path) -> Path:
        """Where peers keep what they quantize once for all processes; the first begins anew."""
        if asked.processes == 1:
            return folder
        kept = kept_for(asked, self._kept)
        try:
            if not self.earlier:
                shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True, exist_ok=True)
        except OSError:  # later processes make it again
            return folder
        return kept.absolute()

    def _verdict(
        self,
        rows: Sequence[PeerRow],
        running: Sequence[_Contestant],
        watch: CoreWatch,
        before: PeersRecord | None,
    ) -> Verdict:
        """Of the scores what an earlier process found, where one did; of the clock, anew."""
        if before is not None:
            clock = {"noise": quiet(rows), **watch.audits()}
            return verdict_of({**before.verdict.audits, **clock}, before.verdict.findings)
        summaries = {one.runner.name: one.judged.summary for one in running if one.judged}
        return verdict(rows, summaries, self.plan.mc, self._weights(), DRAWS, watch)

    def _tell_how_long(self, expected: Expected) -> None:
        warn_if_long(self.report, "Timing", expected(1.0))

    def _tell_how_long_to_score(self, name: str, each: float, bayesian: bool) -> None:
        """Args: seconds of a pass on an image."""
        passes = self.plan.mc if bayesian else 1
        warn_if_long(self.report, f"Scoring {name}", each * passes * len(self.split))

    def _exam(self, name: str, folder: Path) -> Exam:
        done = 0

        def advance(images: int) -> None:
            nonlocal done
            done += images
            self.report(f"Scoring {name}", done, len(self.split))

        plan = self.plan
        return Exam(self.split, plan.mc, plan.batch, plan.ours.seed, folder, advance)

    def _ours(self, name: str, folder: Path) -> _Contestant:
        self.report(f"Quantizing to {name}", 0, 1)
        plan = self.plan.ours
        artefact = self.prepared.artefact(name)
        backend = BACKENDS.get(plan.backend_of(artefact.format))
        predictor = backend.load(artefact, plan.threads)
        judged = None
        if not self.earlier:
            each = image_pass_seconds(self.split, predictor, plan.seed, self.plan.batch)
            self._tell_how_long_to_score(name, each, artefact.format.bayesian)
            judged = judge_ours(self._exam(name, folder), artefact, self.prepared.model, predictor)
        batches = torch.arange(INPUTS * self.plan.batch) % len(self.split)
        images = [self.split.batch(part) for part in torch.split(batches, self.plan.batch)]
        return _Contestant(Local(name, backend.name, predictor, plan.seed, images), judged)

    def _handed_over(self, folder: Path) -> dict[str, object]:
        """The job, but for the format; peers that cannot have it become unavailable."""
        self.report("Handing over", 0, 1)
        plan = self.plan
        write_images(folder, self.split, self.prepared.splits.calibration)
        try:
            write_networks(folder, self.networks, plan.ours.workload.model())
        except NoRoomError:
            raise
        except UserError as reason:
            self._give_up(str(reason), "bayesian-torch")
        source: dict[str, object] = {"source": ""}
        try:
            source = source_of(plan.ours.workload.model).job()
        except PeerError as reason:
            self._give_up(str(reason))
        return {
            **source,
            "shape": list(plan.ours.workload.input_shape),
            "batch": plan.batch,
            "inputs": INPUTS,
            "threads": plan.ours.threads,
            "seed": plan.ours.seed,
            "data": str(folder),
        }

    def _give_up(self, reason: str, *names: str) -> None:
        """All of `names`, or everyone."""
        self.environments = [
            replace(e, unavailable=reason)
            if not e.unavailable and (not names or e.peer.name in names)
            else e
            for e in self.environments
        ]

    def _theirs(
        self, remotes: Sequence[Remote], folder: Path
    ) -> tuple[list[_Contestant], list[Absent]]:
        """Who could be judged, and who failed at it."""
        std = self.networks.posterior.std()
        found = [self._judged(remote, folder, std) for remote in remotes]
        judged = [one for one in found if isinstance(one, _Contestant)]
        return judged, [one for one in found if isinstance(one, Absent)]

    def _judged(
        self, remote: Remote, folder: Path, std: Mapping[str, Tensor]
    ) -> _Contestant | Absent:
        if self.earlier:
            return _Contestant(remote, None)
        try:
            each = 1e-9 * remote.query(0, 1) / self.plan.batch
            self._tell_how_long_to_score(remote.name, each, remote.bayesian)
            return _Contestant(remote, judge_theirs(self._exam(remote.name, folder), remote, std))
        except (PeerError, UserError) as reason:
            return Absent(remote.environment, remote.peer_format, str(reason))

    def _row(self, one: _Contestant, contender: Contender) -> PeerRow:
        if one.judged is None:
            return replace(self.earlier[contender.name], contender=contender)
        scores, floor = one.judged.scores(self.split.labels)
        return PeerRow(contender, scores, floor, one.judged.std_ratio, one.judged.file_bytes)

    def _weights(self) -> dict[str, float]:
        """See `peer_audits.verdict`."""
        return {
            name.rpartition(".")[0] or name: effective(value.numpy())
            for name, value in self.networks.posterior.std().items()
            if value.ndim > 1
        }

    def _place(self, row: PeerRow) -> tuple[int, int]:
        """Ours first, then each peer's formats as it declares them."""
        contender = row.contender
        for index, environment in enumerate(self.environments, 1):
            peer = environment.peer
            if contender.by == peer.name:
                names = [f"{peer.name} {name}" for name in peer.formats]
                return index, names.index(contender.name)
        return 0, 0


def kept_for(asked: Asked, kept: Callable[[str], Path]) -> Path:
    """The folder of what peers have made for a comparison that is not finished.

    Args:
        asked: the comparison.
        kept: see `Surroundings`.
    """
    return kept(asked.home) / asked.key


def tidy(plan: PeersPlan, tasks: Sequence[Task[Asked]], surroundings: Surroundings) -> None:
    """Forget what peers have made for comparisons that have a record by now."""
    for asked in (one for task in tasks for one in task.subjects):
        kept = kept_for(asked, surroundings.kept)
        shutil.rmtree(kept, ignore_errors=True)
        with suppress(OSError):  # there is more in it
            kept.parent.rmdir()


def joined(parts: Sequence[PeersRecord]) -> Measured[Asked]:
    """The times of all processes with the scores of the first.

    Args:
        parts: one of each process.
    """
    bodies = [one.body for one in parts]
    rows = tuple(
        replace(same[0], contender=contender([row.contender for row in same]))
        for same in zip(*(one.rows for one in bodies), strict=True)
    )
    body = replace(bodies[0], rows=rows, references=references([one.references for one in bodies]))
    told = together([one.verdict for one in parts], {"noise": quiet(rows)})
    return Measured(parts[0].subject, body, told)
