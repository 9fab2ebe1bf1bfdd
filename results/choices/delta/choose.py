"""The records that δ of ResNet-50's MOPED posterior was chosen by; no test image takes part.

    python results/choices/delta/choose.py > results/choices/delta/choose.md

reads what the first commands of results/resnet50-imagenet.sh left in results/choices. The images
are training images that activation ranges are calibrated on as well, for there are no others beside
the test images: they rank δ, and say nothing of accuracy elsewhere. The records are of version 1 of
the workload, whose records did not name images and origin of the weights; the commands measure
again.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store

LOSS = 1.0  # points
FORMATS = ("DNN_FP32", "FP32", "INT8", "INT8_SIGMA1")


def fixed_percent(record: RunRecord) -> float:
    """Weights that no draw can move, %."""
    layers = record.body.fidelity
    fixed = sum(layer.immovable_share * layer.weights for layer in layers)
    return 100 * fixed / sum(layer.weights for layer in layers)


def row(delta: float, record: RunRecord) -> str:
    """One line of the table."""
    scores, layers = record.body.quality.scores, record.body.fidelity
    mutual = scores["mutual_information"][0]
    cells = [
        "–" if record.subject.format.startswith("DNN") else f"{delta}",
        record.subject.format,
        f"{scores['accuracy'][0]:.2f}",
        f"{scores['nll'][0]:.3f}",
        "–" if mutual is None else f"{mutual:.3f}",
    ]
    if layers and record.subject.format != "FP32":
        ratios = [layer.std_ratio for layer in layers]
        spread = f"{min(ratios):.2f} {median(ratios):.2f} {max(ratios):.2f}"
        cells += [spread, f"{fixed_percent(record):.1f}"]
    else:
        cells += ["–", "–"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    records = Store(Path(__file__).parents[1], RUN_RECORDS).records("resnet50-imagenet")
    found = {}
    for record in records:
        delta = re.search(r"--delta (\S+)", record.provenance.command)
        if delta is not None and record.subject.format in FORMATS:
            found[float(delta.group(1)), record.subject.format] = record
    (images,) = {record.body.quality.images for record in found.values()}
    (passes,) = {record.subject.mc for record in found.values() if record.subject.mc > 1}
    print(__doc__.strip())
    print(f"\n{images} images (1 point is {images / 100:.2f}), T = {passes}, seed 0.\n")
    print("| δ | format | accuracy % | NLL | MI nats | σ kept: least, median, most | fixed % |")
    print("|---|---|---|---|---|---|---|")
    for key in sorted(found, key=lambda k: (k[1] != "DNN_FP32", k[0], FORMATS.index(k[1]))):
        print(row(key[0], found[key]))
    print(
        "\nσ kept: standard deviation of a layer's draws over that of FP32's. Fixed: weights that\n"
        "no draw can move.\n"
    )
    accuracy = {key: record.body.quality.scores["accuracy"][0] for key, record in found.items()}
    (whole,) = (value for (_, format_), value in accuracy.items() if format_ == "DNN_FP32")
    losses = {d: whole - value for (d, f), value in accuracy.items() if f == "FP32"}
    near = [delta for delta, loss in losses.items() if loss <= LOSS]
    chosen = min(near, key=lambda delta: fixed_percent(found[delta, "INT8"]))
    further = min(delta for delta in losses if delta > chosen)
    print(
        f"Chosen: δ = {chosen}. Of those that cost FP32 no more than {LOSS:g} point here it leaves "
        "the fewest INT8\nweights that no draw can move. One seed and so few images rank it no "
        f"finer: δ = {further} costs\n{losses[further] * images / 100:.0f} images where "
        f"{LOSS * images / 100:.1f} are allowed."
    )


if __name__ == "__main__":
    main()
