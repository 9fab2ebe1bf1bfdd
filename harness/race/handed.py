"""What instances are handed: a format of a workload, and images for each batch size, in files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..backends.base import BACKENDS
from ..quantize.artefact import save
from .turns import INPUTS

if TYPE_CHECKING:
    from ..workload.prepare import Prepared

_PROBES = 2  # the first makes plans and buffers


class Handed:
    """A folder that instances load from, as long as it is open.

    Args:
        prepared: what the format is made of; images are those of its validation split, repeated
            where they are few.
        format: its name.
        backend: what computes it.
        batches: images per query.
        seed: of the noise.
    """

    def __init__(
        self, prepared: Prepared, format: str, backend: str, batches: Collection[int], seed: int
    ) -> None:
        self._artefact = prepared.artefact(format)
        self._backend, self._seed = backend, seed
        self._folder = tempfile.TemporaryDirectory()
        save(self._artefact, self._path("artefact.safetensors"))
        split = prepared.splits.validation.limit(INPUTS * max(batches)).readable()
        for batch in batches:
            index = torch.arange(INPUTS * batch) % len(split)
            images = split.batch(index)
            np.save(self._path(f"{batch}.npy"), images.unflatten(0, (INPUTS, batch)).numpy())

    def __enter__(self) -> Handed:
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def job(self, batch: int, mc: int) -> dict[str, Any]:
        """What instances are given for queries of T passes; see `instances.Instances`."""
        return {
            "artefact": str(self._path("artefact.safetensors")),
            "images": str(self._path(f"{batch}.npy")),
            "backend": self._backend,
            "mc": mc,
            "seed": self._seed,
        }

    def pass_seconds(self, batch: int) -> float:
        """About how long one pass takes one thread."""
        images = torch.from_numpy(np.load(self._path(f"{batch}.npy"), allow_pickle=False)[0])
        predictor = BACKENDS.get(self._backend).load(self._artefact, threads=1)
        taken = 0.0
        for _ in range(_PROBES):
            start = time.perf_counter()
            predictor.logits(images, self._seed, range(1))
            taken = time.perf_counter() - start
        return taken

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name
