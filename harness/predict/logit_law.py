"""What a method predicts of N images, at any number of passes and any temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from .loop import summarise
from .newton import Derivatives
from .predicted import Summary
from .temperature import FORMS, Temperature, derivatives, fit_temperature, tempered

if TYPE_CHECKING:
    from ..data.given import Given


class LogitLaw(Protocol):
    """Of N images.

    Attributes:
        forms: where a temperature can be applied.
    """

    @property
    def forms(self) -> Sequence[str]: ...

    def take(self, index: Tensor) -> LogitLaw:
        """Of some of the images."""
        ...

    def fit(self, labels: Tensor, mc: int, forms: Sequence[str] | None = None) -> Temperature:
        """The temperature of the lowest NLL.

        Args:
            labels: [N] integer class indices.
            mc: passes T.
            forms: that are compared; all by default.
        """
        ...

    def summary(self, mc: int, temperature: Temperature | None = None) -> Summary:
        """The predictive distribution of T = `mc` passes, as it is or at a temperature."""
        ...

    def derivatives(self, labels: Tensor, temperature: Temperature) -> Derivatives:
        """How each image's NLL changes with the temperature, of all passes."""
        ...


@runtime_checkable
class Summarizer(Protocol):
    """What predicts without Monte Carlo passes, beside `Predictor`. Calls with the same images
    return the same values."""

    def law(self, x: Given) -> LogitLaw:
        """Of one batch.

        Args:
            x: images, float32 [N, C, H, W], normalised; a tensor or a NumPy array.
        """
        ...

    def summary(self, x: Given) -> Summary:
        """The predictive distribution of one batch; `x` as in `law`."""
        ...


@dataclass(frozen=True, eq=False)
class LogitsOfPasses:
    """See `LogitLaw`.

    Attributes:
        logits: [T, N, C] float32, of all passes.
        fixed: nothing is drawn, so mutual information is not defined.
    """

    logits: Tensor
    fixed: bool = False

    @staticmethod
    def cat(parts: Sequence[LogitsOfPasses]) -> LogitsOfPasses:
        """Of the images of all parts."""
        return LogitsOfPasses(torch.cat([one.logits for one in parts], 1), parts[0].fixed)

    def take(self, index: Tensor) -> LogitsOfPasses:
        """See `LogitLaw`."""
        return LogitsOfPasses(self.logits[:, index], self.fixed)

    @property
    def forms(self) -> Sequence[str]:
        """See `LogitLaw`."""
        return FORMS

    def fit(self, labels: Tensor, mc: int, forms: Sequence[str] | None = None) -> Temperature:
        """See `LogitLaw`."""
        return fit_temperature(self.logits[:mc], labels, FORMS if forms is None else forms)

    def summary(self, mc: int, temperature: Temperature | None = None) -> Summary:
        """See `LogitLaw`."""
        logits = self.logits[:mc]
        if temperature is None:
            return summarise(logits, self.fixed)
        return tempered(logits, temperature, self.fixed)

    def derivatives(self, labels: Tensor, temperature: Temperature) -> Derivatives:
        """See `LogitLaw`."""
        return derivatives(self.logits, labels, temperature)
