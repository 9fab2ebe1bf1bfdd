"""The study that rate and places of dropout were chosen by; no test image takes part.

    python results/choices/dropout/choose.py WORKLOAD FOLDER

Recipe `dropout` of WORKLOAD is trained with each of two rates at each of two sets of layers, one
seed, and scored by passes with dropout on the whole validation split, in FP32; the lowest NLL
without a temperature is taken. Networks are kept in FOLDER, where the same command goes on.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from sigmabench.harness import api as sb
from sigmabench.harness.methods.dropout import dropped_in, mask_shapes, masked_passes
from sigmabench.harness.predict.temperature import fit_temperature

BEHIND = tuple(f"stage3.{block}.conv2" for block in range(3))
#: Two sets of layers each: linear ones alone, and convolutions too.
PLACES = {
    "lenet5-mnist": (("fc1", "fc2", "fc3"), ("conv2", "fc1", "fc2", "fc3")),
    "histology-colorectal": (("fc",), (*BEHIND[:2], "fc")),
    "resnet20-cifar10": (("fc",), (*BEHIND, "fc")),
}
RATES = (0.1, 0.25)
T = 50
SEED = 1000  # none that a network that ships was trained with
BATCH = 256


def trained(name: str, folder: Path, rate: float, layers: tuple[str, ...]) -> Path:
    """A network of one trial, trained now where it is not there."""
    workload = sb.resolve_workload(name)
    path = folder / f"{name}-dropout{rate:g}-{len(layers)}.safetensors"
    if not path.exists():
        recipe = workload.recipe("dropout")
        recipe = replace(recipe, name="trial", dropout=rate, dropout_at=layers)
        begun = path.with_name(f"{path.name}.checkpoint").exists()
        sb.train(workload, recipe, out=path, seed=SEED, resume=begun, progress=False)
    return path


def judge(name: str, path: Path) -> dict[str, float]:
    """Validation scores of T passes with dropout."""
    workload = sb.resolve_workload(name)
    network, made = sb.load_posterior(path)
    model = sb.fold(workload.model(), network, input_shape=workload.input_shape)
    artefact = sb.quantize(model, "DNN_FP32")
    dropped = dropped_in(made, path)
    masked = mask_shapes(artefact, workload.model(), dropped)
    passes = masked_passes(artefact, masked, dropped.rate, threads=1)
    split = workload.splits(None).validation.in_memory()
    parts = [
        passes.logits(split.batch(slice(at, at + BATCH)), SEED, range(T))
        for at in range(0, len(split), BATCH)
    ]
    logits = torch.cat(parts, 1)
    right = logits.softmax(-1).mean(0).argmax(-1) == split.labels
    temperature = fit_temperature(logits, split.labels)
    return {
        "accuracy": 100 * float(right.double().mean()),
        "nll": temperature.nll_without,
        "tempered": temperature.nll,
    }


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    workload = sb.resolve_workload(name)
    images, epochs = len(workload.splits(None).validation), workload.recipe("dropout").epochs
    print(__doc__.strip())
    print(f"\n{name}, {epochs} epochs, seed {SEED}, T = {T}, {images:,} validation images.\n")
    print("| rate | at | accuracy % | NLL | NLL with τ |\n|---|---|---|---|---|", flush=True)
    torch.set_num_threads(1)
    for layers in PLACES[name]:
        for rate in RATES:
            scores = judge(name, trained(name, folder, rate, layers))
            accuracy, nll, tempered = scores.values()
            row = f"| {rate:g} | {', '.join(layers)} | {accuracy:.2f} | {nll:.4f} "
            print(f"{row}| {tempered:.4f} |", flush=True)


if __name__ == "__main__":
    main()
