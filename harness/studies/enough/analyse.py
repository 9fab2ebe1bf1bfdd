"""How many passes are enough of each format: the smallest T whose intervals lie within what is
asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from ...data.units import too_few
from ...records.samples_record import REFERENCE, AtCount, SamplesRecord
from ...stats.enough import Gap, Share, nll_gaps, shares, unbroken
from .plan import SamplesPlan

#: That the NLL of enough passes may differ from that of the reference, nats.
MARGIN = 0.002
#: Of the reference's decisions that enough passes make.
SHARE = 0.99
_TINY = 1e-20  # nats², of networks whose passes are all alike
_OF_FORMAT = ("format", "backend")


@dataclass(frozen=True)
class Count:
    """One T of one format.

    Attributes:
        at: what was measured.
        gap: NLL less that of the reference, nats.
        alike: share of the images that are decided as by the reference.
    """

    at: AtCount
    gap: Gap
    alike: Share

    @property
    def nll_enough(self) -> bool:
        """Whether the interval lies within the margin."""
        return max(-self.gap.low, self.gap.high) <= MARGIN

    @property
    def nll_few(self) -> bool:
        """Whether the interval lies beyond the margin."""
        return max(self.gap.low, -self.gap.high) > MARGIN

    @property
    def decisions_enough(self) -> bool:
        """Whether the interval lies at or above the share that is asked."""
        return self.alike.low >= SHARE

    @property
    def decisions_few(self) -> bool:
        """Whether the interval lies below the share that is asked."""
        return self.alike.high < SHARE


@dataclass(frozen=True, eq=False)
class Curve:
    """One format at every T, ascending."""

    record: SamplesRecord
    counts: tuple[Count, ...]

    @property
    def why_not(self) -> str:
        """Why nothing is judged; empty where it is."""
        return too_few(self.record.units.count)

    @cached_property
    def nll(self) -> Count | None:
        """The smallest T that is enough for NLL; None where none is shown to be."""
        return self._smallest([one.nll_enough for one in self.counts])

    @cached_property
    def decisions(self) -> Count | None:
        """The smallest T that is enough for decisions; None where none is shown to be."""
        return self._smallest([one.decisions_enough for one in self.counts])

    @property
    def enough(self) -> Count | None:
        """The smallest T that is enough for both."""
        both = [one for one in (self.nll, self.decisions) if one is not None]
        return max(both, key=lambda one: one.at.mc) if len(both) > 1 else None

    @property
    def nll_few(self) -> int:
        """The largest T that is shown to be too few for NLL; 0 where none is."""
        return self._largest([one.nll_few for one in self.counts])

    @property
    def decisions_few(self) -> int:
        """The largest T that is shown to be too few for decisions; 0 where none is."""
        return self._largest([one.decisions_few for one in self.counts])

    @property
    def left(self) -> float:
        """What the NLL of the reference itself lies above that of infinitely many passes, nats,
        were the excess c / T: by least squares over all T, weighed by their intervals."""
        reference = self.record.subject.reference
        x = np.array([1 / one.at.mc - 1 / reference for one in self.counts])
        y = np.array([one.gap.value for one in self.counts])
        weights = 1 / np.maximum([one.gap.variance.whole for one in self.counts], _TINY)
        slope = float((weights * x * y).sum() / (weights * x * x).sum()) if x.any() else 0.0
        return max(0.0, slope / reference)

    def _smallest(self, holds: Sequence[bool]) -> Count | None:
        if self.why_not:
            return None
        count = unbroken(holds[::-1])
        return self.counts[len(holds) - count] if count else None

    def _largest(self, holds: Sequence[bool]) -> int:
        count = 0 if self.why_not else unbroken(holds)
        return self.counts[count - 1].at.mc if count else 0


@dataclass(frozen=True, eq=False)
class SamplesFindings:
    """The formats of one workload, on the same images at the same T."""

    workload: str
    curves: tuple[Curve, ...]


def analyse(
    records: Sequence[SamplesRecord], plan: SamplesPlan | None = None
) -> list[SamplesFindings]:
    """Of each workload and setting.

    Args:
        records: from one machine.
        plan: that they are of.
    """
    settings: dict[tuple[object, ...], dict[str, SamplesRecord]] = {}
    for record in records:
        asked = asdict(record.subject)
        about = tuple(value for name, value in asked.items() if name not in _OF_FORMAT)
        mine = settings.setdefault(about, {})
        before = mine.get(record.subject.format)
        if before is None or before.created <= record.created:
            mine[record.subject.format] = record
    return [
        SamplesFindings(next(iter(mine.values())).subject.home, tuple(map(curve, mine.values())))
        for mine in settings.values()
    ]


def curve(record: SamplesRecord) -> Curve:
    """Intervals at every T."""
    body, units = record.body, record.units
    own = [(one.nll_luck, body.reference.nll_luck) for one in body.counts]
    gaps = nll_gaps(record.each("nll"), record.each(f"{REFERENCE}nll"), own, units)
    alike = shares(record.each("agreeing"), [one.agreeing_luck for one in body.counts], units)
    return Curve(record, tuple(map(Count, body.counts, gaps, alike)))
