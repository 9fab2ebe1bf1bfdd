"""The study that the two levels of cut-off activations were chosen by; no test image takes part.

    python results/choices/saturation/choose.py measure WORKLOAD
    python results/choices/saturation/choose.py report > results/choices/saturation/choose.md

`measure` begins with INT8 ranges of sampled passes and narrows them step by step: all of them, all
but the input's, and each alone. Every step draws the weights of the network that it began with, and
is stored in WORKLOAD.json when it is done, so a run that was stopped goes on. A curve ends when two
steps in a row reached both levels. Then `--calibrate sampled` is compared with `mean`. `report`
also draws docs/saturation.svg. ResNet-50 has no images beside the test images but those that its
ranges are observed on; its last ones are scored.

A step *reaches* a level if the change is as large as the level asks for, its paired 95 % interval
excludes 0, and no narrower step of its curve falls short of the change. Narrower ranges round
otherwise, too: where a curve's first step cuts off less than 0.01 %, what moved there is rounding,
and is taken off in squares. (That came after the first results: with T = 4, rounding alone moves
ResNet-50's probabilities by 0.011.) A step's share is the largest that
`quantize.calibrate.saturation`, which records are made with, gives any activation. A level is the
smallest share that reaches it on any curve, two digits, rounded down.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sigmabench.harness import api as sb
from sigmabench.harness.core.figure import (
    COLUMN,
    Figure,
    Look,
    Panel,
    Points,
    Rule,
    Scale,
    Tone,
    numbers,
)
from sigmabench.harness.core.whole import json_text, write_atomically
from sigmabench.harness.data.splits import Split
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.predict.loop import batch_of, outcomes
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import (
    inherit_ranges,
    observe_ranges,
    sampled_passes,
    saturation,
)
from sigmabench.harness.quantize.fold import FloatModel
from sigmabench.harness.quantize.graph import Graph
from sigmabench.harness.report.draw import write
from sigmabench.harness.stats.paired import PerImage, paired, per_image
from sigmabench.harness.stats.significance import Estimate

HERE = Path(__file__).parent
FIGURE = HERE.parents[2] / "docs" / "saturation.svg"
FORMAT = "INT8"
SEED = 1000  # none that a published run uses
FACTORS = tuple(round(0.92**step, 4) for step in range(1, 15))  # down to 0.31
COLOURS: tuple[Tone, ...] = ("sky", "vermillion", "green", "purple", "blue")
ALL, HIDDEN = "all", "all but the input"

UNCUT = 1e-4  # a share that cannot be what moves predictions
MOVED = 0.01  # of the label's mean probability, on average
NLL_NATS, NLL_SHARE, ACCURACY_POINTS = 0.01, 0.05, 0.5


@dataclass(frozen=True)
class Size:
    """How much of a workload is looked at.

    Attributes:
        images: scored, at most; the last.
        passes: T.
        counted: calibration images that shares are counted on.
        calibrated: images that ranges are observed on; None for all that a run takes.
        seeds: of the comparison of `mean` and `sampled`.
        every: which of the factors.
        alone: activations narrowed alone; None for each.
    """

    images: int
    passes: int
    counted: int
    calibrated: int | None = None
    seeds: int = 3
    every: int = 1
    alone: tuple[str, ...] | None = None


SIZES = {
    "lenet-digits": Size(200, 50, 512),
    "lenet5-mnist": Size(5000, 10, 512),
    "histology-colorectal": Size(
        595, 5, 64, calibrated=256, every=2,
        alone=("input", "conv1", "stage1.1.conv2", "stage2.1.conv2", "stage3.1.conv1",
               "stage3.1.conv2"),
    ),
    "resnet20-cifar10": Size(
        1000, 5, 64, calibrated=256,
        alone=("input", "conv1", "stage1.2.conv2", "stage2.2.conv2", "stage3.1.conv2",
               "stage3.2.conv1", "stage3.2.conv2"),
    ),
    "resnet50-imagenet": Size(64, 4, 4, calibrated=16, seeds=1, every=4, alone=()),
}  # fmt: skip


class Study:
    """One workload: its ranges over sampled passes, and what narrower ones do."""

    def __init__(self, name: str) -> None:
        self.name, self.size = name, SIZES[name]
        workload = sb.resolve_workload(name)
        posterior, _ = workload.load_posterior()
        self.model: FloatModel = sb.fold(
            workload.model(), posterior, input_shape=workload.input_shape
        )
        splits = workload.splits(None)
        first = splits.calibration.limit(self.size.calibrated).in_memory()
        self.calibration = first
        last = slice(-self.size.images, None)  # where both are the same images, the others
        self.scored: Split = splits.validation.take(last).in_memory()
        self.base = observe_ranges(self.model, first, "minmax", sampled=True)
        self.draws = sampled_passes(self.model)

    def artefact(self, graph: Graph) -> Artefact:
        """INT8 with a graph's ranges."""
        return sb.quantize(self.model, FORMAT, replace(self.base, graph=graph))

    def each(self, artefact: Artefact, seed: int = SEED) -> PerImage:
        """What a network predicts of the scored images."""
        predictor = sb.BACKENDS.get("native").load(artefact, threads=1)
        T, batch = self.size.passes, batch_of(artefact.graph)
        found = outcomes(predictor, self.scored, (T,), seed, batch=batch)[T]
        return per_image(found, self.scored.labels)

    def narrowed(self, names: set[str], factor: float) -> Graph:
        """The graph with some ranges times a factor."""
        graph = self.base.graph
        activations = {
            name: replace(one, scale=float(np.float32(one.scale * factor)))
            if name in names
            else one
            for name, one in graph.activations.items()
        }
        return inherit_ranges(self.model, replace(graph, activations=activations))

    def shares(self, graph: Graph) -> dict[str, float]:
        """As a record has them, of fewer images."""
        images = self.calibration.limit(self.size.counted)
        return saturation(self.model, graph, self.draws, images)

    def curves(self) -> dict[str, set[str]]:
        """The activations that each curve narrows; those that inherit their range follow."""
        graph = self.base.graph
        probe = replace(
            graph,
            activations={
                name: replace(one, scale=one.scale and 1.0 + index)
                for index, (name, one) in enumerate(graph.activations.items())
            },
        )
        kept = inherit_ranges(self.model, probe).activations
        own = [
            name
            for name, one in probe.activations.items()
            if one.scale and kept[name].scale == one.scale
        ]
        alone = own if self.size.alone is None else self.size.alone
        hidden = set(own) - set(graph.inputs)
        return {ALL: set(own), HIDDEN: hidden, **{name: {name} for name in alone}}


