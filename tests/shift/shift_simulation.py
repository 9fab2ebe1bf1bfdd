"""Simulated shift studies whose truth is known, and how often their intervals and tests err.

    python -m shift.shift_simulation [STUDIES [SEED]]      (from tests/)

prints the table of docs/shift.md, which the slow tests hold to its bounds. A study draws new images
and new weights. A pass has the same weights for all images: its logits are those of the mean
network, plus what the pass's weights make of each image's features, plus a bias that is the same
for every image. INT8 has the noise of FP32 and a little that its grid makes of that. The truth is
the mean effect of all studies of a setting.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from unittest import mock

import numpy as np
import torch
from margins import MARGINS, judged_within
from shift.shift_factory import CLASSES, cell, of_predicted

from sigmabench.harness.predict.predicted import Predictive
from sigmabench.harness.records.shift_record import ShiftBody, ShiftRecord
from sigmabench.harness.stats import blocks
from sigmabench.harness.stats import equivalence as module
from sigmabench.harness.stats.equivalence import Outcome, equivalence
from sigmabench.harness.stats.pairs import PairedValues, pairs_at
from sigmabench.harness.stats.shifted import Results, results

FEATURES = 3
RESAMPLES = 500
STUDIES, SEED = 60, 3000
MORE = 40
"""Studies that the truth is the mean of, beside those that are judged."""


@dataclass(frozen=True)
class Setting:
    """What a study is like.

    Attributes:
        images: N.
        mc: T.
        seeds: of the MC draw.
        sources: images that are cut from one source; they share features, difficulty and label.
        common: standard deviation of the logits' bias that a pass has for all images.
        loss: what INT8 loses, logits times exp(−loss).
    """

    images: int
    mc: int
    seeds: int = 1
    sources: int = 1
    common: float = 0.4
    loss: float = 0.05


SETTINGS = (
    *(Setting(n, mc, seeds) for n in (500, 2000) for mc in (20, 40) for seeds in (1, 3)),
    Setting(2000, 20, sources=8),
    *(Setting(4000, mc, seeds) for mc in (20, 40) for seeds in (1, 3)),
    Setting(4000, 20, sources=8),
)


@dataclass(frozen=True)
class Errors:
    """Of the intervals and tests of one metric over the studies of a setting.

    Attributes:
        covered: share of the 95 % intervals that hold the truth.
        width: mean half width over 1.96 standard deviations of the effect.
        equivalent: share of studies that claim equivalence where the truth is the margin.
        worse: share that claims a loss there.
    """

    covered: float
    width: float
    equivalent: float
    worse: float


def simulated(setting: Setting, studies: int, seed: int = 0) -> dict[str, Errors]:
    """Metric to how its intervals and tests err."""
    rng = np.random.default_rng(seed)
    with mock.patch.object(blocks, "area", return_value=0.0):  # AURC is not judged and takes long
        judged = [results(_records(setting, rng))[0] for _ in range(studies)]
    others = [results(_records(setting, rng, judged=False))[0] for _ in range(MORE)]
    effects = [_effects(one) for one in (*judged, *others)]
    truth = {name: float(np.mean([e[name] for e in effects])) for name in MARGINS}
    spread = {name: float(np.std([e[name] for e in effects], ddof=1)) for name in MARGINS}
    margins = {name: abs(value) for name, value in truth.items()}
    signs = {name: float(np.sign(value)) for name, value in truth.items()}
    within = judged_within(margins, signs)
    with mock.patch.object(module, "judged_metrics", return_value=within):
        found = [
            equivalence(one, resamples=RESAMPLES, seed=index) for index, one in enumerate(judged)
        ]
    return {name: _errors(name, found, truth[name], spread[name]) for name in MARGINS}


def _effects(found: Results) -> dict[str, float]:
    effects = PairedValues(found, 1, pairs_at(found, 1)).effects()
    return {name: float(values[0]) for name, values in effects.items()}


def _errors(name: str, judged: list[list[Outcome]], truth: float, spread: float) -> Errors:
    own = [o for outcomes in judged for o in outcomes if o.metric == name]
    return Errors(
        covered=float(np.mean([o.low <= truth <= o.high for o in own])),
        width=float(np.mean([o.high - o.low for o in own])) / 2 / (1.96 * spread),
        equivalent=float(np.mean([o.p["equivalent"] <= 0.05 for o in own])),
        worse=float(np.mean([o.p["worse"] <= 0.05 for o in own])),
    )


def _records(setting: Setting, rng: np.random.Generator, judged: bool = True) -> list[ShiftRecord]:
    """FP32 and INT8 of one study; only what is to be judged has contrasts."""
    units = setting.images // setting.sources
    source = np.arange(units * setting.sources) // setting.sources
    labels = rng.integers(0, CLASSES, units)[source]
    features = rng.normal(size=(units, FEATURES))[source]
    mean = rng.normal(size=(units, CLASSES))[source]
    mean[np.arange(len(labels)), labels] += (6.0 - 1.5 * rng.gamma(2.0, 1.0, units))[source]
    own = (0.05 * rng.normal(size=(units, CLASSES)))[source]
    if setting.sources > 1:
        mean = mean + 0.3 * rng.normal(size=mean.shape)
    lost = (mean + own) * np.exp(-setting.loss)
    sources = torch.from_numpy(source) if setting.sources > 1 else None
    made = []
    for seed in range(setting.seeds):
        shared, grid = (_noise(setting, features, rng) for _ in range(2))
        for name, logits in (("FP32", mean + shared), ("INT8", lost + shared + 0.3 * grid)):
            made.append(_record(setting, name, seed, logits, labels, sources, judged))
    return made


def _noise(setting: Setting, features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[T, N, C] what the weights of each pass add to the logits."""
    weights = 0.6 * rng.normal(size=(setting.mc, FEATURES, CLASSES))
    bias = setting.common * rng.normal(size=(setting.mc, 1, CLASSES))
    return features @ weights + bias


