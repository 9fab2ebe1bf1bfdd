"""The papers' claims, each with what it is compared by, fixed before any record was judged.

The margins are those of the metrics (`Metric.margin`) and of the studies that ask the same; nothing
here was chosen by what came out. The Brier score has no margin of its own: it has the change of it
that counts where two sets of records are compared (`Metric.matters`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..metrics.metric import METRICS, Metric
from ..studies.compare.measure import SMALLEST_EFFECT
from ..studies.weights.analyse import TOLERANCE

PAPER_2021 = (
    "Subedar, Krishnan, Kashyap and Tickoo, Quantization of Bayesian Neural Networks and Its "
    "Effect on Quality of Uncertainty, 2021"
)
PAPER_2023 = "Lin et al., Quantization for Bayesian Deep Learning, IISWC 2023"

IMAGENET = "resnet50-imagenet"
#: Of the 2023 paper's abstract.
SPEEDUP = 6.9
#: Share of a time that does not matter.
SLOWER = SMALLEST_EFFECT
#: Of the 2021 paper's section 3, by format: how many times smaller a model is than in FP32.
SMALLER = {"INT8": 4.0, "INT8_SIGMA4": 5.3, "INT8_SIGMA2": 6.4, "INT8_SIGMA1": 7.1}
#: Half of the last digit that the paper prints of them, and of the bandwidth that is saved.
PRINTED = 0.05
PRINTED_TRAFFIC = 0.5

CLEAN_METRICS = ("accuracy", "ece", "nll", "brier")
SHIFT_METRICS = ("accuracy", "ece", "nll")
#: Of the corrupted images in the papers' figures.
SEVERITIES = (1, 2, 3, 4, 5)

_EQUIVALENCE = (
    "two one-sided tests for equivalence (TOST) and one for a loss beyond the margin, paired image "
    "by image, the luck of the draw in their intervals; level 5 % after Holm"
)
_COUNTED = "none: bytes are counted, and a count has no error"


@dataclass(frozen=True)
class Claim:
    """One claim of the papers.

    Attributes:
        name: short, for files and links.
        title: the claim in one sentence.
        source: the paper with section, equation, figure or table.
        compared: with what, and by what.
        margin: what still counts as the same, fixed beforehand, with its unit.
        test: that decides, at which level.
        workloads: that it is asked of, recorded or not.
        command: that measures it, with WORKLOAD for the name of a workload.
    """

    name: str
    title: str
    source: str
    compared: str
    margin: str
    test: str
    workloads: tuple[str, ...]
    command: str


def margin_of(metric: Metric) -> float:
    """The largest change that does not matter, in its unit."""
    return metric.margin or metric.matters


def unit_of(metric: Metric) -> str:
    """Of a difference of it: points where it is a percentage."""
    return {"%": "points"}.get(metric.unit, metric.unit)


def _margins(names: tuple[str, ...]) -> str:
    found = (METRICS.get(name) for name in names)
    return ", ".join(f"{m.called} ±{margin_of(m):g} {unit_of(m)}".rstrip() for m in found)


CLEAN = Claim(
    "clean",
    "On clean images quantization costs no accuracy and no quality of uncertainty.",
    f"{PAPER_2021}, section 4, Table 1",
    "INT8 with σ in 8, 4, 2 and 1 bits with FP32, by accuracy, ECE, NLL and Brier score",
    _margins(CLEAN_METRICS),
    _EQUIVALENCE,
    ("resnet20-cifar10", "lenet5-mnist", IMAGENET),
    "sigmabench selective WORKLOAD",
)
SHIFTED = Claim(
    "shift",
    "Under dataset shift quantization costs no accuracy and no quality of uncertainty.",
    f"{PAPER_2021}, section 4, Figures 3 and 4; {PAPER_2023}, abstract",
    "INT8 with σ in 8, 4, 2 and 1 bits with FP32 at every severity, by accuracy, ECE and NLL, "
    "means over the types of corruption",
    _margins(SHIFT_METRICS),
    f"{_EQUIVALENCE} over severities and formats",
    ("resnet20-cifar10", IMAGENET),
    "sigmabench shift WORKLOAD",
)
SIZE = Claim(
    "size",
    "The model is 4, 5.3, 6.4 and 7.1 times smaller with σ in 8, 4, 2 and 1 bits.",
    f"{PAPER_2021}, sections 3 and 5, Table 1",
    "bytes of each format with those of FP32: of μ and σ alone, and of the whole file",
    f"±{PRINTED:g} times, half of the last digit that the paper prints",
    _COUNTED,
    ("resnet20-cifar10", "lenet5-mnist", IMAGENET),
    "sigmabench run WORKLOAD",
)
BANDWIDTH = Claim(
    "bandwidth",
    "INT8 weights take 4T times less bandwidth than FP32 with T passes, 200 times at T = 50.",
    f"{PAPER_2021}, abstract and section 4",
    "bytes that μ, σ and sampled weights move in T passes of INT8 with those of an FP32 sampler",
    f"±{PRINTED_TRAFFIC:g} times, half of the last digit that the paper prints",
    _COUNTED,
    ("resnet20-cifar10", "lenet5-mnist", IMAGENET),
    "sigmabench run WORKLOAD",
)
SPEED = Claim(
    "speed",
    f"INT8 has {SPEEDUP:g} times the throughput of FP32 on ImageNet, on a Xeon with AMX.",
    f"{PAPER_2023}, abstract",
    "the time of a pass of INT8 with that of FP32 in one race, ResNet-50 at 224×224, at every "
    "batch size that was raced: of this runtime, and of bayesian-torch, which the paper's code is "
    "part of",
    f"{100 * SLOWER:g} % of the time",
    "ratio of medians, Student's t between at least three fresh processes; level 5 % after Holm "
    "over batches",
    (IMAGENET,),
    "sigmabench bench passes resnet50 --batch 1,8,32 --processes 3",
)
ONE_BIT = Claim(
    "one-bit",
    "With σ in 1 bit sampled weights have a similar range, and results are comparable.",
    f"{PAPER_2021}, abstract and section 5",
    "the range of INT8_SIGMA1's sampled weights with that of INT8's, layer by layer; its scores "
    "with FP32's",
    f"the 0.1 % and 99.9 % quantiles within {100 * TOLERANCE:g} % of the width; scores: "
    f"{_margins(SHIFT_METRICS)}",
    f"of the range none: all draws of all weights are counted; of scores {_EQUIVALENCE}",
    ("resnet20-cifar10",),
    "sigmabench weights WORKLOAD",
)
SAFETY = Claim(
    "safety",
    "In a real-world safety-critical application quantization keeps the quality of uncertainty, "
    "under drift too.",
    f"{PAPER_2023}, abstract",
    "INT8 with σ in 8, 4, 2 and 1 bits with FP32 on histology, which stands in for an application "
    "that the abstract does not name: scores on slides like those of training and on others, and "
    "whose images are referred to a person",
    f"scores: {_margins(SHIFT_METRICS)}; referred images: as many as another draw of the weights "
    "changes",
    f"scores: {_EQUIVALENCE}; referred images: bootstrap over independent images, level 5 % after "
    "Holm",
    ("histology-colorectal",),
    "sigmabench selective WORKLOAD",
)

CLAIMS = (CLEAN, SHIFTED, SIZE, BANDWIDTH, SPEED, ONE_BIT, SAFETY)
