"""Random predictions to score: logits, their summary and labels, from a seed."""

from __future__ import annotations

import torch
from torch import Tensor

from sigmabench.harness.predict.predicted import Predictive, Summary


def make_logits(seed: int, T: int, N: int, C: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(1, N, C, generator=generator)
    return scale * (shared + 0.5 * torch.randn(T, N, C, generator=generator))


def summarise(logits: Tensor, *, deterministic: bool = False) -> Summary:
    predictive = Predictive([len(logits)], deterministic=deterministic)
    predictive.update(logits)
    return predictive.summaries()[len(logits)]


def make_case(
    seed: int, T: int = 5, N: int = 400, C: int = 7, scale: float = 2.0
) -> tuple[Summary, Tensor]:
    """A summary, and labels drawn from a distribution flatter than its own."""
    summary = summarise(make_logits(seed, T, N, C, scale))
    flat = 0.7 * summary.probs + 0.3 / C
    generator = torch.Generator().manual_seed(seed + 1)
    return summary, torch.multinomial(flat, 1, generator=generator).flatten()


def from_confidence(confidence: list[float], classes: int = 4) -> Summary:
    """A one-pass summary that predicts class 0 with these confidences, the rest spread evenly."""
    top = torch.tensor(confidence, dtype=torch.float64)
    probs = torch.stack([top, *([(1 - top) / (classes - 1)] * (classes - 1))], dim=1)
    entropy = torch.special.entr(probs).sum(1)
    return Summary(1, probs, probs.log(), entropy, entropy, None)