def _record(
    setting: Setting,
    name: str,
    seed: int,
    logits: np.ndarray,
    labels: np.ndarray,
    sources: torch.Tensor | None,
    judged: bool,
) -> ShiftRecord:
    predictive = Predictive((setting.mc,), groups=judged)
    predictive.update(torch.from_numpy(logits))
    given = torch.from_numpy(labels)
    outcomes = predictive.summaries()[setting.mc].outcomes(given)
    one = cell(
        format=name,
        corruption="fog",
        severity=1,
        seed=seed,
        mc=setting.mc,
        limit=len(labels),
        noise="stream-v1",
    )
    scores = {"ece": (1.0,), "ece_floor": (0.0,)}
    body = ShiftBody(images=len(labels), mc=(setting.mc,), scores=scores)
    return of_predicted(one, body, outcomes, outcomes, given, sources)


def together(found: Iterable[Mapping[str, Errors]]) -> dict[str, Errors]:
    """Metric to the mean over settings of as many studies each."""
    every = list(found)
    return {
        name: Errors(*np.mean([astuple(one[name]) for one in every], axis=0).tolist())
        for name in MARGINS
    }


def table(studies: int = STUDIES, seed: int = SEED) -> dict[Setting, dict[str, Errors]]:
    """Every setting, printed one row per metric as it comes."""
    print("| N | T | seeds | images per source | metric | covered | width | equivalent | worse |")
    print("|---|---|---|---|---|---|---|---|---|")
    found = {}
    for index, setting in enumerate(SETTINGS):
        found[setting] = simulated(setting, studies, seed + index)
        _print(
            f"{setting.images} | {setting.mc} | {setting.seeds} | {setting.sources}", found[setting]
        )
    _print("all | | | ", together(found.values()))
    return found


def _print(head: str, found: Mapping[str, Errors]) -> None:
    for name, e in found.items():
        print(
            f"| {head} | {name} | {100 * e.covered:.1f} % | {e.width:.2f} "
            f"| {100 * e.equivalent:.1f} % | {100 * e.worse:.1f} % |",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    table(*map(int, sys.argv[1:]))


if __name__ == "__main__":
    main()
