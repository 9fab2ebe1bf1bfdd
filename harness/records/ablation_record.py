"""The record of one configuration of an ablation: its size, and what it scored on every set of
images. Beside the scores it keeps what is paired: what each image got, by which configurations are
compared with FP32 without running anything again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.units import Units
from ..quantize.options import Options
from .envelope import Record
from .kind import Kind, OfWorkload

if TYPE_CHECKING:
    from torch import Tensor

    from ..predict.predicted import Predicted


@dataclass(frozen=True)
class Choice:
    """One configuration.

    Attributes:
        change: what differs from the default of this σ width, in words; empty where nothing does.
        format: name in `FORMATS`.
        options: of post-training quantization.
        observer: of activation ranges.
        sampled: whether ranges are observed over sampled passes too.
    """

    change: str
    format: str
    options: Options = field(default_factory=Options)
    observer: str = "minmax"
    sampled: bool = False


METRICS = ("accuracy", "nll", "ece", "mutual_information")
#: Those that are means over images, compared image by image.
PAIRED = ("accuracy", "nll")
#: The images as they are, beside corruption types.
CLEAN = "clean"
#: What every other is compared with.
BASE = Choice("", "FP32")


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
class AblationSubject(OfWorkload):
    """One configuration on certain images.

    What computes it is none of them: all backends have the same draws, and the int8 ones agree in
    every bit.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        posterior: first 16 hex digits of the posterior's content hash.
        split: whose images are scored.
        limit: clean images at most; half as many are corrupted.
        types: of corruption.
        shifted: where the images of each type came from, as `Cell.shifted`.
        severity: of the corruptions.
        corruption_seed: of generated ones.
        mc: passes T.
        seed: first of the MC draws.
        seeds: how many.
        threads: cores a pass may use.
        choice: the configuration.
        data: as `Cell.data`.
        network: as `Cell.network`.
    """

    workload: str
    workload_version: str
    posterior: str
    split: str
    limit: int
    types: tuple[str, ...]
    shifted: tuple[str, ...]
    severity: int
    corruption_seed: int
    mc: int
    seed: int
    seeds: int
    threads: int
    choice: Choice
    data: str = ""
    network: str = ""


@dataclass(frozen=True)
class AblationBody:
    """What came of one configuration.

    Attributes:
        backend: what computed it.
        images: clean images.
        corrupted_images: images of each corruption.
        units: independent clean images (`units.Units`).
        corrupted_units: independent images of each corruption.
        origins: corruption type to `official` or `generated`.
        file_bytes: of the artefact.
        weight_bytes: of μ and σ in it.
        ratio_weights: bits of an FP32 weight over its own, by the closed form: no codebooks.
        scores: `clean` or corruption type, to metric, to one value per seed; None where it is not
            defined. Units are the metrics'.
        differences: of records that hold no values of single images: `clean` or `shifted`, to
            `accuracy` or `nll`, to the difference to FP32, seeds averaged.
        resamples: of the bootstrap, of such differences.
    """

    backend: str
    images: int
    corrupted_images: int
    units: int
    corrupted_units: int
    origins: dict[str, str]
    file_bytes: int
    weight_bytes: int
    ratio_weights: float
    scores: dict[str, dict[str, tuple[float | None, ...]]]
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)
    resamples: int = 0


class AblationRecord(Record[AblationSubject, AblationBody]):
    """One configuration of an ablation. Its arrays are, of each set of N images (`clean` or a
    corruption type), `<set>.correct` and `<set>.nll`, [seeds, N]: whether the prediction is right
    (1) or wrong (0), and the negative log-likelihood in nats; and `<set>.source`, [N], what each
    image was cut from, where that is known."""

    def values(self, name: str) -> NDArray[np.float64]:
        """[2, N] of a set of images: whether each is right, in %, and its NLL; means over seeds."""
        right = 100.0 * self.arrays[f"{name}.correct"].astype(np.float64)
        each = np.stack([right, self.arrays[f"{name}.nll"]], axis=1)
        return np.asarray(each.mean(axis=0))

    def units_of(self, name: str) -> Units:
        """What is independent in a set of images."""
        images = self.arrays[f"{name}.nll"].shape[1]
        return Units.of(images, self.arrays.get(f"{name}.source"))


def each_image(
    name: str, summaries: Sequence[Predicted], labels: Tensor, sources: Tensor | None
) -> dict[str, NDArray[Any]]:
    """An `AblationRecord`'s arrays of one set of images.

    Args:
        name: of the set.
        summaries: one per seed.
        labels: [N] int64.
        sources: as `Split.sources`.
    """
    nll = [one.nll(labels).numpy() for one in summaries]
    right = [one.correct(labels).numpy().astype(np.uint8) for one in summaries]
    found = {f"{name}.nll": np.stack(nll), f"{name}.correct": np.stack(right)}
    return found if sources is None else {**found, f"{name}.source": sources.numpy()}


def _check(record: AblationRecord) -> None:
    scores = record.body.scores
    if set(scores) != {CLEAN, *record.subject.types}:
        raise ValueError("its sets of images are not those that were asked for")
    if any(len(one) != record.subject.seeds for by in scores.values() for one in by.values()):
        raise ValueError("it does not have one score for each seed")


ABLATIONS: Kind[AblationRecord] = Kind(
    name="ablation",
    title="record of an ablation",
    record=AblationRecord,
    subject=AblationSubject,
    body=AblationBody,
    folders=("ablation",),
    check=_check,
)
