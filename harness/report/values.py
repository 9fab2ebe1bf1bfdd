"""A record's numbers one by one, for analysis elsewhere.

Of any body, a study's of another package too, every number is a value, called by the field that it
stands in (`timing.noise`). What has a name of its own in the field is called by that: scores by
their metrics, differences of these `nll.difference`, medians of latency `latency_p50`. One function
for each class that says more of its numbers than where they stand, chosen by
`functools.singledispatch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import singledispatch
from typing import Any

from ..metrics.metric import METRICS
from ..records.ablation_record import AblationBody
from ..records.envelope import Record
from ..records.fitted import Fitted
from ..records.methods_record import MethodBody
from ..records.peers_record import PeerRow
from ..records.reference_times import Reference
from ..records.run_record import Adaptive, Paired, Quality, Timing
from ..records.runtime_record import Contender, Width
from ..records.shift_record import ShiftBody
from ..stats.latency import median_ci95
from ..stats.samples import median

#: How the name of a field ends, and the unit that this says.
_UNITS = {
    "_ns": "ns",
    "_us": "µs",
    "_seconds": "s",
    "_bytes": "B",
    "_percent": "%",
    "_nats": "nats",
    "_gb_per_s": "GB/s",
    "images_per_second": "images/s",
    "_mhz": "MHz",
    "_celsius": "°C",
    "_joules": "J",
}
#: What makes its items one another's samples: with these, a value is one of many.
_SAMPLES = ("latency_ns", "draw_ns", "copy_ns", "slices", "draw_slices", "copy_slices", "processes")


@dataclass(frozen=True)
class Value:
    """One number of a record.

    Attributes:
        metric: what it is: a metric's name, `latency_p50`, or the field that it stands in.
        value: itself.
        unit: of it; empty for a pure number, and where it is not known.
        part: of what in the record it is: a layer, a contender, a set of images; empty where it is
            of all of it.
        place: from 0, where it is one of a list.
        passes: T that it is of; None where it is of none or of several.
        seed: of the Monte Carlo draw; None where it is of none or of several.
        low: of its 95 % interval, where the record holds one.
        high: of its 95 % interval.
    """

    metric: str
    value: float
    unit: str = ""
    part: str = ""
    place: int | None = None
    passes: int | None = None
    seed: int | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class At:
    """Where in a record a walk is.

    Attributes:
        subject: of the record.
        samples: whether raw times are wanted.
        metric: fields on the way.
        part: names of items on the way.
        passes: T, where that is known.
        seed: likewise.
    """

    subject: Any
    samples: bool
    metric: str = ""
    part: str = ""
    passes: int | None = None
    seed: int | None = None

    def field(self, name: str) -> At:
        """One field further in."""
        return replace(self, metric=f"{self.metric}.{name}" if self.metric else name)

    def item(self, name: object) -> At:
        """One item of a table or list further in."""
        return replace(self, part=f"{self.part} / {name}" if self.part else str(name))

    def of(self, passes: int | None = None, seed: int | None = None) -> At:
        """With a T, or a seed."""
        passes = self.passes if passes is None else passes
        return replace(self, passes=passes, seed=self.seed if seed is None else seed)

    def value(
        self, metric: str, value: float | None, unit: str = "", **more: Any
    ) -> Iterator[Value]:
        """A value here, unless it is not defined."""
        if value is not None:
            known = (self.part, more.pop("place", None), self.passes, self.seed)
            yield Value(metric, value, unit, *known, **more)

    def score(self, metric: str, value: float | None, **more: Any) -> Iterator[Value]:
        """A metric's value."""
        unit = METRICS.get(metric).unit if metric in METRICS else ""
        yield from self.value(metric, value, unit, **more)

    def difference(self, metric: str, value: float | None, **bounds: Any) -> Iterator[Value]:
        """Of a metric, in its unit."""
        for one in self.score(metric, value, **bounds):
            yield replace(one, metric=f"{metric}.difference")

    def rest(self, node: Any, *said: str) -> Iterator[Value]:
        """The fields of a dataclass but for those of which all is said, and raw times where they
        are not wanted."""
        for one in fields(node):
            if one.name not in said and (self.samples or one.name not in _SAMPLES):
                yield from values_of(getattr(node, one.name), self.field(one.name))


