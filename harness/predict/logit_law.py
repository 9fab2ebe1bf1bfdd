"""What a method predicts of N images, at any number of passes and any temperature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..machine.memory_limit import require
from .loop import PASSES as AT_ONCE
from .loop import batches, summarise
from .newton import Derivatives
from .predicted import Summary
from .temperature import (
    FORMS,
    ImageTemperatures,
    Temperature,
    derivatives,
    fit_temperature,
    tempered,
)

if TYPE_CHECKING:
    from ..backends.base import Passes
    from ..data.given import Given
    from ..data.splits import Split


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

    def summary(
        self,
        mc: int,
        temperature: Temperature | ImageTemperatures | None = None,
        groups: bool = False,
    ) -> Summary:
        """The predictive distribution of T = `mc` passes, as it is or at a temperature; with the
        sums over `groups` of passes that are drawn, where they are asked for."""
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

    def summary(
        self,
        mc: int,
        temperature: Temperature | ImageTemperatures | None = None,
        groups: bool = False,
    ) -> Summary:
        """See `LogitLaw`."""
        logits = self.logits[:mc]
        if temperature is None:
            return summarise(logits, self.fixed, groups)
        return tempered(logits, temperature, self.fixed, groups)

    def derivatives(self, labels: Tensor, temperature: Temperature) -> Derivatives:
        """See `LogitLaw`."""
        return derivatives(self.logits, labels, temperature)


def law_of_batch(
    passes: Passes | Summarizer, x: Tensor, seed: int, mc: int, fixed: bool
) -> LogitLaw:
    """What a method predicts of one batch.

    Args:
        passes: of the method.
        x: images, float32 [N, C, H, W], normalised.
        seed: of the draws.
        mc: passes T.
        fixed: nothing is drawn, and there is one network.
    """
    if isinstance(passes, Summarizer):
        return passes.law(x)
    each = [
        passes.logits(x, seed, range(start, min(start + AT_ONCE, mc)))
        for start in range(0, mc, AT_ONCE)
    ]
    return LogitsOfPasses(torch.cat(each), fixed)


def law_of_split(
    passes: Passes | Summarizer,
    split: Split,
    seed: int,
    mc: int,
    fixed: bool,
    batch: int,
    advance: Callable[[int], None] = lambda _: None,
) -> LogitLaw:
    """What a method predicts of a split, the logits of all its passes.

    Args:
        passes: of the method.
        split: images.
        seed: as of `law_of_batch`, and so are `mc` and `fixed`.
        mc: see there.
        fixed: see there.
        batch: images at a time.
        advance: called with the number of images after each batch.

    Raises:
        UserError: the logits take more memory than there is.
    """
    require("Logits of all passes", 16 * mc * len(split) * split.classes)
    parts: list[Any] = []
    for index in batches(split, batch):
        x = split.batch(index)
        parts.append(law_of_batch(passes, x, seed, mc, fixed))
        advance(len(x))
    law: LogitLaw = parts[0].cat(parts)
    return law
