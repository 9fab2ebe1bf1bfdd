"""The process whose memory is measured: it loads an artefact, runs a query, and tells its size.

`python -m sigmabench.harness.studies.memory.memory_process`, one JSON object in, one out. It
imports no more than inference needs.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from ...backends.base import BACKENDS
from ...backends.native import NativePredictor
from ...core.formats import FORMATS
from ...machine.peak_memory import PeakMemory
from ...quantize.artefact import Artefact, Header, Layer, from_bytes, load, to_bytes
from ...quantize.graph import Activation, Conv, Graph
from ...workload.plan import FLOAT_BACKEND, INT8_BACKEND


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Load, run, and look.

    Args:
        job: `artefact` (a file), its `format` and `input_shape`, `batch`, `mc`, `queries`,
            `threads`, `seed`.

    Returns:
        `base_bytes`, `now_bytes` and `peak_bytes`, resident sets of this process: after imports and
        a tiny network with the caller's images there, after a query with its logits let go, and at
        most between the two; `peak_method`, see `PeakMemory`; `team`, threads that share a pass;
        `program`, what the compiled program tells. `error` alone, one sentence, where no compiled
        program computes the format here.
    """
    tiny = to_bytes(_tiny(job["format"]))
    warm = _predictor(from_bytes(tiny, "tiny"), job["threads"])
    if warm is None:
        return {"error": f"PyTorch computes {job['format']} here, which keeps no account."}
    warm.logits(torch.zeros(1, 1, 4, 4), 0, range(job["threads"]))
    generator = torch.Generator().manual_seed(job["seed"])
    images = torch.randn(job["batch"], *job["input_shape"], generator=generator)
    del warm, tiny
    base = _resident()
    with PeakMemory() as peak:
        predictor = _predictor(load(Path(job["artefact"])), job["threads"])
        assert predictor is not None
        _trim()
        for query in range(job["queries"]):
            predictor.logits(images, job["seed"] + query, range(job["mc"]))
    return {
        "base_bytes": base,
        "now_bytes": _resident(),
        "peak_bytes": peak.peak_bytes,
        "peak_method": peak.method,
        "team": predictor.program.team(images.numpy(), job["mc"]),
        "program": predictor.program.memory(),
    }


def _predictor(artefact: Artefact, threads: int) -> NativePredictor | None:
    """The predictor of an artefact, which nothing else holds on to; None if it has no program."""
    backend = BACKENDS.get(INT8_BACKEND if artefact.format.quantized else FLOAT_BACKEND)
    predictor = backend.load(artefact, threads)
    return predictor if isinstance(predictor, NativePredictor) else None


def _tiny(format: str) -> Artefact:
    """One convolution of one channel: what libraries set up at first use is there after it."""
    quantized, bayesian = FORMATS.get(format).quantized, FORMATS.get(format).bayesian
    conv = Conv("y", "x", (1, 1, 4, 4), "w", bayesian=bayesian, bias_bayesian=False)
    activations = {
        "x": Activation((1, 4, 4), 0.1 if quantized else 0.0),
        "y": Activation((1, 1, 1)),
    }
    graph = Graph("x", "y", (conv,), activations)
    one = np.ones(1, np.float32)
    layer = Layer(
        np.ones(conv.shape, np.int8) if quantized else np.ones(conv.shape, np.float32),
        np.ones(conv.shape, np.float32) if bayesian and not quantized else None,
        np.ones(conv.shape, np.uint8) if bayesian and quantized else None,
        FORMATS.get(format).sigma_bits,
        *(one, one, 0 * one, 0 * one, 0 * one),
    )
    return Artefact(Header(format, "tiny", "", "", graph), {"y": layer})


def _resident() -> int:
    """Bytes of this process in memory, once what is free has been given back."""
    _trim()
    return int(psutil.Process().memory_info().rss)


def _trim() -> None:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
