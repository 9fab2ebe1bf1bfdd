"""Scores of the workload that ships with its data, and how much of σ its draws keep.

Everything is seeded: the numbers do not move unless the code does.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .common import INT8_FORMATS, by_profile, check, load, needed, torch_threads, tried

FORMATS = [*INT8_FORMATS, "FP32", *by_profile([], ["BF16"], ["BF16", "DNN_INT8"])]
METRICS = ["error", "nll", "ece", "uce", "brier"]
PASSES = by_profile(20, 50, 100)
DRAWS = by_profile(64, 128, 256)


def setup_cache() -> dict[str, Any]:
    """Why there are none, or by format the scores and 1 − σ kept."""
    found, why = tried(_measured)
    return {**why, "formats": found or {}}


setup_cache.timeout = 900


def _measured() -> dict[str, dict[str, float]]:
    torch_threads()
    workload = needed("resolve_workload")("lenet-digits")
    posterior, _ = needed("load_posterior")(workload.posterior)
    splits = workload.splits(None)
    model = needed("fold")(workload.model(), posterior, tuple(workload.input_shape))
    calibration = needed("calibrate")(model, splits.train.batch(slice(0, len(splits.train))))
    found = {}
    for format in FORMATS:
        made = needed("quantize")(model, format, calibration)
        scored, why = tried(partial(_scored, model, made, format, splits))
        found[format] = {**why, **(scored or {})}
    return found


def _scored(model: Any, made: Any, format: str, splits: Any) -> dict[str, float]:
    predictor = load(made, format)
    summary = needed("evaluate")(predictor, splits.test, [PASSES])[PASSES]
    found = needed("score")(summary, splits.test.labels, METRICS)
    if format in INT8_FORMATS:
        found["sigma lost"] = abs(1 - _kept(model, made, predictor))
    return found


def _kept(model: Any, made: Any, predictor: Any) -> float:
    """Root mean square of the draws' standard deviations over that of σ, over all weights."""
    import numpy as np

    drawn = original = 0.0
    for name, layer in model.layers.items():
        std = layer.std.numpy().astype(np.float64)
        scale = made.layers[name].weight_scale.reshape(-1, 1, 1, 1).astype(np.float64)
        weights = np.stack([predictor.sample(name, 0, mc) for mc in range(DRAWS)])
        drawn += float((weights.astype(np.float64).var(axis=0, ddof=1) * scale**2).sum())
        original += float((std**2).sum())
    return (drawn / original) ** 0.5


class Scores:
    """On the test split of lenet-digits; lower is better in all of them."""

    version = "1"
    params = (FORMATS,)
    param_names = ("format",)

    def setup(self, cache: Any, format: str) -> None:
        self.scores = _of(cache, format)

    def track_error(self, cache: Any, format: str) -> float:
        return self.scores["error"]

    def track_nll(self, cache: Any, format: str) -> float:
        return self.scores["nll"]

    def track_ece(self, cache: Any, format: str) -> float:
        return self.scores["ece"]

    def track_uce(self, cache: Any, format: str) -> float:
        return self.scores["uce"]

    def track_brier(self, cache: Any, format: str) -> float:
        return self.scores["brier"]

    track_error.unit = "%"
    track_nll.unit = "nats"
    track_ece.unit = "%"
    track_uce.unit = "%"
    track_brier.unit = ""


class Sigma:
    """How far the standard deviation of drawn weights is from σ, as a share of it."""

    version = "1"
    params = (INT8_FORMATS,)
    param_names = ("format",)

    def setup(self, cache: Any, format: str) -> None:
        self.lost = _of(cache, format)["sigma lost"]

    def track_sigma_lost(self, cache: Any, format: str) -> float:
        return self.lost

    track_sigma_lost.unit = ""


def _of(cache: dict[str, Any], format: str) -> dict[str, float]:
    """Of a format, if this commit can score it."""
    check(cache)
    check(cache["formats"][format])
    return cache["formats"][format]
