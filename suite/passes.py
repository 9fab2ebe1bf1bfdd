"""Seconds of one MC pass, weights drawn inside."""

from __future__ import annotations

from .common import FORMATS, predictor, prepared


class Pass:
    """Float32 images in, float32 logits out, one thread."""

    version = "1"
    params = (FORMATS, [1, 32])
    param_names = ("format", "batch")
    timeout = 120

    def setup(self, format: str, batch: int) -> None:
        self.predictor = predictor(format)
        self.images = prepared().splits.test.batch(slice(0, batch))
        self.passes = range(10)

    def time_ten_passes(self, format: str, batch: int) -> None:
        self.predictor.logits(self.images, 0, self.passes)
