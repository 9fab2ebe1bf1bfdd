"""Time that passes when a test says so."""

from __future__ import annotations

from typing import Any


class Clock:
    """Seconds, where `time.monotonic` or `time.perf_counter` would be asked."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A predictor that takes so many seconds for a pass on an image, and for a sampled weight."""

    def __init__(self, inner: Any, clock: Clock, seconds: float) -> None:
        self._inner, self._clock, self._seconds = inner, clock, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def logits(self, x: Any, seed: int, passes: range) -> Any:
        self._clock.now += self._seconds * len(x) * len(passes)
        return self._inner.logits(x, seed, passes)

    def sample(self, layer: str, seed: int, mc: int) -> Any:
        weights = self._inner.sample(layer, seed, mc)
        self._clock.now += self._seconds * weights.size
        return weights
