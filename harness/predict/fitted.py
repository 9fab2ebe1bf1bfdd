"""A temperature as records hold it."""

from __future__ import annotations

from dataclasses import dataclass


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
