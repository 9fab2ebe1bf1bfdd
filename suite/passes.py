"""Seconds of MC passes, weights drawn inside."""

from __future__ import annotations

from .common import FORMATS, predictor, prepared


class Pass:
    """Float32 images in, float32 logits of ten passes out, one thread."""

    version = "2"
    params = (FORMATS, [1, 32])
    param_names = ("format", "batch")
    timeout = 120

    def setup(self, format: str, batch: int) -> None:
        self.predictor = predictor(format)
        self.images = prepared().splits.test.batch(slice(0, batch))
        self.passes = range(10)
        # asv sets up anew for every sample: plans are made here, not in what it times.
        self.time_ten_passes(format, batch)

    def time_ten_passes(self, format: str, batch: int) -> None:
        self.predictor.logits(self.images, 0, self.passes)
