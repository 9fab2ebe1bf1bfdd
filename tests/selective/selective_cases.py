"""Made-up outputs of formats on a split: correctness that follows an uncertainty, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sigmabench.harness.data.units import Units
from sigmabench.harness.studies.selective.analyse import SelectiveFindings
from sigmabench.harness.studies.selective.referral import Choices
from sigmabench.harness.studies.selective.sample import Outputs, SplitSample

CLASSES = 4


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
