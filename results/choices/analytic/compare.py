"""How near the analytic pass comes to many Monte Carlo passes; no test image takes part.

    python results/choices/analytic/compare.py measure WORKLOAD IMAGES
    python results/choices/analytic/compare.py report > results/choices/analytic/compare.md

`measure` predicts the first validation images three times in FP32: by T Monte Carlo passes, by one
pass of the posterior's mean network, and by the analytic pass. It stores what each batch gave in
WORKLOAD.json, so a run that was stopped goes on. `report` prints how far the mean probabilities of
the last two are from those of the first, as the root mean square over images and classes, and how
the analytic pass's mutual information correlates with that of the passes. The analytic pass is to
differ by at most a quarter of what the mean network differs by, and to correlate by at least 0.9.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sigmabench.harness import api as sb
from sigmabench.harness.core.waiting import about
from sigmabench.harness.core.whole import json_text, write_atomically
from sigmabench.harness.predict.analytic import AnalyticPredictor
from sigmabench.harness.predict.predicted import Predictive, Summary

HERE = Path(__file__).parent
T = 2000
BATCH = 50
AT_ONCE = 10
SEED = 1000  # none that a published run uses
MOST, LEAST = 0.25, 0.9  # of the mean network's difference; correlation
#: Of each image: squared distances of mean probabilities from those of the T passes, of the
#: analytic pass, of the mean network and of the first half of the passes; mutual information, nats.
COLUMNS = ("analytic", "mean", "half", "mutual_analytic", "mutual")
HEADS = (
    "workload", "images", "mean network", "analytic pass", "T/2 passes", "ratio",
    "correlation of MI", "mean MI", "time",
)  # fmt: skip
NOTE = """
The mean network's, the analytic pass's and T/2 passes' are root mean square differences from the T
passes. T/2 of them are half of the T, so their difference is the standard error of the T passes
themselves. Ratio: the analytic pass's over the mean network's. Mean MI: the analytic pass's over
the passes'. Time: so many passes take as long as the analytic pass, on one core."""


class Comparison:
    """A workload's three predictors."""

    def __init__(self, name: str, images: int) -> None:
        workload = sb.resolve_workload(name)
        posterior, _ = workload.load_posterior()
        model = sb.fold(workload.model(), posterior, input_shape=workload.input_shape)
        self.split = workload.splits(None).validation.limit(images)
        self.analytic = AnalyticPredictor(model)
        self.passes, self.mean = (
            sb.BACKENDS.get("float").load(sb.quantize(model, format, None), threads=1)
            for format in ("FP32", "DNN_FP32")
        )

    def seconds(self) -> tuple[float, float]:
        """Of one Monte Carlo pass and of the analytic pass, an image."""
        x = self.split.batch(slice(0, BATCH))
        some = range(AT_ONCE)
        one = _seconds(lambda: self.passes.logits(x, SEED, some)) / AT_ONCE
        return one / len(x), _seconds(lambda: self.analytic.summary(x)) / len(x)

    def batch(self, start: int) -> dict[str, list[float]]:
        """What comes of one batch, by column."""
        x = self.split.batch(slice(start, start + BATCH))
        total = Predictive((T // 2, T))
        for first in range(0, T, AT_ONCE):
            total.update(self.passes.logits(x, SEED, range(first, first + AT_ONCE)))
        half, whole = total.summaries().values()
        alone, analytic = sb.predict(self.mean, x, 1, deterministic=True), self.analytic.summary(x)

        def apart(one: Summary) -> torch.Tensor:
            return (one.probs - whole.probs).square().mean(1)

        found = (
            *map(apart, (analytic, alone, half)),
            analytic.mutual_information,
            whole.mutual_information,
        )
        return {name: each.tolist() for name, each in zip(COLUMNS, found, strict=True)}


def _seconds(call: Callable[[], object]) -> float:
    call()  # plans and buffers are made here
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(name: str, images: int) -> None:
    path, study = HERE / f"{name}.json", Comparison(name, images)
    one, analytic = study.seconds()
    raw: dict[str, Any] = {"workload": name, "T": T, "seed": SEED}
    raw |= {"passes_of_its_time": analytic / one, **{column: [] for column in COLUMNS}}
    if path.is_file():
        raw = json.loads(path.read_text())
    starts = range(len(raw["mean"]), len(study.split), BATCH)
    left = (one * T + analytic) * BATCH * len(starts)
    print(f"{name}: {about(left)}", file=sys.stderr, flush=True)
    for start in starts:
        for column, values in study.batch(start).items():
            raw[column] += values
        write_atomically(path, json_text(raw).encode())
        print(f"{name}: {len(raw['mean'])} of {len(study.split)}", file=sys.stderr, flush=True)


def row(raw: dict[str, Any]) -> tuple[str, bool]:
    """One line of the table, and whether what was asked for is reached."""
    analytic, mean, half = (math.sqrt(np.mean(raw[name])) for name in ("analytic", "mean", "half"))
    mutual, other = raw["mutual_analytic"], raw["mutual"]
    correlation = float(np.corrcoef(mutual, other)[0, 1])
    cells = [
        raw["workload"],
        f"{len(mutual)}",
        *(f"{one:.5f}" for one in (mean, analytic, half)),
        f"{analytic / mean:.3f}",
        f"{correlation:.3f}",
        f"{np.mean(mutual) / np.mean(other):.2f}",
        f"{raw['passes_of_its_time']:.0f}",
    ]
    return f"| {' | '.join(cells)} |", analytic <= MOST * mean and correlation >= LEAST


def report() -> None:
    found = [json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))]
    print(__doc__.strip())
    print(f"\nT = {T:,}, seed {SEED}.\n")
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    rows = [row(raw) for raw in found]
    print("\n".join(line for line, _ in rows))
    print(NOTE)
    for raw, (_, reached) in zip(found, rows, strict=True):
        print(f"\n{raw['workload']}: {'both are reached' if reached else 'not both are reached'}.")


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1] == "measure":
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        report()


if __name__ == "__main__":
    main()
