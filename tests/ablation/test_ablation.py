"""The ablation on a toy network, its means and intervals against plain loops over the images."""

from __future__ import annotations

import io
import json
from dataclasses import astuple, dataclass, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clocked import Clock, Slow
from report import factory
from rich.console import Console
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.waiting import about
from sigmabench.harness.corruptions.registered import corrupt
from sigmabench.harness.data.splits import Split
from sigmabench.harness.measure import estimate
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.predict.loop import evaluate
from sigmabench.harness.quantize import artefact as files
from sigmabench.harness.quantize.calibrate import Calibration, calibrate
from sigmabench.harness.quantize.fold import FloatModel, fold
from sigmabench.harness.quantize.ptq import Options, quantize
from sigmabench.harness.records.ablation_record import (
    BASE,
    AblationRecord,
    AblationSubject,
    Choice,
)
from sigmabench.harness.records.envelope import Arrays, Provenance
from sigmabench.harness.report.rendering import markdown, terminal
from sigmabench.harness.studies.ablation import document as report
from sigmabench.harness.studies.ablation import measure as scoring
from sigmabench.harness.studies.ablation.analyse import AblationFindings, analyse
from sigmabench.harness.studies.ablation.measure import (
    AblationMeasurer,
    ScoredImages,
    ablation_images,
    backend_of,
)
from sigmabench.harness.studies.ablation.plan import AblationPlan, default_choices, plan
from sigmabench.harness.studies.study import SCORED, Task

CHOICES = (
    Choice("", "INT8"),
    Choice("codebook", "INT8_SIGMA2", Options(sigma_grid="codebook")),
    Choice("dithered", "INT8", Options(rounding="dithered")),
    Choice("4-bit μ", "INT4_SIGMA1"),
    Choice("sampled ranges", "INT8", sampled=True),
)


@dataclass(frozen=True, eq=False)
class Made:
    model: FloatModel
    ranges: Calibration
    options: Options

    def artefact(self, format: str) -> files.Artefact:
        return quantize(self.model, format, self.ranges, self.options)


def split(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *RESIDUAL_SHAPE), generator=generator).to(torch.uint8)
    labels = torch.randint(0, 5, (count,), generator=generator)
    return Split("validation", images, labels, (0.5,) * 3, (0.3,) * 3, 5)


@pytest.fixture(scope="module")
def shown() -> ScoredImages:
    clean = split(40, 0)
    part = clean.limit(24)
    copies = {
        name: replace(part, images=corrupt(part.images, name, 5, seed=0))
        for name in ("gaussian_noise", "contrast")
    }
    return ScoredImages(clean, copies)


@pytest.fixture(scope="module")
def prepare(residual, posterior, images):
    model = fold(residual, posterior, RESIDUAL_SHAPE)
    asked = []

    def made(options: Options, observer: str, sampled: bool) -> Made:
        asked.append((options, observer, sampled))
        return Made(model, calibrate(model, images, observer, sampled), options)

    made.asked = asked
    return made


SEEDS = (7, 8)
MADE = Provenance(factory.fingerprint(), "sigmabench ablation", "2026-01-01T00:00:00+00:00")


def findings(
    prepare, images, *, mc=4, seeds=SEEDS[:1], choices=CHOICES, resamples=10, told=lambda *_: None
) -> AblationFindings:
    """Of FP32 and configurations, as a study of them has it."""
    every = (BASE, *choices)
    measure = AblationMeasurer(prepare, images, told, len(every) * images.count)
    subjects = [
        AblationSubject(
            "toy", "1", "0" * 16, "validation", 40, tuple(images.corrupted), (), 5, 0, mc,
            seeds[0], len(seeds), 1, choice,
        )
        for choice in every
    ]  # fmt: skip
    measure.announce(subjects)
    records = []
    for subject in subjects:
        (one,) = measure(Task((subject,), SCORED))
        records.append(AblationRecord(subject, MADE, None, one.body, Arrays.of(one.arrays)))
    (found,) = analyse(records, AblationPlan(None, choices=every), resamples)
    return found


def ablation(prepare, images, **choices):
    return findings(prepare, images, **choices).found


@pytest.fixture(scope="module")
def study(prepare, shown):
    return findings(prepare, shown, seeds=SEEDS, resamples=400)


@pytest.fixture(scope="module")
def found(study):
    return study.found


def scored_alone(prepare, choice, images, seed):
    made = prepare(choice.options, choice.observer, choice.sampled).artefact(choice.format)
    predictor = BACKENDS.get(backend_of(made)).load(made, 1)
    return evaluate(predictor, images, (4,), seed)[4]


