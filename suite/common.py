"""The embedded workload in one format, ready to run."""

from __future__ import annotations

from functools import lru_cache

FORMATS = ["FP32", "BF16", "INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1"]


@lru_cache(maxsize=1)
def prepared():
    """Posterior, data, folded model and ranges."""
    import torch

    from sigmabench.harness.workload.plan import Plan
    from sigmabench.harness.workload.prepare import prepare
    from sigmabench.harness.workload.workload import resolve_workload

    torch.set_num_threads(1)
    return prepare(Plan(resolve_workload("lenet-digits"), threads=1))


def predictor(format: str):
    """A loaded model; an int8 format runs on the native backend, else the benchmark is skipped."""
    from sigmabench.harness.backends.base import BACKENDS

    artefact = prepared().artefact(format)
    backend = BACKENDS.get("native" if artefact.format.quantized else "float")
    if backend.unavailable():
        raise NotImplementedError(backend.unavailable())  # asv's way to skip
    return backend.load(artefact, threads=1)