def interval(values: np.ndarray, sources: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean over images cut from sources."""
    _, which = np.unique(sources, return_inverse=True)
    sums = np.bincount(which, values - values.mean())
    groups = len(sums)
    error = math.sqrt(np.square(sums).sum() * groups / (groups - 1)) / len(values)
    return Estimate(float(values.mean()), error, groups - 1).interval()


def change(study: Study, mine: PerImage, base: PerImage) -> dict[str, Any]:
    """What a narrower network does to the predictions of the same images by the same draws."""
    moved = np.abs(np.exp(-mine["nll"]) - np.exp(-base["nll"]))
    split = study.scored
    sources = np.arange(len(split)) if split.sources is None else split.sources.numpy()
    found = paired("sampled", [mine], [base], split.sources)
    return {
        "moved": float(moved.mean()),
        "moved_interval": interval(moved, sources),
        **found.differences,
        **{f"{name}_interval": each for name, each in found.intervals.items()},
    }


def rounding(steps: list[dict[str, Any]]) -> float:
    """How far other rounding alone moves the label's mean probability: a curve's first step, where
    that cuts off next to nothing; 0 where it cuts."""
    return steps[0]["moved"] if steps[0]["share"] < UNCUT else 0.0


def reaches(
    step: dict[str, Any], base_nll: float, level: str, floor: float, shown: bool = True
) -> bool:
    """Whether a step's change is as large as a level asks for, and, if `shown`, more than luck.

    Rounding and cuts move probabilities independently, so that squares add.
    """
    if level == "finding":
        found = step["moved"] ** 2 - floor**2 >= MOVED**2
        return found and (not shown or step["moved_interval"][0] > floor)
    rise = min(NLL_NATS, NLL_SHARE * base_nll)
    nll = step["nll_nats"] >= rise and (not shown or step["nll_nats_interval"][0] > 0)
    high = step["accuracy_percent_interval"][1]
    accuracy = step["accuracy_percent"] <= -ACCURACY_POINTS and (not shown or high < 0)
    return nll or accuracy


def smallest(steps: list[dict[str, Any]], base_nll: float, level: str) -> float | None:
    """The share from which a curve, wide to narrow, reaches a level; None if it does not."""
    found, floor = None, rounding(steps)
    for step in reversed(steps):
        if not reaches(step, base_nll, level, floor, shown=False):
            break
        if reaches(step, base_nll, level, floor):
            found = step["share"]
    return found


def levels(raw: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Both levels, from the results of all workloads by name."""
    found = {}
    for level in ("finding", "audit"):
        shares = [
            share
            for one in raw.values()
            for steps in one["curves"].values()
            if (share := smallest(steps, one["nll"], level)) is not None
        ]
        digit = 10 ** (math.floor(math.log10(min(shares))) - 1)
        found[level] = math.floor(min(shares) / digit + 1e-9) * digit
    return found


def measure(name: str) -> None:
    torch.set_num_threads(1)
    path, study = HERE / f"{name}.json", Study(name)
    base = study.each(study.artefact(study.base.graph))
    raw: dict[str, Any] = {
        "workload": name,
        "size": asdict(study.size),
        "images": len(study.scored),
        "seed": SEED,
        "format": FORMAT,
        "fingerprint": asdict(fingerprint()),
        "nll": float(base["nll"].mean()),
        "accuracy_percent": float(base["accuracy"].mean()),
        "saturation": study.base.saturation,
        "shares": {},
        "curves": {},
        "calibrate": None,
    }
    if path.is_file():
        kept = json.loads(path.read_text())
        raw |= {key: kept[key] for key in ("fingerprint", "shares", "curves", "calibrate")}
    for curve, names in study.curves().items():
        steps = raw["curves"].setdefault(curve, [])
        for factor in FACTORS[:: study.size.every][len(steps) :]:
            if len(steps) > 1 and all(
                reaches(step, raw["nll"], level, rounding(steps))
                for step in steps[-2:]
                for level in ("finding", "audit")
            ):
                break
            steps.append(narrow(study, raw, names, factor, base))
            write_atomically(path, json_text(raw).encode())
            print(name, curve, steps[-1], file=sys.stderr, flush=True)
    raw["calibrate"] = raw["calibrate"] or compare(study)
    write_atomically(path, json_text(raw).encode())


def narrow(
    study: Study, raw: dict[str, Any], names: set[str], factor: float, base: PerImage
) -> dict[str, Any]:
    """One step. Shares are counted in float passes, so one run at a factor has those of each
    activation narrowed alone."""
    graph = study.narrowed(names, factor)
    if str(factor) not in raw["shares"]:
        every = study.narrowed(set(graph.activations), factor)
        raw["shares"][str(factor)] = study.shares(every)
    changed = {
        name
        for name, one in graph.activations.items()
        if one.scale != study.base.graph.activations[name].scale
    }
    shares = {name: raw["shares"][str(factor)][name] for name in changed}
    layer = max(shares, key=lambda name: shares[name])
    made = change(study, study.each(study.artefact(graph)), base)
    return {"factor": factor, "share": shares[layer], "layer": layer, **made}


def compare(study: Study) -> dict[str, Any]:
    """`--calibrate sampled` less `mean`, on the same images and draws."""
    alone = observe_ranges(study.model, study.calibration, "minmax", sampled=False)
    seeds = range(SEED, SEED + study.size.seeds)
    mine = [study.each(study.artefact(study.base.graph), seed) for seed in seeds]
    others = [study.each(study.artefact(alone.graph), seed) for seed in seeds]
    return {
        **asdict(paired("mean", mine, others, study.scored.sources)),
        "mean_saturation": max(alone.saturation.values()),
        "sampled_saturation": max(study.base.saturation.values()),
    }


def read() -> dict[str, dict[str, Any]]:
    """The results that there are, by workload."""
    files = {name: HERE / f"{name}.json" for name in SIZES}
    return {name: json.loads(path.read_text()) for name, path in files.items() if path.is_file()}


def report(raw: dict[str, dict[str, Any]]) -> str:
    """The results in words and tables."""
    found = levels(raw)
    parts = [(__doc__ or "").strip(), _chosen(found), _sizes(raw), _reached(raw), _calibrated(raw)]
    return "\n\n".join(parts)


def _chosen(found: dict[str, float]) -> str:
    return (
        f"Chosen: a finding from {percent(found['finding'])}, a failed audit from "
        f"{percent(found['audit'])} of the values of one activation."
    )


def percent(share: float | None) -> str:
    """A share, two digits."""
    return "–" if share is None else f"{float(f'{100 * share:.2g}'):g} %"


def _table(head: str, rows: list[list[str]]) -> str:
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sizes(raw: dict[str, dict[str, Any]]) -> str:
    head = "workload | scored images | T | images for shares | accuracy % | NLL | machine | torch"
    rows = []
    for name, one in raw.items():
        size, machine = one["size"], one["fingerprint"]
        isa = "AMX" if "amx_int8" in machine["isa"] else "no AMX"
        rows.append([
            name, f"{one['images']:,}", str(size["passes"]), str(size["counted"]),
            f"{one['accuracy_percent']:.2f}", f"{one['nll']:.4f}",
            f"{machine['cpu']}, {isa}, {machine['cores']} cores", machine["packages"]["torch"],
        ])  # fmt: skip
    return f"{FORMAT}, seed {SEED}; wide ranges:\n\n{_table(head, rows)}"


def _reached(raw: dict[str, dict[str, Any]]) -> str:
    head = "workload | narrowed | finding from | audit from | narrowest | cut off there"
    rows = [
        [
            name, curve, *(percent(smallest(steps, one["nll"], k)) for k in ("finding", "audit")),
            f"× {steps[-1]['factor']:.2f}", percent(steps[-1]["share"]),
        ]
        for name, one in raw.items()
        for curve, steps in one["curves"].items()
    ]  # fmt: skip
    said = "The share from which each curve reaches the two levels; – where it does not:"
    return f"{said}\n\n{_table(head, rows)}"


def _calibrated(raw: dict[str, dict[str, Any]]) -> str:
    head = "workload | seeds | accuracy, points | NLL, nats | most cut off by mean | by sampled"
    rows = []
    for name, one in raw.items():
        made = one["calibrate"]
        cells = []
        for metric, digits in (("accuracy_percent", 3), ("nll_nats", 5)):
            low, high = made["intervals"][metric]
            value, low, high = (
                f"{number:+.{digits}f}" for number in (made["differences"][metric], low, high)
            )
            cells.append(f"{value} ({low} to {high})")
        shares = [percent(made[f"{kind}_saturation"]) for kind in ("mean", "sampled")]
        rows.append([name, str(made["seeds"][0]), *cells, *shares])
    said = "`--calibrate sampled` less `mean`, with paired 95 % intervals:"
    return f"{said}\n\n{_table(head, rows)}"


def figure(raw: dict[str, dict[str, Any]]) -> Figure:
    """All curves: what narrower ranges do, against the largest share that they cut off."""
    panels: tuple[tuple[str, Any, str, float], ...] = (
        ("label's p̄ moves by", lambda s, _: s["moved"], "finding", MOVED),
        (
            "NLL rises by (of the level)",
            lambda s, nll: s["nll_nats"] / min(NLL_NATS, NLL_SHARE * nll),
            "audit",
            1.0,
        ),
        (
            "accuracy falls by (points)",
            lambda s, _: -s["accuracy_percent"],
            "audit",
            ACCURACY_POINTS,
        ),
    )
    found = levels(raw)
    shares = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    across = Scale(
        "largest share of an activation beyond its range (%)", 1e-3, 100.0, log=True,
        ticks=shares, names=tuple(f"{share:g}" for share in shares),
    )  # fmt: skip
    return Figure(
        "saturation",
        "What cut-off activations move",
        "How much the label's probability, NLL and accuracy move, against the largest share of an "
        "activation that is cut off, for each workload; lines at the levels that were chosen.",
        tuple(
            Panel(
                (
                    *_curves(raw, value),
                    Rule(y=(limit,), tone="ink", line="dotted"),
                    Rule(x=(100 * found[level],), tone="ink", line="dashed"),
                ),
                across,
                Scale(title, -limit, 6 * limit),
            )
            for title, value, level, limit in panels
        ),
        height=5.6,
        width=1.6 * COLUMN,
        shared="x",
    )


def _curves(raw: dict[str, dict[str, Any]], value: Any) -> list[Points]:
    """One a step; that of all activations but the input is in the legend, the others are thin."""
    return [
        Points(
            numbers(100 * s["share"] for s in kept),
            numbers(value(s, one["nll"]) for s in kept),
            Look(tone=tone),
            name if curve == HIDDEN else "",
            marked=False,
            width=1.4 if curve == HIDDEN else 0.4,
        )
        for tone, (name, one) in zip(COLOURS, raw.items(), strict=False)
        for curve, steps in one["curves"].items()
        for kept in [[s for s in steps if s["share"] > 0]]
    ]


def main() -> None:
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2])
        return
    raw = read()
    print(report(raw))
    write(figure(raw), FIGURE)


if __name__ == "__main__":
    main()