@pytest.mark.thorough
def test_every_configuration_has_the_scores_it_has_alone(prepare, shown, found):
    assert [row.choice for row in found.rows[1:]] == list(CHOICES)
    for row in found.rows[1:]:
        for name, images in {"clean": shown.clean, **shown.corrupted}.items():
            for index, seed in enumerate(SEEDS):
                alone = score(scored_alone(prepare, row.choice, images, seed), images.labels)
                for metric, values in row.scores[name].items():
                    assert values[index] == alone[metric]


@pytest.mark.parametrize("seconds", [1.0, 1e-4])
def test_a_long_one_says_before_how_long_it_takes(monkeypatch, prepare, shown, seconds):
    """Floats take five times as long; what is measured for the estimate comes before the line."""
    clock, backends, told = Clock(), scoring.BACKENDS, []

    def load(name, model, threads):
        each = seconds * (1.0 if model.format.quantized else 5.0)
        return Slow(backends.get(name).load(model, threads), clock, each)

    def get(name):
        return SimpleNamespace(load=partial(load, name), unavailable=backends.get(name).unavailable)

    monkeypatch.setattr(scoring, "BACKENDS", SimpleNamespace(get=get))
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=clock))
    findings(
        prepare, shown, choices=CHOICES[:2],
        told=lambda phase, done, total: told.append((phase, clock.now)),
    )  # fmt: skip
    first, began = told[0]
    if seconds < 1:
        assert not any("takes" in phase for phase, _ in told)
    else:
        assert first == f"Scoring 3 configurations takes {about(clock.now - began)}"


def test_batches_make_no_difference(monkeypatch, prepare, shown, found):
    monkeypatch.setattr(
        "sigmabench.harness.predict.loop.BATCH_BYTES", 4 * 8 * 12 * 12 * 7
    )  # seven images
    other = ablation(prepare, shown, seeds=SEEDS, choices=CHOICES[2:3], resamples=400)
    assert other.rows[1].scores == found.rows[3].scores
    for name, metrics in other.rows[1].differences.items():
        for metric, difference in metrics.items():
            same = found.rows[3].differences[name][metric]
            assert astuple(difference) == pytest.approx(astuple(same), rel=1e-9, abs=1e-9)


def test_copies_of_images_tell_no_more_than_the_images(prepare):
    few = split(10, 1)
    which = torch.arange(10).repeat(4)
    copies = replace(few.take(which), sources=which)
    once, four = (
        ablation(
            prepare, ScoredImages(one, {"none": one}), mc=2, choices=CHOICES[1:2], resamples=100
        )
        for one in (few, copies)
    )
    assert (four.images, four.units, four.corrupted_images, four.corrupted_units) == (40, 10) * 2
    assert (once.units, once.corrupted_units) == (10, 10)
    for name, metrics in once.rows[1].differences.items():
        for metric, difference in metrics.items():
            same = four.rows[1].differences[name][metric]
            assert astuple(same) == pytest.approx(astuple(difference), rel=1e-4, abs=1e-6)
    text = "".join(sheet.notes[0] for sheet in report.sheets(four))
    assert text.count("40 images, 10 independent") == 2


def test_differences_are_paired_means(prepare, shown, found):
    def values(choice, images):
        each = []
        for seed in SEEDS:
            summary = scored_alone(prepare, choice, images, seed)
            right = 100.0 * summary.correct(images.labels).double()
            nll = -summary.log_probs[torch.arange(len(images)), images.labels]
            each.append([right.numpy(), nll.numpy()])
        return np.mean(each, axis=0)

    row = found.rows[2]
    for name, sets in (("clean", [shown.clean]), ("shifted", list(shown.corrupted.values()))):
        gaps = np.mean(
            [values(row.choice, s) - values(found.rows[0].choice, s) for s in sets], axis=0
        )
        for metric, gap in zip(("accuracy", "nll"), gaps, strict=True):
            difference = row.differences[name][metric]
            assert difference.value == pytest.approx(gap.mean(), rel=1e-9, abs=1e-12)
            assert difference.low < difference.value < difference.high
        error = gaps[1].std() / np.sqrt(gaps.shape[1])
        half = (row.differences[name]["nll"].high - row.differences[name]["nll"].low) / 2
        assert half == pytest.approx(1.96 * error, rel=0.25)


def test_means_over_types_and_seeds(found):
    for row in found.rows:
        for metric in ("accuracy", "nll"):
            types = [row.scores[name][metric] for name in ("gaussian_noise", "contrast")]
            assert row.shifted(metric) == pytest.approx(np.mean(types))
            assert row.clean(metric) == pytest.approx(np.mean(row.scores["clean"][metric]))


