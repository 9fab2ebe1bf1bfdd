"""What draws spread, in the memory of one of them."""

from __future__ import annotations

from torch import Tensor


class Spread:
    """Standard deviation (n − 1) of each number of a tensor over some draws of it."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, draw: Tensor) -> None:
        """One more draw, of the same shape as the others; it is not kept."""
        value = draw.double()
        if self._mean is None or self._squares is None:
            self._mean, self._squares = value.new_zeros(value.shape), value.new_zeros(value.shape)
        self._count += 1
        off = value - self._mean  # Welford 1962, in place: layers may have 10^8 weights
        self._mean.add_(off, alpha=1 / self._count)
        self._squares.addcmul_(off, off, value=1 - 1 / self._count)

    def rms(self) -> float:
        """Root mean square of the standard deviations, of two draws or more."""
        assert self._squares is not None, "nothing was drawn"
        return float((self._squares.mean() / (self._count - 1)).sqrt())
