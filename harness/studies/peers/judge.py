"""What a contender's predictions, draws and file are worth: the same questions to everyone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...metrics.metric import score
from ...peers.contender import Remote
from ...peers.process import PeerError
from ...peers.workers.spread import Spread
from ...predict.loop import PASSES, evaluate
from ...predict.predicted import Predictive, Summary
from ...quantize.artefact import size
from .plan import DRAWS

if TYPE_CHECKING:
    from ...backends.base import Predictor
    from ...data.splits import Split
    from ...quantize.artefact import Artefact
    from ...quantize.fold import FloatModel

METRICS = ("accuracy", "ece", "nll", "brier", "mutual_information")


@dataclass(frozen=True, eq=False)
class Judged:
    """What is known of a contender beside its speed.

    Attributes:
        summary: its predictive distribution of all images.
        std_ratio: see `peers_record.PeerRow`.
        file_bytes: see `peers_record.PeerRow`.
    """

    summary: Summary
    std_ratio: dict[str, float]
    file_bytes: int

    def scores(self, labels: Tensor) -> tuple[dict[str, float | None], float | None]:
        """Metrics by name, and the noise floor of the ECE (%)."""
        found = score(self.summary, labels, [*METRICS, "ece_floor"])
        floor = found.pop("ece_floor")
        return found, floor


@dataclass(frozen=True, eq=False)
class Exam:
    """The same for everyone.

    Attributes:
        split: images and labels.
        mc: passes of a Bayesian contender, T.
        batch: images at a time.
        seed: of our draws.
        folder: where peers leave their logits.
        advance: told how many more images one contender has scored.
    """

    split: Split
    mc: int
    batch: int
    seed: int
    folder: Path
    advance: Callable[[int], None]


def judge_ours(exam: Exam, artefact: Artefact, model: FloatModel, predictor: Predictor) -> Judged:
    """One of our formats.

    Args:
        exam: what is asked.
        artefact: the format.
        model: the folded FP32 network it was made from.
        predictor: loaded from the artefact.
    """
    bayesian = artefact.format.bayesian
    passes = exam.mc if bayesian else 1
    found = evaluate(
        predictor, exam.split, (passes,), exam.seed, not bayesian, exam.advance, batch=exam.batch
    )
    return Judged(
        found[passes],
        _our_std_ratio(artefact, model, predictor, exam.seed),
        size(artefact).file_bytes,
    )


def _our_std_ratio(
    artefact: Artefact, model: FloatModel, predictor: Predictor, seed: int
) -> dict[str, float]:
    """From the weights that its kernels read, against the folded σ."""
    found = {}
    for conv in artefact.graph.convs:
        std = rms(model.layers[conv.name].std.numpy())
        if not artefact.sampled(conv) or not std:
            continue
        scale = np.asarray(artefact.layers[conv.name].weight_scale, np.float64)
        if scale.ndim:
            scale = scale.reshape(-1, 1, 1, 1)
        spread = Spread()
        for mc in range(DRAWS):
            spread.add(torch.from_numpy(predictor.sample(conv.name, seed, mc) * scale))
        found[conv.name] = spread.rms() / std
    return found


def judge_theirs(exam: Exam, remote: Remote, std: Mapping[str, Tensor]) -> Judged:
    """A peer's format.

    Args:
        exam: what is asked.
        remote: loaded.
        std: the posterior's σ by parameter name.

    Raises:
        PeerError: it failed.
    """
    parts = []
    for start in range(0, len(exam.split), exam.batch):
        images = min(exam.batch, len(exam.split) - start)
        parts.append(_their_summary(exam, remote, start // exam.batch, images))
        exam.advance(images)
    ratios = _their_std_ratio(remote.drawn_std(DRAWS), std) if remote.bayesian else {}
    return Judged(Summary.cat(parts), ratios, remote.saved_bytes())


def _their_summary(exam: Exam, remote: Remote, batch: int, images: int) -> Summary:
    """One batch, of which the first so many images count, a few passes at a time."""
    mc = exam.mc if remote.bayesian else 1
    total = Predictive((mc,), deterministic=not remote.bayesian)
    for first in range(0, mc, PASSES):
        logits = remote.logits(batch, min(PASSES, mc - first), exam.folder)
        total.update(torch.from_numpy(logits[:, :images]))
    return total.summaries()[mc]


def _their_std_ratio(drawn: Mapping[str, float], std: Mapping[str, Tensor]) -> dict[str, float]:
    """Of the weights, by layer, in the order of the network."""
    weights = {name: rms(value.numpy()) for name, value in std.items() if value.ndim > 1}
    missing = [name for name, value in weights.items() if value and name not in drawn]
    if missing:
        raise PeerError(f"Its draws of {missing[0]} were not seen.")
    return {
        name.rpartition(".")[0] or name: drawn[name] / value
        for name, value in weights.items()
        if value
    }


def rms(values: NDArray[np.floating]) -> float:
    """√ of the mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
