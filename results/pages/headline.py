"""The table of the first page: every shipped workload in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sigmabench.harness.core import words
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store, fingerprint_hash
from sigmabench.harness.records.verdict import INVALID, KINDS, SPEED
from sigmabench.harness.workload.cell import MEAN, MEAN_FIELD

from ..published import RESULTS
from .chosen import Origin, youngest
from .lines import wrapped
from .methods import Methods, methods, of
from .races import Peers, peer, peers
from .runs import Run, Runs

BEGIN, END = "<!-- headline -->", "<!-- end -->"
WORKLOADS = (
    "lenet-digits",
    "lenet5-mnist",
    "resnet20-cifar10",
    "resnet50-imagenet",
    "histology-colorectal",
)
_FORMATS = ("FP32", "INT8")
_HEADS = (
    "workload",
    "accuracy %, T passes",
    "mean network, one pass",
    "NLL, T passes",
    "mean network, one pass",
    "the same with a temperature",
    "what T passes buy over that",
    "time ÷ FP32",
    "time ÷ the faster peer's deterministic INT8",
    "file, FP32 ÷ INT8",
    "verdict",
)
_BATCH, _MC = 32, 50


@dataclass(frozen=True)
class Row:
    """One workload.

    Attributes:
        runs: its records.
        peers: the comparison with peers on the same machine, if there is one.
        methods: the study of methods, if there is one.
    """

    runs: Runs
    peers: Peers | None
    methods: Methods | None

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table has them."""
        int8 = self._at_most("INT8")
        accuracy, nll = (
            (words.fixed(int8.mean(metric), decimals), words.fixed(self._mean(metric), decimals))
            for metric, decimals in (("accuracy", 2), ("nll", 4))
        )
        name = int8.record.subject.workload
        return (
            f"[{name}](results/{name}/README.md)",
            *accuracy,
            *nll,
            *self._bought(),
            self._time(),
            self._rival(),
            words.times(int8.size.ratio_file),
            self._verdict([self._at_most("FP32"), int8]),
        )

    def _at_most(self, format: str) -> Run:
        """The record of the most passes."""
        found = self.runs.where(format=format, stopping="fixed")
        return max(found, key=lambda run: (run.record.subject.mc, -run.record.subject.batch))

    def _mean(self, metric: str) -> float | None:
        """Of one pass of the posterior's mean network in INT8, as the study of methods scored it or
        else a run."""
        studied = None if self.methods is None else self.methods.found.of(MEAN, "INT8")
        if studied is not None:
            return studied.score(metric, 1, False)
        found = self.runs.where(method=MEAN, format="DNN_INT8")
        return found[0].mean(metric) if found else None

    def _bought(self) -> tuple[str, str]:
        """NLL of one pass of the mean network with a temperature, and the verdict on that of T
        passes with theirs, all studies of methods judged as one family."""
        found = self.methods
        mean = None if found is None else found.found.of(MEAN, "INT8")
        if found is None or mean is None:
            return words.MISSING, words.MISSING
        verdicts = {
            (one.record.subject.method, one.record.subject.format): one.verdict
            for one in found.found.compared
            if one.main
        }
        nll = words.fixed(mean.score("nll", 1, True), 4)
        return nll, verdicts.get((MEAN_FIELD, "INT8"), words.MISSING)

    def _time(self) -> str:
        """A pass of INT8 over one of FP32 that took turns with it; where it can be, as the notes
        say."""
        found = self.runs.where(format="INT8", stopping="fixed")
        valid = [run for run in found if run.row.speedup and not run.noisy]
        if not valid:
            return words.MISSING
        passes = [int(run.record.query_passes) for run in valid]  # a long query is cut to fewer
        cells = (
            (run.record.subject.batch == _BATCH, t) for run, t in zip(valid, passes, strict=True)
        )
        (_, mc), run = max(zip(cells, valid, strict=True), key=lambda one: one[0])
        apart = _apart(mc, run.record.subject.batch)
        return words.beyond(1 / run.speedup, 1.0, 2) + (f" ({', '.join(apart)})" if apart else "")

    def _rival(self) -> str:
        if self.peers is None or SPEED in self.peers.invalid or not self.peers.turns.rival:
            return words.MISSING
        turns = self.peers.turns
        apart = _apart(turns.mc("INT8"), self.peers.batch)
        told = ", ".join([peer(turns.rival), *apart])
        return f"{words.beyond(turns.ratio('INT8', turns.rival).value, 1.0, 2)} ({told})"

    @staticmethod
    def _verdict(shown: Sequence[Run]) -> str:
        bad = [k for k in KINDS if any(run.record.verdict.of(k) == INVALID for run in shown)]
        return f"{words.first(bad)} invalid" if bad else "valid"


