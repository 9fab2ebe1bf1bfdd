"""Made-up outputs of formats on a split: correctness that follows an uncertainty, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from shift import shift_factory

from sigmabench.harness.data.splits import Split
from sigmabench.harness.data.units import Units
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.studies.selective.agreement import comparisons
from sigmabench.harness.studies.selective.analyse import SelectiveFindings
from sigmabench.harness.studies.selective.referral import Choices, selections
from sigmabench.harness.studies.selective.sample import Outputs, SplitSample

CLASSES = 4
IMAGES = 20
LABELS = np.arange(IMAGES) % CLASSES
UNCERTAINTY = np.random.default_rng(1).permutation(IMAGES) / IMAGES
WRONG = UNCERTAINTY > 0.7
PIXELS = torch.arange(IMAGES, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()
SPLIT = Split("test", PIXELS, torch.from_numpy(LABELS), (0.5,), (0.5,), CLASSES)
WORKLOAD = "lenet-digits"
NAMES = ("ant", "bee", "cat", "dog")
CHOICES = Choices(coverage=0.75)


def outputs(
    uncertainty: np.ndarray, wrong: np.ndarray, labels: np.ndarray, seed: int = 0
) -> Outputs:
    """One run with this one uncertainty under every name."""
    predictions = np.where(wrong, (labels + 1) % CLASSES, labels)
    scores = dict.fromkeys(("confidence", "entropy", "mutual_information"), uncertainty)
    return Outputs(seed, labels, predictions, scores)


def noisy_run(seed: int, noise: float, images: int = 200, truth: int = 0) -> Outputs:
    """An image's uncertainty is its difficulty, which `truth` seeds, and noise of this run."""
    shared = np.random.default_rng(truth)
    difficulty = shared.random(images)
    labels = shared.integers(0, CLASSES, images)
    wrong = shared.random(images) < difficulty**3
    mine = np.random.default_rng([truth, seed])
    return outputs(difficulty + noise * mine.standard_normal(images), wrong, labels)


def sample(
    runs: dict[str, Sequence[Outputs]],
    references: dict[str, str] | None = None,
    sources: np.ndarray | None = None,
) -> SplitSample:
    """A split of these runs, of seeds 0, 1 … each; an image is its own source unless others are
    given."""
    images = len(next(iter(runs.values()))[0].labels)
    return SplitSample(
        "test",
        {
            name: tuple(replace(one, seed=seed) for seed, one in enumerate(each))
            for name, each in runs.items()
        },
        references if references is not None else {n: "FP32" for n in runs if n != "FP32"},
        Units.of(images, sources),
    )


def found_of(both: SplitSample, choices: Choices, workload: str) -> SelectiveFindings:
    """Findings of one test set, with nothing concluded yet."""
    return SelectiveFindings(
        workload=workload,
        choices=choices,
        mc=4,
        formats={"FP32": "FP32", "INT8": "INT8"},
        letters={},
        missing=(),
        sources={},
        samples={"test": both},
        selections=(),
        comparisons=(),
        outside=(),
    )


def known_study(seeds: int = 1) -> SelectiveFindings:
    """FP32, and INT8 that swaps the last image kept with the first referred."""
    swapped = UNCERTAINTY.copy()
    kept, referred = np.argsort(UNCERTAINTY)[[14, 15]]
    swapped[[kept, referred]] = swapped[[referred, kept]]
    runs = {
        "FP32": [outputs(UNCERTAINTY, WRONG, LABELS)] * seeds,
        "INT8": [outputs(swapped, WRONG, LABELS)] * seeds,
    }
    both = sample(runs)
    (records,) = results(shift_factory.study(("FP32", "INT8"), (), mc=(4,), ood=()))
    return replace(
        found_of(both, CHOICES, WORKLOAD),
        classes=CLASSES,
        class_names=NAMES,
        selections=tuple(selections(records, both, None, CHOICES, resamples=50)),
        comparisons=tuple(comparisons([both], CHOICES, resamples=50)),
    )
