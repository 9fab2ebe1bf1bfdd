"""The study that a recipe's `sigma_scale` was chosen by; no test image takes part.

    python results/choices/sigma_scale/choose.py WORKLOAD [TRAINED]

TRAINED is the posterior as training left it, of a recipe that differs from the shipped posterior's
in `sigma_scale=1` alone; without it, the shipped posterior's σ are divided by its recipe's
`sigma_scale`. Every σ is multiplied by one factor and the whole validation split is scored in FP32.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch
from sklearn.metrics import balanced_accuracy_score

from sigmabench.harness import api as sb
from sigmabench.harness.predict.loop import evaluate

FACTORS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
METRICS = ("accuracy", "nll", "ece", "brier")
T = 50
SEED = 1000  # none that a published run uses


def trained(workload: sb.Workload, path: str | None) -> sb.Posterior:
    """The posterior as training left it."""
    if path is not None:
        return sb.load_posterior(path)[0]
    shipped, metadata = workload.load_posterior()
    return shipped.scaled(1 / metadata["recipe"]["sigma_scale"])


def judge(name: str, path: str | None, factor: float) -> dict[str, float | None]:
    """Scores of the posterior with every σ times a factor."""
    torch.set_num_threads(1)
    workload = sb.resolve_workload(name)
    posterior = trained(workload, path).scaled(factor)
    model = sb.fold(workload.model(), posterior, input_shape=workload.input_shape)
    predictor = sb.BACKENDS.get("float").load(sb.quantize(model, "FP32", None), threads=1)
    split = workload.splits(None).validation
    passes = T if factor else 1
    summary = evaluate(predictor, split, (passes,), SEED, deterministic=not factor)[passes]
    balanced = 100 * balanced_accuracy_score(split.labels, summary.probs.argmax(-1))
    return {**sb.score(summary, split.labels, METRICS), "balanced accuracy": balanced}


def main() -> None:
    name, path = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    images = len(sb.resolve_workload(name).splits(None).validation)
    print(__doc__.strip())
    print(f"\n{name}, T = {T}, seed {SEED}, {images:,} validation images.\n")
    print("| σ × | accuracy % | NLL | ECE % | Brier | balanced % |\n|---|---|---|---|---|---|")
    with ProcessPoolExecutor(2) as pool:
        found = pool.map(partial(judge, name, path), FACTORS)
        for factor, scores in zip(FACTORS, found, strict=True):
            accuracy, nll, ece, brier, balanced = scores.values()
            row = f"| {factor} | {accuracy:.2f} | {nll:.4f} | {ece:.2f} | {brier:.4f} "
            print(f"{row}| {balanced:.2f} |", flush=True)


if __name__ == "__main__":
    main()
