"""A temperature as records hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..predict.temperature import Temperature


@dataclass(frozen=True)
class Fitted:
    """One temperature.

    Attributes:
        tau: what logits, or averages, are divided by.
        form: `passes`: each before they are averaged; `average`: their average afterwards.
        nll: mean negative log-likelihood of the images it was fitted on, nats.
        nll_without: the same without it.
    """

    tau: float
    form: str
    nll: float
    nll_without: float


def stored(fitted: Sequence[Sequence[Temperature]], half: int = 0) -> tuple[Fitted, ...]:
    """As records hold them: of several T the only ones, or those of one half; empty where there is
    no such half."""
    each = (one[half] for one in fitted if len(one) > half)
    return tuple(Fitted(one.tau, one.form, one.nll, one.nll_without) for one in each)
