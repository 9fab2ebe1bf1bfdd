"""Our times over those of a reference loop timed in turn with us: see `race`."""

from __future__ import annotations

from typing import Any

from .common import BATCHES, FORMATS, LEFT_OUT, NETWORKS, SAMPLED, check
from .race import setup_cache  # noqa: F401  asv takes the module's


def _ratio(cache: dict[str, dict[str, Any]], name: str) -> float:
    """Of what raced."""
    found = cache.get(name, LEFT_OUT)
    check(found)
    return found["ratio"]


class Pass:
    """A query of Monte Carlo passes."""

    version = "1"
    params = (NETWORKS, FORMATS, BATCHES)
    param_names = ("network", "format", "batch")

    def setup(self, cache: Any, network: str, format: str, batch: int) -> None:
        self.ratio = _ratio(cache, f"pass {network} {format} {batch}")

    def track_pass_ratio(self, cache: Any, network: str, format: str, batch: int) -> float:
        return self.ratio

    track_pass_ratio.unit = "×"


class Sampler:
    """Weights drawn, and nothing computed with them."""

    version = "1"
    params = ([*SAMPLED],)
    param_names = ("bits",)

    def setup(self, cache: Any, bits: int) -> None:
        self.ratio = _ratio(cache, f"sampler {bits}")

    def track_sampler_ratio(self, cache: Any, bits: int) -> float:
        return self.ratio

    track_sampler_ratio.unit = "×"


class Part:
    """Quantization, loading and scoring of LeNet-5 in INT8, and the start of the command line."""

    version = "1"
    params = (["quantize", "load", "score", "start"],)
    param_names = ("part",)

    def setup(self, cache: Any, part: str) -> None:
        self.ratio = _ratio(cache, part)

    def track_part_ratio(self, cache: Any, part: str) -> float:
        return self.ratio

    track_part_ratio.unit = "×"
