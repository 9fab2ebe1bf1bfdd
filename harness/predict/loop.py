"""Prediction by Monte Carlo passes: one batch, or a whole split at several T at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..machine.torch_state import plain
from .predicted import Outcomes, Predictive, Summary

if TYPE_CHECKING:
    from torch import Tensor

    from ..backends.base import Passes
    from ..data.given import Given
    from ..data.splits import Split
    from ..quantize.graph import Graph

BATCH = 250
BATCH_BYTES = 1 << 26  # of the largest activation of a batch
DIVIDED_BYTES = 1 << 28  # of the largest of every segment together, and of what stays float
PASSES = 10  # computed at once, so that memory does not grow with T


def images_at_a_time(graph: Graph) -> int:
    """Images whose largest activation takes `BATCH_BYTES` as float32, at least 1: as many as memory
    allows, where what is drawn for a call costs more than the call's other overhead. The segments
    of a divided network have memory of their own each."""
    if not graph.steps:
        return max(1, BATCH_BYTES // (4 * _largest(graph)))
    largest = sum(_largest(part) for part in graph.parts().values())
    largest += max((math.prod(one.shape) for one in graph.operations), default=0)
    return max(1, DIVIDED_BYTES // (4 * largest))


def _largest(graph: Graph) -> int:
    """Numbers of the largest activation."""
    return max(math.prod(activation.shape) for activation in graph.activations.values())


def batch_of(graph: Graph) -> int:
    """Images that a split is scored by: `BATCH`, fewer where they are large."""
    return min(BATCH, images_at_a_time(graph))


@plain
def predict(
    predictor: Passes,
    x: Given,
    mc: int,
    seed: int = 0,
    deterministic: bool = False,
    predictions: bool = False,
) -> Summary:
    """The predictive distribution of one batch.

    Args:
        predictor: a loaded model.
        x: images, float32 [N, C, H, W], normalised; a tensor or a NumPy array.
        mc: number of Monte Carlo passes T.
        seed: of the noise; pass t draws with MC index t.
        deterministic: the model samples nothing, so mutual information is not defined.
        predictions: keep the class that every pass alone chooses.

    Returns:
        p̄ = (1/T) Σ_t softmax(f(x; w_t)), its entropy and what else `Summary` holds.
    """
    return _passes(predictor, x, (mc,), seed, deterministic, predictions)[mc]


@plain
def evaluate(
    predictor: Passes,
    split: Split,
    mc: Sequence[int],
    seed: int = 0,
    deterministic: bool = False,
    advance: Callable[[int], None] | None = None,
    batch: int = BATCH,
) -> dict[int, Summary]:
    """The predictive distribution of a split at every T in `mc`, from one run by prefixes.

    All classes of all images are kept, in float64; `outcomes` keeps what scores need.

    Args:
        predictor: a loaded model.
        split: images; all of them are used.
        mc: numbers of passes; pass t is the same in all of them.
        seed: of the noise.
        deterministic: the model samples nothing.
        advance: called with the number of images after each batch.
        batch: images at a time.
    """
    parts: dict[int, list[Summary]] = {T: [] for T in mc}
    for index in batches(split, batch):
        x = split.batch(index)
        for T, summary in _passes(predictor, x, mc, seed, deterministic).items():
            parts[T].append(summary)
        if advance:
            advance(len(x))
    return {T: Summary.cat(summaries) for T, summaries in parts.items()}


@plain
def outcomes(
    predictor: Passes,
    split: Split,
    mc: Sequence[int],
    seed: int = 0,
    deterministic: bool = False,
    *,
    labelled: bool = True,
    whole: bool = False,
    opening: int = 0,
    groups: bool = False,
    batch: int = BATCH,
    advance: Callable[[int], None] | None = None,
) -> dict[int, Outcomes]:
    """What the summaries of `evaluate` say of each image; memory does not grow with the number of
    images times that of classes.

    Args:
        predictor: a loaded model.
        split: images; all of them are used.
        mc: numbers of passes; pass t is the same in all of them.
        seed: of the noise.
        deterministic: the model samples nothing.
        labelled: whether the split's labels mean something.
        whole: keep the summaries too, all classes of all images.
        opening: images, the first, whose p̄ is kept.
        groups: keep what halves of the passes say too (`halves.Halves`).
        batch: images at a time.
        advance: called with the number of images after each batch.
    """
    parts: dict[int, list[Outcomes]] = {T: [] for T in mc}
    for index in batches(split, batch):
        labels = split.labels[index] if labelled else None
        x = split.batch(index)
        found = _passes(predictor, x, mc, seed, deterministic, groups=groups)
        for T, each in parts.items():
            each.append(found.pop(T).outcomes(labels, whole, max(0, opening - index.start)))
        if advance:
            advance(len(x))
    return {T: Outcomes.cat(each) for T, each in parts.items()}


def batches(split: Split, batch: int) -> Iterator[slice]:
    """The images of a split, so many at a time, in order."""
    return (slice(start, start + batch) for start in range(0, len(split), batch))


def summarise(logits: Tensor, deterministic: bool = False, groups: bool = False) -> Summary:
    """The predictive distribution of passes that are there already, [T, N, C]."""
    total = Predictive((len(logits),), deterministic=deterministic, groups=groups)
    total.update(logits)
    return total.summaries()[len(logits)]


def mean_log_probs(logits: Tensor) -> Tensor:
    """Logarithm of the mean probabilities, float64 [N, C], of passes [T, N, C] all at once: what a
    server answers. `summarise` adds pass by pass, and says more."""
    log_p = logits.double().log_softmax(-1)
    return log_p.logsumexp(0) - math.log(len(logits))


def _passes(
    predictor: Passes,
    x: Given,
    mc: Sequence[int],
    seed: int,
    deterministic: bool,
    predictions: bool = False,
    groups: bool = False,
) -> dict[int, Summary]:
    total = Predictive(mc, deterministic=deterministic, predictions=predictions, groups=groups)
    for first in range(0, max(mc), PASSES):
        total.update(predictor.logits(x, seed, range(first, min(first + PASSES, max(mc)))))
    return total.summaries()
