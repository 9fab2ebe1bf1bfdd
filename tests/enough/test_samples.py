"""How many MC samples are enough, as a study: what it stores, and what it says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from studied import studied

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.predict.loop import evaluate
from sigmabench.harness.predict.predicted import Predictive
from sigmabench.harness.predict.stretches import stretches
from sigmabench.harness.records.envelope import Arrays
from sigmabench.harness.records.samples_record import (
    SAMPLES,
    AtCount,
    DrawLuck,
    SamplesBody,
    SamplesRecord,
)
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.enough import measure
from sigmabench.harness.studies.enough.analyse import MARGIN, SHARE, analyse, curve
from sigmabench.harness.studies.enough.document import document
from sigmabench.harness.studies.enough.enough_conclusions import nats, percent, sentence
from sigmabench.harness.studies.enough.plan import SamplesPlan, plan
from sigmabench.harness.workload.prepare import prepare

DIGITS = "lenet-digits"
ASKED: dict[str, Any] = {
    "mc": (1, 3, 4), "reference": 6, "draws": 2, "limit": 90, "formats": ("INT8", "FP32"),
}  # fmt: skip


def planned(**choices: Any) -> SamplesPlan:
    return plan(DIGITS, scoring=True, **{**ASKED, **choices})[0]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[SamplesRecord]:
    found: list[SamplesRecord] = studied("samples", planned(), tmp_path_factory.mktemp("results"))
    return found


def test_stretches_are_what_passes_of_their_own_would_say() -> None:
    asked = planned()
    prepared = prepare(asked.base)
    predictor = BACKENDS.get("native").load(prepared.artefact("INT8"), 1)
    split = prepared.splits.validation.limit(30)
    told: list[int] = []
    found = stretches(predictor, split, (1, 3, 4), 11, 5, batch=20, advance=told.append)
    assert {T: len(one.nll) for T, one in found.items()} == {1: 11, 3: 3, 4: 2}
    assert sum(told) == 11 * 30
    x = split.batch(slice(None))
    for T, one in found.items():
        for place in range(len(one.nll)):
            total = Predictive((T,))
            total.update(predictor.logits(x, 5, range(place * T, (place + 1) * T)))
            summary = total.summaries()[T]
            assert torch.equal(one.nll[place], summary.nll(split.labels).float())
            assert torch.equal(one.decision[place], summary.prediction.int())
    prefix = evaluate(predictor, split, (4,), seed=5)[4]
    assert torch.equal(found[4].nll[0], prefix.nll(split.labels).float())


def test_what_is_stored_follows_from_single_passes(records: list[SamplesRecord]) -> None:
    """By brute force over all draws of T, and of the reference with the next seed."""
    record = records[0]
    prepared = prepare(planned().base)
    split = prepared.splits.validation.limit(90)
    predictor = BACKENDS.get("native").load(prepared.artefact("INT8"), 1)
    x = split.batch(slice(None))

    def draws(T: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        p = predictor.logits(x, seed, range(T * count)).double().softmax(dim=2)
        means = p.unflatten(0, (count, T)).mean(dim=1)
        nll = -means[:, range(90), split.labels].log()
        return nll.numpy(), means.argmax(dim=2).numpy()

    many, as_many = draws(6, 2, seed=1)
    np.testing.assert_allclose(record.each("reference.nll"), many.mean(axis=0), atol=1e-6)
    for place, (T, count) in enumerate(((1, 8), (3, 2), (4, 2))):
        nll, decided = draws(T, count, seed=0)
        at = record.body.counts[place]
        pairs = np.array([[(a == b) for b in as_many] for a in decided])
        assert (at.mc, at.stretches) == (T, count)
        assert at.nll_nats == pytest.approx(nll.mean(), abs=1e-6)
        assert at.nll_spread_nats == pytest.approx(nll.mean(axis=1).std(ddof=1), rel=1e-3)
        assert at.agreeing == pytest.approx(pairs.mean())
        np.testing.assert_allclose(record.each("nll")[place], nll.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(record.each("agreeing")[place], pairs.mean(axis=(0, 1)))
    one, other = as_many
    assert record.body.reference.agreeing == pytest.approx((one == other).mean())


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, done, cut = planned(formats=("INT8",)), [], measure.stretches

    def stopping(*given: Any, **named: Any) -> Any:
        if len(done) == 1:
            done.append("stopped")
            raise KeyboardInterrupt
        done.append("drawn")
        return cut(*given, **named)

    monkeypatch.setattr(measure, "stretches", stopping)
    with pytest.raises(KeyboardInterrupt):
        studied("samples", asked, tmp_path)
    (record,) = studied("samples", asked, tmp_path)
    assert done == ["drawn", "stopped", "drawn"]
    assert studied("samples", asked, tmp_path) == [record]
    assert not list(tmp_path.rglob(".predictions"))


def made(gaps: list[float], alike: list[float], images: int = 4000) -> SamplesRecord:
    """A record whose formats have these gaps and shares at T = 1, 2, 3, …, known to 0.0001 nats."""
    rng = np.random.default_rng(0)
    noise = rng.permutation(np.linspace(-1, 1, images)) * 0.0001 * images**0.5
    nll = np.stack([np.full(images, 0.3) + gap + noise for gap in gaps])
    agreeing = np.ones((len(alike), images))
    for place, share in enumerate(alike):
        agreeing[place, : round((1 - share) * images)] = 0
    none = DrawLuck(9, 0.0, 0.0)
    at = [AtCount(T, 9, 0.3, 0.01, none, share, (none, none)) for T, share in enumerate(alike, 1)]
    subject = replace(next(planned().subjects()), mc=tuple(range(1, len(gaps) + 1)))
    body = SamplesBody("a" * 64, images, tuple(at), replace(at[0], mc=subject.reference))
    arrays = {"nll": nll, "agreeing": agreeing, "reference.nll": np.full(images, 0.3)}
    floats = {name: values.astype(np.float32) for name, values in arrays.items()}
    provenance: Any = None
    return SamplesRecord(subject, provenance, None, body, Arrays.of(floats))


def test_the_smallest_t_is_that_from_which_on_all_are_enough() -> None:
    found = curve(made([0.05, 0.0, 0.004, 0.001, -0.001], [0.9, 0.95, 0.9999, 0.9999, 0.9999]))
    assert found.nll is not None
    assert found.nll.at.mc == 4  # 2 is within the margin, but 3 is not
    assert found.decisions is not None
    assert found.decisions.at.mc == 3
    assert found.enough is found.nll
    assert (found.nll_few, found.decisions_few) == (1, 2)
    assert sentence(found).startswith("INT8: 4 passes are enough: NLL needs 4 (+0.0010 nats, ")
    assert "and decisions need 3 (100.0 %, 95 % interval 99.9 to 100.0 %, as" in sentence(found)


@pytest.mark.parametrize(
    ("gaps", "alike", "head", "said"),
    [
        ([0.05, 0.01], [1.0, 1.0], "2 passes are not enough", "NLL differs by more than 0.002"),
        ([0.0, 0.0], [0.9, 0.97], "2 passes are not enough", "fewer than 99 % of the images"),
        ([0.0, 0.0019], [1.0, 1.0], "no number of passes up to 2", "; about "),
        ([0.0, 0.0021], [1.0, 1.0], "no number of passes up to 2", " at 2), and"),
        ([0.0, 0.0], [1.0, 0.991], "no number of passes up to 2", "it is not shown that 99 %"),
    ],
)
def test_what_is_said_where_none_is_enough(
    gaps: list[float], alike: list[float], head: str, said: str
) -> None:
    told = sentence(curve(made(gaps, alike)))
    assert head in told
    assert said in told


def test_few_images_judge_nothing() -> None:
    found = curve(made([0.0, 0.0], [1.0, 1.0], images=50))
    assert found.enough is None
    assert "it is not judged how many passes are enough (50 independent images" in sentence(found)


def test_what_the_reference_lacks_is_read_off_the_curve() -> None:
    gaps = [0.06 / T - 0.06 / 6 for T in range(1, 5)]
    assert curve(made(gaps, [1.0] * 4)).left == pytest.approx(0.01, rel=1e-3)


def test_a_bound_is_never_rounded_to_what_is_asked() -> None:
    assert (nats(MARGIN + 1e-6), nats(-0.00004), nats(-0.0001)) == (
        "+0.002001",
        "+0.0000",
        "−0.0001",
    )
    assert (percent(SHARE - 1e-5), percent(0.95)) == ("98.999", "95.0")


def test_documents_of_both_formats(records: list[SamplesRecord]) -> None:
    (found,) = analyse(records)
    shown = document(found, full=True)
    assert [row[0] for row in shown.sheets[0].rows] == ["INT8", "FP32"]
    assert len(shown.sheets) == 3
    assert len(shown.conclusions) == 2
    (figure,) = shown.figures()
    nll, alike = figure.panels
    assert [mark.label for mark in nll.marks[2:]] == ["INT8", "FP32"]
    assert alike.marks[1].y == tuple(100 * one.alike.value for one in found.curves[0].counts)


def test_the_command_answers_a_script(records: list[SamplesRecord], tmp_path: Path) -> None:
    for record in records:
        Store(tmp_path, SAMPLES).save(record)
    asked = [
        "samples", DIGITS, "--formats", "INT8,FP32", "--mc", "1,3,4", "--reference", "6",
        "--draws", "2", "--limit", "90", "--results", str(tmp_path), "--json",
    ]  # fmt: skip
    told = CliRunner().invoke(main, asked, catch_exceptions=False)
    values = json.loads(told.stdout)
    assert [one["format"] for one in values["formats"]] == ["INT8", "FP32"]
    assert [one["at"]["mc"] for one in values["formats"][0]["counts"]] == [1, 3, 4]


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"draws": 1}, "--draws is 1; give at least 2"),
        ({"mc": (1, 7)}, "--mc names 7, more than the 6 passes"),
        ({"formats": ("DNN_INT8",)}, "DNN_INT8 draws no weights"),
        ({"mc": ()}, "--mc names nothing"),
    ],
)
def test_bad_choices_are_refused(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(**choices)


def test_images_that_were_trained_on_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, splits_of = planned(), measure.splits_of
    monkeypatch.setattr(
        measure, "splits_of", lambda *given: replace(splits_of(*given), held_out=False)
    )
    with pytest.raises(UserError, match="lenet-digits holds out no validation images"):
        studied("samples", asked, tmp_path)


def test_images_of_one_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="All validation images come from one source"):
        studied("samples", planned(limit=1), tmp_path)
