"""Differences in other scores: each resample against the metric, errors against repetition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils import resample

from sigmabench.harness.data.units import Units
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.predict.predicted import Summary
from sigmabench.harness.stats import tempered_scores
from sigmabench.harness.stats.tempered_scores import PerImage, score_differences


def summary(images: int, seed: int, sharp: float = 2.0) -> tuple[Summary, torch.Tensor]:
    """Predictions, some of equal confidence, and labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = (sharp * torch.randn((images, 3), generator=generator)).round(decimals=1)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    return summarised(logits), labels


def summarised(logits: torch.Tensor) -> Summary:
    from sigmabench.harness.predict.loop import summarise

    return summarise(logits[None], True)


def per_image(found: Summary, labels: torch.Tensor) -> PerImage:
    return PerImage(
        found.brier(labels).double().numpy()[None],
        found.confidence.double().numpy()[None],
        found.correct(labels).numpy()[None],
    )


def test_scores_of_resamples_are_the_metrics_of_the_images_drawn() -> None:
    """Against the metric's own function on the drawn images, again and again."""
    found, labels = summary(60, 1)
    rng = np.random.default_rng(0)
    drawn = [resample(np.arange(60), random_state=int(s)) for s in rng.integers(0, 999, 5)]
    drawn.append(np.arange(60))
    counts = np.stack([np.bincount(one, minlength=60) for one in drawn]).astype(float)
    for name, prepared in tempered_scores._METRICS.items():
        mine = prepared(per_image(found, labels))(counts)
        for place, index in enumerate(drawn):
            again = summarised(found.log_probs[torch.from_numpy(index)])
            expected = score(again, labels[torch.from_numpy(index)])[name]
            assert mine[place] == pytest.approx(expected, rel=2e-4, abs=1e-6), name


def test_a_difference_is_that_of_the_scores_and_its_interval_holds_it() -> None:
    sure, labels = summary(400, 2)
    unsure = summarised(0.3 * sure.probs.log().float())
    found = score_differences(per_image(unsure, labels), per_image(sure, labels), Units.of(400))
    for name, one in found.items():
        expected = score(unsure, labels)[name] - score(sure, labels)[name]
        assert one.value == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert one.low <= one.value <= one.high
    assert found["ece"].p < 0.01  # calibrated by construction, and then not
    assert found["aurc"].p > 0.01
    same = score_differences(per_image(sure, labels), per_image(sure, labels), Units.of(400))
    assert all((one.value, one.p) == (0.0, 1.0) for one in same.values())


def test_intervals_are_as_wide_as_repetition_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempered_scores, "RESAMPLES", 300)
    widths: dict[str, list[float]] = {"ece": [], "brier": [], "aurc": []}
    values: dict[str, list[float]] = {"ece": [], "brier": [], "aurc": []}
    for seed in range(40):
        sure, labels = summary(300, seed)
        other = summarised(sure.probs.log().float() + 0.3 * torch.randn((300, 3)))
        units = Units.of(300)
        found = score_differences(per_image(other, labels), per_image(sure, labels), units)
        for name, one in found.items():
            values[name].append(one.value)
            widths[name].append((one.high - one.low) / 3.92)
    for name in ("brier", "aurc"):
        assert np.mean(widths[name]) == pytest.approx(np.std(values[name]), rel=0.35), name


def test_images_of_one_source_are_drawn_together() -> None:
    found, labels = summary(120, 3)
    other = summarised(0.5 * found.probs.log().float())
    pairs = Units.of(240, np.arange(240) % 120)
    twice = [
        PerImage(
            *(np.concatenate([part, part], axis=1) for part in (p.brier, p.confidence, p.correct))
        )
        for p in (per_image(other, labels), per_image(found, labels))
    ]
    once = score_differences(per_image(other, labels), per_image(found, labels), Units.of(120))
    both = score_differences(*twice, pairs)
    assert both["brier"].low == pytest.approx(once["brier"].low, rel=1e-9)
    assert both["brier"].high == pytest.approx(once["brier"].high, rel=1e-9)
