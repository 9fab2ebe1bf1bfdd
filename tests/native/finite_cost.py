"""What looking for NaN and infinity costs in the loop that converts the images.

    python tests/native/finite_cost.py BEFORE.so [ROUNDS]

`BEFORE.so` is the compiled extension of the commit before. Both builds, each in a process of its
own, take turns at passes of ResNet-50 on 224 x 224 images in INT8 with random weights, on one core;
the change of the median time is printed with a 95 % interval over the rounds (bootstrap).
"""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch

from sigmabench.harness.native import RUNTIME, installed_file

SECONDS = 0.5  # of a turn
BATCHES = (1, 32)


def worker(path: str, batch: int) -> None:
    """Times a pass of one build whenever it is asked to."""
    ctypes.CDLL(str(installed_file(RUNTIME, "libdnnl.so.3")))
    name = "sigmabench.harness.native._native"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    from sigmabench.harness.backends.shipped import NATIVE as BACKEND

    predictor, x = BACKEND.load(_resnet(), 1), torch.randn(batch, 3, 224, 224)
    predictor.logits(x, 0, range(1))
    for _ in sys.stdin:
        times = []
        until = time.perf_counter() + SECONDS
        while not times or time.perf_counter() < until:
            start = time.perf_counter()
            predictor.logits(x, 0, range(1))
            times.append(time.perf_counter() - start)
        print(np.median(times), flush=True)


def _resnet():  # type: ignore[no-untyped-def]
    import torchvision

    from sigmabench.harness.posterior import moped
    from sigmabench.harness.quantize.calibrate import observe_ranges
    from sigmabench.harness.quantize.fold import fold
    from sigmabench.harness.quantize.ptq import quantize

    torch.manual_seed(0)
    module = torchvision.models.resnet50().eval()
    model = fold(module, moped(module, 0.1), (3, 224, 224))
    return quantize(model, "INT8", observe_ranges(model, torch.randn(1, 3, 224, 224), "minmax"))


def ratios(before: str, now: str, batch: int, rounds: int) -> Iterator[float]:
    """Time now by time before, of each round; who begins changes from round to round."""
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", path, str(batch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for path in (before, now)
    ]  # fmt: skip
    try:
        for number in range(rounds):
            seconds = {}
            for one in (0, 1) if number % 2 else (1, 0):
                seconds[one] = _turn(started[one])
            yield seconds[1] / seconds[0]
    finally:
        for process in started:
            process.communicate()


def _turn(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main(before: str, rounds: int) -> None:
    from sigmabench.harness import native

    rng = np.random.default_rng(0)
    for batch in BATCHES:
        found = np.array(list(ratios(before, native.load().__file__, batch, rounds)))
        means = np.median(rng.choice(found, (2000, rounds)), axis=1)
        low, high = np.quantile(means, (0.025, 0.975)) - 1
        print(f"batch {batch}: {np.median(found) - 1:+.2%} ({low:+.2%} to {high:+.2%})")


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40)
