"""Whether sampled weights have a similar range, and whether that means similar noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ...records.weights_record import REFERENCE, LayerRange, WeightsRecord

if TYPE_CHECKING:
    from .plan import WeightsPlan

TOLERANCE = 0.1
"""Relative difference up to which ranges, or noises, count as similar."""


@dataclass(frozen=True)
class Similarity:
    """How near one layer of a format comes to another format's.

    Attributes:
        layer: its name.
        range_error: the larger shift of the two ends of the range's bulk, its 0.1 % and 99.9 %
            quantiles, over the other's width.
        extremes_error: the same of least and greatest, which are rare draws and depend on P.
        noise_error: difference of the noises as sampled, over the larger: 0 … 1.
    """

    layer: str
    range_error: float
    extremes_error: float
    noise_error: float


@dataclass(frozen=True)
class SimilarityVerdict:
    """Whether the sampled weights of two formats have a similar range, and similar noise.

    Attributes:
        label: of the format.
        base: label of the one it is held against.
        tolerance: what counts as similar.
        layers: of each layer.
    """

    label: str
    base: str
    tolerance: float
    layers: tuple[Similarity, ...]

    @property
    def similar_range(self) -> bool:
        """Whether the bulk of the range is within tolerance in every layer."""
        return self.worst_range.range_error <= self.tolerance

    @property
    def similar_extremes(self) -> bool:
        """Whether least and greatest are within tolerance in every layer."""
        return all(layer.extremes_error <= self.tolerance for layer in self.layers)

    @property
    def similar_noise(self) -> bool:
        """Whether the noise is within tolerance in every layer."""
        return self.worst_noise.noise_error <= self.tolerance

    @property
    def misleading(self) -> tuple[str, ...]:
        """Layers whose range is similar though their noise is not: range implies no noise there."""
        return tuple(
            layer.layer
            for layer in self.layers
            if layer.range_error <= self.tolerance < layer.noise_error
        )

    @property
    def worst_range(self) -> Similarity:
        """The layer whose range differs most."""
        return max(self.layers, key=lambda layer: layer.range_error)

    @property
    def worst_noise(self) -> Similarity:
        """The layer whose noise differs most."""
        return max(self.layers, key=lambda layer: layer.noise_error)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a script."""
        return {
            **asdict(self),
            "similar_range": self.similar_range,
            "similar_extremes": self.similar_extremes,
            "similar_noise": self.similar_noise,
            "misleading": list(self.misleading),
        }


@dataclass(frozen=True, eq=False)
class WeightsFindings:
    """Layers of one network, in its order, and what is held against each other of them.

    Attributes:
        records: a layer each.
        ranges: by layer, then label.
        verdicts: on all layers.
    """

    records: tuple[WeightsRecord, ...]
    ranges: tuple[LayerRange, ...]
    verdicts: tuple[SimilarityVerdict, ...]


def analyse(
    records: Sequence[WeightsRecord], plan: WeightsPlan | None = None
) -> list[WeightsFindings]:
    """Every network among the records.

    Args:
        records: from one machine.
        plan: that they are of; nothing depends on it.
    """
    groups: dict[object, list[WeightsRecord]] = {}
    for record in records:
        groups.setdefault(replace(record.subject, layer=""), []).append(record)
    found = []
    for group in groups.values():
        group.sort(key=lambda record: record.body.place)
        ranges = [one for record in group for one in record.body.ranges]
        found.append(WeightsFindings(tuple(group), tuple(ranges), tuple(verdicts(ranges))))
    return found


def verdicts(ranges: Sequence[LayerRange], tolerance: float = TOLERANCE) -> list[SimilarityVerdict]:
    """Hold formats against each other, layer by layer.

    Args:
        ranges: by layer, then label.
        tolerance: relative difference that counts as similar.

    Returns:
        Every label against FP32; then, as the paper does, those of fewer bits of σ against the same
        variant with 8, where it is there (`INT8_SIGMA1 paper` against `INT8 paper`).
    """
    formats = {r.label: r.format for r in ranges}
    (base,) = [label for label, format in formats.items() if format == REFERENCE]
    pairs = [(label, base) for label in formats if label != base]
    for label, format in formats.items():
        whole = label.replace(format, format.partition("_SIGMA")[0], 1)
        if whole != label and whole in formats:
            pairs.append((label, whole))
    by_label = {label: [r for r in ranges if r.label == label] for label in formats}
    return [
        SimilarityVerdict(
            label, other, tolerance, tuple(map(_similarity, by_label[label], by_label[other]))
        )
        for label, other in pairs
    ]


def _similarity(found: LayerRange, base: LayerRange) -> Similarity:
    return Similarity(
        layer=found.layer,
        range_error=_end_error((found.p001, found.p999), (base.p001, base.p999)),
        extremes_error=_end_error((found.low, found.high), (base.low, base.high)),
        noise_error=_noise_error(found.noise_std, base.noise_std),
    )


def _end_error(ends: tuple[float, float], base: tuple[float, float]) -> float:
    width = base[1] - base[0]
    shift = max(abs(a - b) for a, b in zip(ends, base, strict=True))
    return shift / width if width else float(shift > 0)


def _noise_error(noise: float, base: float) -> float:
    larger = max(noise, base)
    return abs(noise - base) / larger if larger else 0.0