def test_sizes_are_the_files(prepare, found):
    fp32 = prepare(Options(), "minmax", False).artefact("FP32")
    for row in found.rows:
        choice = row.choice
        made = prepare(choice.options, choice.observer, choice.sampled).artefact(choice.format)
        assert row.file_bytes == len(files.to_bytes(made))
        assert row.ratio_file == len(files.to_bytes(fp32)) / row.file_bytes
    assert [row.ratio_weights for row in found.rows] == [1, 4, 6.4, 4, 12.8, 4]


def test_preparation_is_asked_for_once_for_equal_choices_in_a_row(prepare, shown):
    prepare.asked.clear()
    ablation(prepare, shown, mc=1, choices=(CHOICES[0], CHOICES[3], CHOICES[4]), resamples=10)
    assert [sampled for _, _, sampled in prepare.asked] == [False, True]


def test_one_pass_has_no_mutual_information(prepare, shown):
    found = ablation(prepare, shown, mc=1, choices=CHOICES[:1], resamples=10)
    assert found.rows[1].clean("mutual_information") is None
    assert "–" in report.sheets(found)[0].rows[1]


def test_progress_counts_every_image(prepare, shown):
    told = []
    ablation(
        prepare, shown, mc=1, choices=CHOICES[:1], resamples=10, told=lambda *t: told.append(t)
    )
    assert told[0] == ("FP32", 0, 2 * 88)
    assert told[-1] == ("INT8", 2 * 88, 2 * 88)


def test_clean_images_alone(prepare, shown):
    found = ablation(
        prepare, ScoredImages(shown.clean, {}), mc=2, choices=CHOICES[:1], resamples=10
    )
    assert set(found.rows[1].differences) == {"clean"}
    assert found.rows[1].shifted("nll") is None
    assert len(report.sheets(found)) == 3


def test_every_default_choice_changes_one_thing():
    made = default_choices()
    assert len({(c.format, c.options, c.observer, c.sampled) for c in made}) == len(made)
    for choice in made:
        default = Options()
        changed = [
            name for name in vars(default) if vars(choice.options)[name] != vars(default)[name]
        ]
        changes = len(changed) + (choice.observer != "minmax") + choice.sampled
        changes += choice.format.startswith("INT4")
        assert changes == (1 if choice.change else 0)
        plain = choice.format.replace("INT4", "INT8")
        assert any(c.format == plain and not c.change for c in made)


def test_images_are_the_first_ones_and_corrupted_as_asked():
    whole = split(30, 1)
    made = ablation_images(whole, ("contrast",), 2, clean=20, corrupted=10, seed=3)
    assert len(made.clean) == 20
    assert made.origins == {"contrast": "generated"}
    expected = corrupt(whole.images[:10], "contrast", 2, seed=3)
    assert torch.equal(made.corrupted["contrast"].images, expected)


def test_what_cannot_be_scored_is_refused(shown):
    for choice, flag in (({"mc": 0}, "--mc"), ({"seeds": 0}, "--seeds"), ({"limit": 0}, "--limit")):
        with pytest.raises(UserError, match=flag):
            plan("lenet-digits", scoring=True, **choice)
    with pytest.raises(UserError, match="the same under each"):
        ScoredImages(shown.clean, {"a": shown.clean, "b": shown.clean.limit(3)})


def test_tables_fit_80_columns_and_say_what_they_show(study):
    console = Console(width=80, record=True, file=io.StringIO())
    shown = report.document(study)
    console.print(terminal(shown))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    whole = "\n".join(lines)
    for word in ("codebook", "dithered", "INT4_SIGMA1", "gaussian_noise", "contrast", "T = 4"):
        assert word in whole
    assert markdown(shown).count("| INT8 | dithered |") == 4


def test_json_has_every_value(study):
    found = study.found
    whole = json.loads(json.dumps(report.to_dict(study), allow_nan=False))
    assert whole["seeds"] == [7, 8]
    assert whole["split"] == "validation"
    row = whole["rows"][2]
    assert row["choice"]["options"]["sigma_grid"] == "codebook"
    assert row["scores"]["contrast"]["nll"] == list(found.rows[2].scores["contrast"]["nll"])
    assert row["shifted"]["nll"] == found.rows[2].shifted("nll")
    assert (
        row["differences"]["clean"]["nll"]["low"] == found.rows[2].differences["clean"]["nll"].low
    )
