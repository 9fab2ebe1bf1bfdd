"""Seconds and memory of Monte Carlo passes, weights drawn inside, on one core."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .common import BATCHES, FORMATS, NETWORKS, REPEAT, ROUNDS, check, images, shape_of
from .prepared import loaded, setup_cache, there  # noqa: F401  asv takes the module's setup_cache
from .quiet import wait

#: Passes of a timed call.
PASSES = {"lenet5": 100, "resnet20": 10, "resnet50": 1}


@lru_cache(maxsize=1)  # asv sets up anew for every sample
def _predictor(network: str, format: str) -> Any:
    return loaded(network, format)


class Pass:
    """Float32 images in, float32 logits of several passes out."""

    version = "1"
    params = (NETWORKS, FORMATS, BATCHES)
    param_names = ("network", "format", "batch")
    repeat, rounds = REPEAT, ROUNDS
    timeout = 300

    def setup(self, cache: Any, network: str, format: str, batch: int) -> None:
        there(cache, network, format)
        self.predictor = _predictor(network, format)
        self.images = images(shape_of(network), batch)
        self.passes = range(PASSES[network])
        self.time_passes(cache, network, format, batch)  # plans and buffers are made here
        wait()
        self.time_passes(cache, network, format, batch)  # caches

    def time_passes(self, cache: Any, network: str, format: str, batch: int) -> None:
        self.predictor.logits(self.images, 0, self.passes)


class Memory:
    """Most memory that a process has had which loads a network and runs it."""

    version = "1"
    params = (NETWORKS, ["INT8", "FP32"])
    param_names = ("network", "format")
    timeout = 300

    def setup(self, cache: Any, network: str, format: str) -> None:
        there(cache, network, format)

    def peakmem_passes(self, cache: Any, network: str, format: str) -> None:
        loaded(network, format).logits(images(shape_of(network), 1), 0, range(PASSES[network]))


class Size:
    """Bytes of an artefact's file."""

    version = "1"
    params = (NETWORKS, FORMATS)
    param_names = ("network", "format")

    def setup(self, cache: Any, network: str, format: str) -> None:
        self.found = there(cache, network, format)

    def track_bytes_on_disk(self, cache: Any, network: str, format: str) -> int:
        return self.found["bytes"]

    track_bytes_on_disk.unit = "bytes"


class Traffic:
    """Bytes that a pass moves, counted from what runs."""

    version = "1"
    params = (NETWORKS, FORMATS, BATCHES)
    param_names = ("network", "format", "batch")

    def setup(self, cache: Any, network: str, format: str, batch: int) -> None:
        found = there(cache, network, format)
        check(found["pass"])
        self.moved = found["moved"][batch]

    def track_bytes_per_pass(self, cache: Any, network: str, format: str, batch: int) -> int:
        return self.moved

    track_bytes_per_pass.unit = "bytes"