def values(record: Record[Any, Any], samples: bool = False) -> Iterator[Value]:
    """Every number of a record's body that is defined, and of what the machine did meanwhile.

    Args:
        record: of any study.
        samples: whether raw times are among them.
    """
    mc = getattr(record.subject, "mc", None)
    start = At(record.subject, samples, passes=mc or None if isinstance(mc, int) else None)
    yield from values_of(record.body, start)
    conditions = replace(start, passes=None).field("conditions")
    yield from values_of(record.provenance.conditions, conditions)


@singledispatch
def values_of(node: Any, at: At) -> Iterator[Value]:
    """The numbers of a part of a body.

    Args:
        node: the part.
        at: where it stands.
    """
    if is_dataclass(node) and not isinstance(node, type):
        yield from at.rest(node)
    elif isinstance(node, Mapping):
        for key, each in node.items():
            yield from values_of(each, at.item(key))
    elif isinstance(node, (list, tuple)):
        yield from _items(node, at)
    elif isinstance(node, (int, float)):
        yield from at.value(at.metric, node, _unit(at.metric))


def _items(node: Sequence[Any], at: At) -> Iterator[Value]:
    for place, each in enumerate(node):
        if isinstance(each, (int, float)):
            yield from at.value(at.metric, each, _unit(at.metric), place=place)
        elif each is not None and not isinstance(each, str):
            yield from values_of(each, at.item(_label(each, place)))


def _label(item: Any, place: int) -> str:
    """What an item of a list is called, by what tells it from the others."""
    if isinstance(item, Width):
        return f"{item.bits} bits"
    item = getattr(item, "contender", item)
    named = (getattr(item, name, "") for name in ("name", "layer", "label"))
    return " / ".join(str(name) for name in named if name) or str(place)


def _unit(metric: str) -> str:
    return next((unit for end, unit in _UNITS.items() if metric.endswith(end)), "")


def _latency(
    at: At, latency: Sequence[int], slices: Sequence[int], processes: Sequence[int]
) -> Iterator[Value]:
    """The median of samples with its interval, and themselves where they are wanted."""
    if not latency:
        return
    low, high = median_ci95(latency, slices, processes=processes)
    middle = median(latency, slices, processes)
    yield from at.value("latency_p50", middle, "ns", low=low, high=high)
    yield from _samples(at, latency)


def _samples(at: At, latency: Sequence[int]) -> Iterator[Value]:
    if at.samples:
        for place, each in enumerate(latency):
            yield from at.value("latency", each, "ns", place=place)


def _seeds(at: At) -> range:
    """Of the MC draws that a record has values of, in their order."""
    return range(at.subject.seed, at.subject.seed + at.subject.seeds)


@values_of.register
def _quality(node: Quality, at: At) -> Iterator[Value]:
    for metric, scores in node.scores.items():
        for seed, score in zip(node.seeds, scores, strict=True):
            yield from at.of(seed=seed).score(metric, score)
    for seed, floor in zip(node.seeds, node.ece_floor_percent, strict=False):
        yield from at.of(seed=seed).value(at.field("ece_floor_percent").metric, floor, "%")
    yield from at.rest(node, "scores", "seeds", "ece_floor_percent")


@values_of.register
def _paired(node: Paired, at: At) -> Iterator[Value]:
    at = at.item(f"to {node.reference}")
    for name, difference in node.differences.items():
        low, high = node.intervals.get(name) or (None, None)
        metric = name.removesuffix("_percent").removesuffix("_nats")
        yield from at.difference(metric, difference, low=low, high=high)
    yield from at.rest(node, "differences", "intervals", "seeds")


@values_of.register
def _timing(node: Timing, at: At) -> Iterator[Value]:
    at = at.of(passes=node.passes or None)
    low, high = node.p50_ci95_ns
    for name, latency in node.percentiles_ns.items():
        bounds = {"low": low, "high": high} if name == "p50" else {}
        yield from at.value(f"latency_{name}", latency, "ns", **bounds)
    yield from _samples(at, node.latency_ns)
    yield from at.rest(node, "percentiles_ns", "p50_ci95_ns", "latency_ns")


