"""The comparison: ours and peers judged one by one on the same images, then timed in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...core.waiting import Report, warn_if_long
from ...core.words import plural, verb
from ...measure.estimate import image_pass_seconds
from ...measure.watch import CoreWatch
from ...peers.contender import Absent, Remote, remotes_of
from ...peers.environment import Environment
from ...peers.handover import NoRoomError, write_images, write_networks
from ...peers.process import PeerError
from ...peers.source import source_of
from ...race.contenders import Local
from ...race.turns import INPUTS, Expected, Turns, take_turns
from ...records.peers_record import Asked, PeerRow, PeersBody
from ...records.runtime_record import Contender
from ...workload.prepare import Prepared, load_networks, prepare
from ..study import Measured, Surroundings, Task
from .judge import Exam, Judged, judge_ours, judge_theirs
from .peer_audits import effective, verdict
from .plan import DRAWS, QUERY_SECONDS, PeersPlan


def measurer(
    plan: PeersPlan, tasks: Sequence[Task[Asked]], surroundings: Surroundings
) -> PeersMeasurer:
    """What judges and times everyone.

    Raises:
        UserError: a file is missing or damaged, or a batch is larger than the split.
    """
    torch.set_num_threads(plan.ours.threads)
    return PeersMeasurer(plan, surroundings.report)


@dataclass(frozen=True, eq=False)
class _Contestant:
    """Who was judged: ours, or a peer's that runs."""

    runner: Local | Remote
    judged: Judged


class PeersMeasurer:
    """Judges contenders one by one, then times them in turns.

    Args:
        plan: who and what.
        report: progress.

    Raises:
        UserError: a file is missing or damaged, or a batch is larger than the split.
    """

    def __init__(self, plan: PeersPlan, report: Report) -> None:
        self.plan, self.report = plan, report
        self.environments: list[Environment] = []
        report("Loading data", 0, 1)
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
        self.environments = list(task.about)
        with tempfile.TemporaryDirectory(prefix="sigmabench-peers-") as place:
            folder = Path(place)
            ours = [self._ours(name, folder) for name in dict.fromkeys(asked.formats)]
            job = self._handed_over(folder)
            total = sum(len(e.peer.formats) for e in self.environments if not e.unavailable)
            loading = iter(range(total))
            with remotes_of(
                job,
                self.environments,
                lambda name: self.report(f"Loading {name}", next(loading), total),
            ) as (remotes, absent):
                theirs, failed = self._theirs(remotes, folder)
                running = [*ours, *theirs]
                watch = CoreWatch()
                turns = Turns(self.plan.mc, asked.threads, asked.seconds, QUERY_SECONDS)
                timed = take_turns(
                    [one.runner for one in running],
                    turns,
                    lambda: self.report("Timing", 0, 1),
                    self._tell_how_long,
                )
        rows = [self._row(one, contender) for one, contender in zip(running, timed, strict=True)]
        rows += [PeerRow(one.contender()) for one in [*failed, *absent]]
        yield self._measured(asked, rows, running, watch)

    def close(self) -> None:
        """Nothing is kept."""

    def _measured(
        self,
        asked: Asked,
        rows: Sequence[PeerRow],
        judged: Sequence[_Contestant],
        watch: CoreWatch,
    ) -> Measured[Asked]:
        body = PeersBody(
            images=len(self.split),
            skipped=self.split.skipped,
            inputs=INPUTS,
            draws=DRAWS,
            rows=tuple(sorted(rows, key=self._place)),
        )
        summaries = {one.runner.name: one.judged.summary for one in judged}
        weights = self._weights()
        told = verdict(rows, summaries, self.plan.mc, weights, DRAWS, watch)
        return Measured(asked, body, told)

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
        try:
            each = 1e-9 * remote.query(0, 1) / self.plan.batch
            self._tell_how_long_to_score(remote.name, each, remote.bayesian)
            return _Contestant(remote, judge_theirs(self._exam(remote.name, folder), remote, std))
        except (PeerError, UserError) as reason:
            return Absent(remote.environment, remote.peer_format, str(reason))

    def _row(self, one: _Contestant, contender: Contender) -> PeerRow:
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
