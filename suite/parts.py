"""Seconds of what a run is made of beside passes: draws, quantization, loading, scoring."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .common import REPEAT, ROUNDS, SAMPLED, SAMPLER, draws, images, needed, shape_of, synthetic
from .prepared import loaded, setup_cache, there  # noqa: F401  asv takes the module's
from .quiet import wait

DRAWS = 80  # passes of a timed call
IMAGES, PASSES = 512, 10  # that are scored
SCORES = ["error", "nll", "ece", "uce", "brier"]


@lru_cache(maxsize=1)
def predictions() -> tuple[Any, Any]:
    """Predictive distribution of random images, and random labels."""
    import torch

    model = loaded("lenet5", "INT8")
    summary = needed("predict")(model, images(shape_of("lenet5"), IMAGES), PASSES)
    generator = torch.Generator().manual_seed(0)
    return summary, torch.randint(10, (IMAGES,), generator=generator)


class Sampler:
    """Weights drawn, and nothing computed with them, by the bits of σ: 149,504 of them a pass."""

    version = "1"
    params = ([*SAMPLED],)
    param_names = ("bits",)
    repeat, rounds = REPEAT, ROUNDS

    def setup(self, cache: Any, bits: int) -> None:
        there(cache, SAMPLER, SAMPLED[bits])
        self.draw = _drawing(bits)
        wait()
        self.draw(DRAWS)  # caches

    def time_draws(self, cache: Any, bits: int) -> None:
        self.draw(DRAWS)


@lru_cache(maxsize=1)
def _drawing(bits: int) -> Any:
    return draws(loaded(SAMPLER, SAMPLED[bits]))


class Parts:
    """LeNet-5 in INT8: from a folded posterior to an artefact, from its file to a predictor, and
    from predictions to scores."""

    version = "1"
    repeat, rounds = REPEAT, ROUNDS

    def setup(self, cache: Any) -> None:
        there(cache, "lenet5", "INT8")
        synthetic("lenet5")
        predictions()
        wait()

    def time_quantize(self, cache: Any) -> None:
        model, calibration = synthetic("lenet5")
        needed("quantize")(model, "INT8", calibration)

    def time_load(self, cache: Any) -> None:
        loaded("lenet5", "INT8")

    def time_score(self, cache: Any) -> None:
        summary, labels = predictions()
        needed("score")(summary, labels, SCORES)
