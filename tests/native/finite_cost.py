"""What looking for NaN and infinity costs in the loop that converts the images.

    python tests/native/finite_cost.py BEFORE.so [PAIRS]

`BEFORE.so` is the compiled extension of the commit before. Two processes that pass ResNet-50 differ
by more than what is looked for, so the loop is timed where it is nearly everything: a network that
only averages its 224 x 224 images and has one linear layer of three inputs. Fresh processes of both
builds take turns, on one core; the difference of their medians, with a 95 % interval over the pairs
(bootstrap), is printed as a share of a pass of ResNet-50 in INT8 with random weights.
"""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import time

import numpy as np
import torch
from torch import nn

from sigmabench.harness.native import RUNTIME, installed_file

SECONDS = 1.0  # of passes in a process
BATCHES = (1, 32)


def worker(path: str, network: str, batch: int) -> None:
    """Print the median seconds per pass of one build."""
    ctypes.CDLL(str(installed_file(RUNTIME, "libdnnl.so.3")))
    name = "sigmabench.harness.native._native"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    from sigmabench.harness.backends.shipped import NATIVE as BACKEND

    torch.manual_seed(0)
    predictor, x = BACKEND.load(_artefact(network), 1), torch.randn(batch, 3, 224, 224)
    for _ in range(3):
        predictor.logits(x, 0, range(1))
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    while len(times) < 5 or time.perf_counter() < until:
        start = time.perf_counter()
        predictor.logits(x, 0, range(1))
        times.append(time.perf_counter() - start)
    print(np.median(times))


def _artefact(network: str):  # type: ignore[no-untyped-def]
    import torchvision

    from sigmabench.harness.posterior import moped
    from sigmabench.harness.quantize.calibrate import observe_ranges
    from sigmabench.harness.quantize.fold import fold
    from sigmabench.harness.quantize.ptq import quantize

    if network == "resnet50":
        module = torchvision.models.resnet50()
    else:
        module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    model = fold(module.eval(), moped(module, 0.1), (3, 224, 224))
    return quantize(model, "INT8", observe_ranges(model, torch.randn(1, 3, 224, 224), "minmax"))


def seconds(path: str, network: str, batch: int) -> float:
    """Of a pass, in a process of its own."""
    command = [sys.executable, __file__, "--worker", path, network, str(batch)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main(before: str, pairs: int) -> None:
    from sigmabench.harness import native

    now, rng = str(native.load().__file__), np.random.default_rng(0)
    for batch in BATCHES:
        whole = np.median([seconds(now, "resnet50", batch) for _ in range(3)])
        added = np.empty(pairs)
        for number in range(pairs):
            order = (before, now) if number % 2 else (now, before)
            took = {path: seconds(path, "average", batch) for path in order}
            added[number] = took[now] - took[before]
        shares = np.median(rng.choice(added, (2000, pairs)), axis=1) / whole
        low, high = np.quantile(shares, (0.025, 0.975))
        print(
            f"batch {batch}: {np.median(added) * 1e6:+.1f} us of {whole * 1e3:.2f} ms, "
            f"{np.median(added) / whole:+.3%} ({low:+.3%} to {high:+.3%})"
        )


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20)
