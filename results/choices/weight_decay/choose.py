"""The study that deterministic networks' weight decay was chosen by; no test image takes part.

    python results/choices/weight_decay/choose.py WORKLOAD FOLDER

Recipe `deterministic` of WORKLOAD is trained with each of four decays, one seed, and scored on the
whole validation split with the best temperature for it. Networks are kept in FOLDER, where the same
command goes on.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from sigmabench.harness import api as sb
from sigmabench.harness.predict.temperature import fit_temperature

DECAYS = {
    "lenet5-mnist": (0.0, 0.005, 0.02, 0.08),
    "histology-colorectal": (2e-4, 5e-4, 1e-3, 2e-3),
    "resnet20-cifar10": (2e-4, 5e-4, 1e-3, 2e-3),
}
SEED = 1000  # none that a network that ships was trained with


def judge(name: str, folder: Path, decay: float) -> dict[str, float]:
    """Validation scores of a network trained with one weight decay."""
    torch.set_num_threads(1)
    workload = sb.resolve_workload(name)
    path = folder / f"{name}-decay{decay:g}.safetensors"
    if not path.exists():
        recipe = replace(workload.recipe("deterministic"), name="trial", weight_decay=decay)
        begun = path.with_name(f"{path.name}.checkpoint").exists()
        sb.train(workload, recipe, out=path, seed=SEED, resume=begun, progress=False)
    network, made = sb.load_posterior(path)
    module = network.load_into(workload.model()).eval()
    split = workload.splits(None).validation.in_memory()
    with torch.inference_mode():
        parts = [module(split.batch(slice(i, i + 500))) for i in range(0, len(split), 500)]
    temperature = fit_temperature(torch.cat(parts)[None], split.labels)
    return {
        "accuracy": made["validation"]["accuracy_percent"],
        "nll": temperature.nll_without,
        "tempered": temperature.nll,
        "tau": temperature.tau,
    }


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    workload = sb.resolve_workload(name)
    images, epochs = len(workload.splits(None).validation), workload.recipe("deterministic").epochs
    print(__doc__.strip())
    print(f"\n{name}, {epochs} epochs, seed {SEED}, {images:,} validation images.\n", flush=True)
    print("| weight decay | accuracy % | NLL | NLL with τ | τ |\n|---|---|---|---|---|")
    with ProcessPoolExecutor(2) as pool:
        found = pool.map(partial(judge, name, folder), DECAYS[name])
        for decay, scores in zip(DECAYS[name], found, strict=True):
            accuracy, nll, tempered, tau = scores.values()
            row = f"| {decay:g} | {accuracy:.2f} | {nll:.4f} "
            print(f"{row}| {tempered:.4f} | {tau:.3f} |", flush=True)


if __name__ == "__main__":
    main()