@values_of.register
def _adaptive(node: Adaptive, at: At) -> Iterator[Value]:
    seeded = ("mean_passes", "median_passes", "agreement")
    for place, seed in enumerate(_seeds(at)):
        here = at.of(seed=seed)
        for name in seeded:
            yield from here.value(here.field(name).metric, getattr(node, name)[place])
        for metric, each in node.differences.items():
            yield from here.item(f"to T = {node.limit}").difference(metric, each[place])
        for look, images in zip(node.looks, node.images[place], strict=True):
            yield from here.of(passes=look).value(here.field("images").metric, images)
    yield from at.rest(node, *seeded, "differences", "images", "looks")


@values_of.register
def _shift(node: ShiftBody, at: At) -> Iterator[Value]:
    at = at.of(seed=at.subject.seed)
    for metric, scores in node.scores.items():
        for passes, score in zip(node.mc, scores, strict=True):
            yield from at.of(passes=passes).score(metric, score)
    for name in ("temperatures", "crossed"):
        for passes, fitted in zip(node.mc, getattr(node, name), strict=False):
            yield from _fitted(fitted, at.field(name).of(passes=passes))
    yield from at.rest(node, "scores", "mc", "temperatures", "crossed")


@values_of.register
def _ablation(node: AblationBody, at: At) -> Iterator[Value]:
    for images, scores in node.scores.items():
        for metric, each in scores.items():
            for seed, score in zip(_seeds(at), each, strict=True):
                yield from at.item(images).of(seed=seed).score(metric, score)
    for images, differences in node.differences.items():
        for metric, one in differences.items():
            bounds = {"low": one.low, "high": one.high}
            here = at.item(images).item("to FP32")
            yield from here.difference(metric, one.value, **bounds)
    yield from at.rest(node, "scores", "differences")


@values_of.register
def _method(node: MethodBody, at: At) -> Iterator[Value]:
    for name in ("scores", "tempered"):
        part = at if name == "scores" else at.item("with a temperature")
        for metric, draws in getattr(node, name).items():
            for here, score in _each_draw(part, draws):
                yield from here.score(metric, score)
    for metric, score in node.vector.items():
        yield from at.item("with vector scaling").score(metric, score)
    for name in ("temperatures", "crossed"):
        for here, fitted in _each_draw(at.field(name), getattr(node, name)):
            yield from _fitted(fitted, here)
    yield from at.rest(node, "scores", "tempered", "vector", "temperatures", "crossed")


def _each_draw(at: At, draws: Sequence[Sequence[Any]]) -> Iterator[tuple[At, Any]]:
    """What there is of each draw and T, with where it stands."""
    for seed, each in enumerate(draws, at.subject.seed):
        for passes, one in zip(at.subject.mc, each, strict=True):
            yield at.of(passes=passes, seed=seed), one


def _fitted(node: Fitted, at: At) -> Iterator[Value]:
    yield from at.rest(node, "form")


@values_of.register
def _peer_row(node: PeerRow, at: At) -> Iterator[Value]:
    for metric, score in node.scores.items():
        yield from at.of(passes=node.contender.mc).score(metric, score)
    yield from _contender(node.contender, at)
    yield from at.rest(node, "scores", "contender")


@values_of.register
def _contender(node: Contender, at: At) -> Iterator[Value]:
    at = at.of(passes=node.mc)
    yield from _latency(at, node.latency_ns, node.slices, node.processes)
    yield from at.rest(node, "latency_ns", "mc")


@values_of.register
def _reference(node: Reference, at: At) -> Iterator[Value]:
    slices = (1,) * len(node.latency_ns)
    yield from _latency(replace(at, passes=None), node.latency_ns, slices, node.processes)


@values_of.register
def _width(node: Width, at: At) -> Iterator[Value]:
    draws, copies = node.processes
    yield from _latency(at.item("draw"), node.draw_ns, node.draw_slices, draws)
    yield from _latency(at.item("copy"), node.copy_ns, node.copy_slices, copies)
    yield from at.rest(node, "draw_ns", "copy_ns")
