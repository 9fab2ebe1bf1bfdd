"""The study that `sigma_scale` of ResNet-20's recipe was chosen by; no test image takes part.

    python results/choices/sigma_scale/choose.py TRAINED > results/choices/sigma_scale/choose.md

TRAINED is the posterior as training left it: `sigmabench train resnet20-cifar10` with a recipe that
differs from `best` in `sigma_scale=1` alone. Every σ is multiplied by one factor and the whole
validation split is scored in FP32.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch

from sigmabench.harness import api as sb
from sigmabench.harness.predict import evaluate

FACTORS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
METRICS = ("accuracy", "nll", "ece", "brier")
T = 50
SEED = 1000  # none that a published run uses


def judge(path: str, factor: float) -> dict[str, float | None]:
    """Scores of the posterior with every σ times a factor."""
    torch.set_num_threads(1)
    workload = sb.resolve_workload("resnet20-cifar10")
    trained, _ = sb.load_posterior(path)
    model = sb.fold(workload.model(), trained.scaled(factor), input_shape=workload.input_shape)
    predictor = sb.BACKENDS.get("float").load(sb.quantize(model, "FP32", None), threads=1)
    split = workload.splits(None).validation
    passes = T if factor else 1
    summary = evaluate(predictor, split, (passes,), SEED, deterministic=not factor)[passes]
    return sb.score(summary, split.labels, METRICS)


def main() -> None:
    path = sys.argv[1]
    print(__doc__.strip())
    print(f"\nT = {T}, seed {SEED}, 5,000 validation images.\n")
    print("| σ × | accuracy % | NLL | ECE % | Brier |\n|---|---|---|---|---|")
    with ProcessPoolExecutor(2) as pool:
        found = pool.map(partial(judge, path), FACTORS)
        for factor, scores in zip(FACTORS, found, strict=True):
            accuracy, nll, ece, brier = scores.values()
            row = f"| {factor} | {accuracy:.2f} | {nll:.4f} | {ece:.2f} | {brier:.4f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
