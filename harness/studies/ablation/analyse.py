"""What comes of an ablation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...corruptions.copies import CLEAN
from .plan import Choice

METRICS = ("accuracy", "nll", "ece", "mutual_information")
PAIRED = ("accuracy", "nll")
SHIFTED = "shifted"


@dataclass(frozen=True)
class Difference:
    """A mean over images of (configuration − FP32), and its 95 % interval.

    Attributes:
        value: points of % for accuracy, nats for NLL.
        low: of the interval; None from one independent image.
        high: of the interval; None likewise.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class AblationRow:
    """What came of one configuration.

    Attributes:
        choice: the configuration.
        backend: what computed it.
        file_bytes: of the artefact.
        weight_bytes: of μ and σ in it.
        ratio_weights: bits of an FP32 weight over its own, by the closed form: no codebooks.
        ratio_file: FP32's file over its own, codebooks and all.
        scores: `clean` or corruption type, to metric, to one value a seed; None where it is not
            defined. Units are the metrics'.
        differences: `clean` or `shifted` (the mean over types), to `accuracy` or `nll`, to the
            difference to FP32, seeds averaged; empty for FP32 itself.
    """

    choice: Choice
    backend: str
    file_bytes: int
    weight_bytes: int
    ratio_weights: float
    ratio_file: float
    scores: dict[str, dict[str, tuple[float | None, ...]]]
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)

    def clean(self, metric: str) -> float | None:
        """Mean over seeds on clean images."""
        return _mean(self.scores[CLEAN][metric])

    def shifted(self, metric: str) -> float | None:
        """Mean over corruption types and seeds."""
        types = [found[metric] for name, found in self.scores.items() if name != CLEAN]
        return _mean([value for values in types for value in values])


@dataclass(frozen=True)
class Ablation:
    """A whole ablation.

    Attributes:
        split: `validation` or `test`.
        images: clean images.
        corrupted_images: images of each corruption.
        units: independent clean images (`units.Units`).
        corrupted_units: independent images of each corruption.
        origins: corruption type to `official` or `generated`.
        severity: of the corruptions.
        corruption_seed: of generated corruptions.
        mc: Monte Carlo passes T.
        seeds: of the MC draws.
        resamples: of the bootstrap; its seed is 0.
        rows: one a configuration, FP32 first.
    """

    split: str
    images: int
    corrupted_images: int
    units: int
    corrupted_units: int
    origins: dict[str, str]
    severity: int
    corruption_seed: int
    mc: int
    seeds: tuple[int, ...]
    resamples: int
    rows: tuple[AblationRow, ...]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
