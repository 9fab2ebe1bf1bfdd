"""Simulated shift studies whose truth is known, and how often their intervals and tests err.

    python -m shift.shift_simulation [studies]      (from tests/)

prints the table that docs/shift.md has the first setting of. A study draws new images and new
weights. A pass has the same weights for all images: its logits are those of the mean
network, plus what the pass's weights make
of each image's features, plus a bias that is the same for every image. INT8 has the noise of FP32
and a little that its grid makes of that. The truth is the mean effect of all studies of a setting.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from shift.shift_factory import CLASSES, cell, scored

from sigmabench.harness.shift import equivalence as module
from sigmabench.harness.shift.equivalence import MARGINS, Outcome, equivalence
from sigmabench.harness.shift.paired import Sample, pairs_at
from sigmabench.harness.shift.results import Results, results

FEATURES = 3
RESAMPLES = 1000
MORE = 60
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
    Setting(500, 20),
    Setting(500, 20, seeds=3),
    Setting(2000, 20),
    Setting(2000, 20, sources=8),
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
    drawn = [_records(setting, rng) for _ in range(MORE + studies)]
    found = [results(records)[0] for records in drawn]
    effects = [_effects(one) for one in found]
    truth = {name: float(np.mean([e[name] for e in effects])) for name in MARGINS}
    spread = {name: float(np.std([e[name] for e in effects], ddof=1)) for name in MARGINS}
    margins = {name: abs(value) for name, value in truth.items()}
    signs = {name: float(np.sign(value)) for name, value in truth.items()}
    with mock.patch.multiple(module, MARGINS=margins, SIGN=signs):
        judged = [
            equivalence(one, resamples=RESAMPLES, seed=index)
            for index, one in enumerate(found[:studies])
        ]
    return {name: _errors(name, judged, truth[name], spread[name]) for name in MARGINS}


def _effects(found: Results) -> dict[str, float]:
    effects = Sample(found, 1, pairs_at(found, 1)).effects()
    return {name: float(values[0]) for name, values in effects.items()}


def _errors(name: str, judged: list[list[Outcome]], truth: float, spread: float) -> Errors:
    own = [o for outcomes in judged for o in outcomes if o.metric == name]
    return Errors(
        covered=float(np.mean([o.low <= truth <= o.high for o in own])),
        width=float(np.mean([o.high - o.low for o in own])) / 2 / (1.96 * spread),
        equivalent=float(np.mean([o.p["equivalent"] <= 0.05 for o in own])),
        worse=float(np.mean([o.p["worse"] <= 0.05 for o in own])),
    )


def _records(setting: Setting, rng: np.random.Generator) -> list:
    units = setting.images // setting.sources
    images = units * setting.sources
    source = np.arange(images) // setting.sources
    labels = rng.integers(0, CLASSES, units)[source]
    features = rng.normal(size=(units, FEATURES))[source]
    mean = rng.normal(size=(units, CLASSES))[source]
    mean[np.arange(images), labels] += (6.0 - 1.5 * rng.gamma(2.0, 1.0, units))[source]
    own = (0.05 * rng.normal(size=(units, CLASSES)))[source]
    if setting.sources > 1:
        mean = mean + 0.3 * rng.normal(size=mean.shape)
    lost = (mean + own) * np.exp(-setting.loss)
    made = []
    for seed in range(setting.seeds):
        noise = list(_noise(setting, features, rng))
        for name, base, extra in (("FP32", mean, 0.0), ("INT8", lost, 0.3)):
            logits = np.stack([base + shared + extra * grid for shared, grid in noise])
            one = cell(
                format=name,
                corruption="fog",
                severity=1,
                seed=seed,
                mc=setting.mc,
                limit=images,
                noise="stream-v1",
            )
            cut = torch.from_numpy(source) if setting.sources > 1 else None
            made.append(
                scored(one, torch.from_numpy(logits), torch.from_numpy(labels), (setting.mc,), cut)
            )
    return made


def _noise(
    setting: Setting, features: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each pass: what its weights add to the logits, and what the grid of INT8 makes of it."""
    for _ in range(setting.mc):
        yield tuple(  # type: ignore[misc]
            features @ rng.normal(0, 0.6, (FEATURES, CLASSES))
            + rng.normal(0, setting.common, CLASSES)
            for _ in range(2)
        )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print("| N | T | seeds | a source | common | metric | covered | width | equivalent | worse |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        for name, e in simulated(setting, studies).items():
            print(
                f"| {setting.images} | {setting.mc} | {setting.seeds} | {setting.sources} | "
                f"{setting.common} | {name} | {100 * e.covered:.1f} % | {e.width:.2f} | "
                f"{100 * e.equivalent:.1f} % | {100 * e.worse:.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