def _apart(mc: int, batch: int) -> list[str]:
    """In what a time differs from what the note below the table says of all."""
    return [f"T = {mc}"] * (mc != _MC) + [f"batch {batch}"] * (batch != _BATCH)


def headline() -> str:
    """The table, and below it which machine and code it is of.

    All rows are of one machine and computing code where one holds all workloads, the youngest if
    several do. Else each row has the youngest complete set of its own.
    """
    stored = {name: _stored(name) for name in WORKLOADS}
    common = _common(stored)
    studied = {one.workload: one for one in methods(*filter(_has_methods, WORKLOADS))}
    rows = [_row(name, found, common, studied.get(name)) for name, found in stored.items()]
    lines = [_HEADS, ("---",) * len(_HEADS), *(row.cells for row in rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{table}\n\n{wrapped(_notes(rows))}"


def replaced(text: str) -> str:
    """The first page with the table as it is now.

    Raises:
        UserError: it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"README.md has no {BEGIN} and {END}; write them where the table belongs.")
    return f"{before}{BEGIN}\n{headline()}{END}{after}"


def _stored(workload: str) -> list[RunRecord]:
    where: dict[str, Any] = {"split": "test", "limit": 0}
    return Store(RESULTS, RUN_RECORDS).records(workload, latest=False, **where)


def _complete(group: Sequence[RunRecord]) -> bool:
    return set(_FORMATS) <= {one.subject.format for one in group}


def _common(stored: dict[str, list[RunRecord]]) -> str | None:
    """The hash of the machine and code that all workloads have a complete set of."""
    found: dict[str, str] = {}
    for code in {fingerprint_hash(one.fingerprint) for group in stored.values() for one in group}:
        groups = [
            [r for r in g if fingerprint_hash(r.fingerprint) == code] for g in stored.values()
        ]
        if all(map(_complete, groups)):
            found[code] = max(one.created for group in groups for one in group)
    return max(found, key=lambda code: found[code]) if found else None


def _has_methods(workload: str) -> bool:
    try:
        return bool(of(workload))
    except UserError:
        return False


def _row(
    workload: str, found: Sequence[RunRecord], common: str | None, studied: Methods | None
) -> Row:
    def wanted(group: Sequence[RunRecord]) -> bool:
        return _complete(group) and common in (None, fingerprint_hash(group[0].fingerprint))

    runs = Runs(youngest(found, wanted, f"{workload} in {' and '.join(_FORMATS)}"))
    return Row(runs, _beside(workload, runs), studied)


def _beside(workload: str, runs: Runs) -> Peers | None:
    """The youngest comparison with peers on the same machine."""
    try:
        return peers(workload, place=runs.records[0].fingerprint.place)
    except UserError:
        return None


def _notes(rows: Sequence[Row]) -> str:
    told: dict[str, list[str]] = {}
    for row in rows:
        name = row.runs.records[0].subject.workload
        told.setdefault(_made(row.runs), []).append(name)
    if len(told) == 1:
        where = f"All of it was measured on {next(iter(told))}."
    else:
        parts = (f"{' and '.join(names)} on {made}" for made, names in told.items())
        where = f"Measured: {'; '.join(parts)}."
    return (
        f"{where} All columns are of INT8; scores are means over seeds at T = {_MC}. The mean "
        "network is that of the same posterior; a temperature is fitted on validation images, and "
        "the verdict holds T passes with theirs against it ([methods](results/methods/README.md)). "
        f"Times are of one pass at batch {_BATCH} and T = {_MC} unless a cell says otherwise, each "
        "ratio of one race, that with peers of "
        "[another](results/peers/README.md) on the same machine. – stands where no record answers."
    )


def _made(origin: Origin) -> str:
    return f"{origin.machine} ({origin.day}, commit {origin.commit})"
