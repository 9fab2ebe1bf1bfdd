"""Methods of stating uncertainty: scored as other studies score, fitted on validation images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from studied import studied
from torch import nn

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.methods.method import METHODS
from sigmabench.harness.methods.propagated import ANALYTIC
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.predict.analytic import AnalyticPredictor
from sigmabench.harness.predict.loop import evaluate
from sigmabench.harness.predict.temperature import Temperature, derivatives, tempered
from sigmabench.harness.records.methods_record import METHOD_RECORDS, MethodRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.methods import analyse, document, measure
from sigmabench.harness.studies.methods.plan import MethodsPlan, plan
from sigmabench.harness.workload.cell import MEAN, MEAN_FIELD
from sigmabench.harness.workload.prepare import prepare

DIGITS = "lenet-digits"
ASKED: dict[str, Any] = {
    "mc": (1, 3), "types": ("contrast",), "severities": (3,), "ood": (), "limit": 60,
    "shifted": 40, "fitted": 50, "seeds": 2, "untimed": True,
}  # fmt: skip


def planned(**choices: Any) -> MethodsPlan:
    return plan(DIGITS, scoring=True, **{**ASKED, **choices})[0]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def records(results: Path) -> list[MethodRecord]:
    found: list[MethodRecord] = studied("methods", planned(), results)
    return found


def of(records: Sequence[MethodRecord], method: str, format: str, severity: int) -> MethodRecord:
    (found,) = [
        one
        for one in records
        if (one.subject.method, one.subject.format, one.subject.severity)
        == (method, format, severity)
    ]
    return found


def test_every_method_in_every_format_it_has_on_every_condition(
    records: list[MethodRecord],
) -> None:
    asked = [(one.subject.method, one.subject.format, one.subject.severity) for one in records]
    formats = {
        MEAN_FIELD: ("FP32", "INT8", "INT8_SIGMA1"),
        MEAN: ("FP32", "INT8"),
        ANALYTIC.name: ("FP32",),
        "augment": ("FP32", "INT8"),
    }
    assert asked == [
        (method, format, severity)
        for method, each in formats.items()
        for format in each
        for severity in (0, 3)
    ]
    for one in records:
        clean, drawn = not one.subject.severity, one.subject.method not in (MEAN, ANALYTIC.name)
        assert one.subject.mc == ((1, 3) if drawn else (1,))
        assert one.subject.seeds == (2 if drawn and clean else 1)
        assert one.body.images == (60 if clean else 40)
        assert one.body.validation_images == 50


def test_scores_are_those_of_the_same_network_evaluated(records: list[MethodRecord]) -> None:
    asked = planned()
    prepared = prepare(asked.base)
    test = prepared.splits.test.limit(60)
    loaded = METHODS.get(MEAN_FIELD).made(prepared, "INT8").load(1)
    found = of(records, MEAN_FIELD, "INT8", 0)
    for draw in range(2):
        expected = evaluate(loaded.passes, test, (1, 3), seed=draw)
        for place, T in enumerate((1, 3)):
            for metric, value in score(expected[T], test.labels).items():
                assert found.body.scores[metric][draw][place] == value, (metric, T)


def test_temperatures_are_of_validation_images_alone(records: list[MethodRecord]) -> None:
    """One is fitted to the validation images and held against a grid; test images play no part."""
    prepared = prepare(planned().base)
    validation, test = prepared.splits.validation.limit(50), prepared.splits.test.limit(60)
    predictor = METHODS.get(MEAN).made(prepared, "INT8").load(1).passes
    found = of(records, MEAN, "INT8", 0)
    ((fitted,),) = found.body.temperatures
    logits = predictor.logits(validation.batch(slice(None)), 0, range(1))
    grid = np.exp(np.linspace(-3, 3, 2001))
    nlls = [
        torch.nn.functional.cross_entropy(logits[0].double() / tau, validation.labels)
        for tau in grid
    ]
    assert fitted.tau == pytest.approx(grid[int(np.argmin(nlls))], rel=5e-3)
    of_test = predictor.logits(test.batch(slice(None)), 0, range(1))
    at = Temperature(fitted.tau, fitted.form, 0.0, 0.0, 50)
    expected = score(tempered(of_test, at, True), test.labels)
    assert {name: each[0][0] for name, each in found.body.tempered.items()} == expected
    both = derivatives(of_test, test.labels, at)
    np.testing.assert_allclose(found.each("tempered.slope")[0], both.slope, rtol=1e-5, atol=1e-7)
    shifted = of(records, MEAN, "INT8", 3)
    assert shifted.body.temperatures == found.body.temperatures


def test_the_analytic_pass_is_scored_as_it_predicts(records: list[MethodRecord]) -> None:
    prepared = prepare(planned().base)
    validation, test = prepared.splits.validation.limit(50), prepared.splits.test.limit(60)
    predictor = AnalyticPredictor(prepared.model)
    found = of(records, ANALYTIC.name, "FP32", 0)
    plain = predictor.summary(test.batch(slice(None)))
    assert {name: each[0][0] for name, each in found.body.scores.items()} == pytest.approx(
        score(plain, test.labels), rel=1e-5
    )
    np.testing.assert_allclose(
        found.each("mutual_information")[0], plain.mutual_information, rtol=1e-3, atol=1e-7
    )
    ((fitted,),) = found.body.temperatures
    expected = predictor.law(validation.batch(slice(None))).fit(validation.labels)
    assert (fitted.tau, fitted.form) == (pytest.approx(expected.tau, rel=1e-3), "passes")
    at = Temperature(fitted.tau, fitted.form, 0.0, 0.0, 50)
    warm = predictor.law(test.batch(slice(None))).summary(1, at)
    assert found.score("nll", 1, tempered=True) == pytest.approx(
        float(warm.nll(test.labels).mean())
    )
    assert found.body.without_vector == "it is fitted to one pass of the mean network alone"


def test_the_analytic_pass_says_what_it_has_no_moments_for() -> None:
    base = planned().base
    assert ANALYTIC.without(base, "FP32") is None
    assert ANALYTIC.without(base, "INT8") == "means and variances are propagated in float32 alone"

    def other() -> nn.Module:
        return nn.Sequential(base.workload.model(), nn.Linear(10, 10), nn.GELU(), nn.Linear(10, 10))

    asked = replace(base, workload=replace(base.workload, model=other))
    reason = ANALYTIC.without(asked, "FP32")
    assert reason is not None
    assert reason.startswith("there is no mean and variance for gelu (node ")


def test_what_is_stored_is_not_scored_again(
    records: list[MethodRecord], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure.MethodsMeasurer, "__call__", None)
    assert studied("methods", planned(), results) == records
    store: Store[Any] = Store(results, METHOD_RECORDS)
    assert sorted(one.subject.key for one in store.records(DIGITS)) == sorted(
        one.subject.key for one in records
    )


def test_what_is_missing_is_scored_as_in_one_go(
    records: list[MethodRecord], tmp_path: Path
) -> None:
    asked = planned(methods=(MEAN,), formats=("INT8",))
    studied("methods", planned(methods=(MEAN,), formats=("INT8",), types=("none",)), tmp_path)
    for found in studied("methods", asked, tmp_path):
        whole = of(records, MEAN, "INT8", found.subject.severity)
        assert (found.subject, found.body) == (whole.subject, whole.body)
        assert found.arrays == whole.arrays


def test_methods_are_compared_with_the_mean_network_of_their_arithmetic(
    records: list[MethodRecord],
) -> None:
    (found,) = analyse.analyse(records, planned())
    assert [(one.record.subject.method, one.record.subject.format) for one in found.compared] == [
        (MEAN_FIELD, "FP32"), (MEAN_FIELD, "INT8"), (MEAN_FIELD, "INT8_SIGMA1"),
        (ANALYTIC.name, "FP32"), ("augment", "FP32"), ("augment", "INT8"),
    ]  # fmt: skip
    for one in found.compared:
        assert one.reference.subject.method == MEAN
        assert one.record.subject.format.startswith(one.reference.subject.format)
        mine, other = (each.each("tempered.nll").mean() for each in (one.record, one.reference))
        assert one.difference.value == pytest.approx(mine - other, abs=1e-7)
        fitted = one.reference.body.temperatures[0][0]
        assert one.margin == min(0.01, 0.05 * fitted.nll)
        assert one.verdict == analyse.NOT_JUDGED  # of 60 images, 72 needed


def test_others_images_are_not_compared(records: list[MethodRecord]) -> None:
    moved = [
        one
        if one.subject.method != MEAN
        else MethodRecord(
            replace(one.subject, data="other"), one.provenance, None, one.body, one.arrays
        )
        for one in records
    ]
    first, second = analyse.analyse(moved)
    assert first.compared == second.compared == []
    assert document.conclusions(first)[0] == (
        "What T passes buy in INT8 cannot be said: mean was not scored on clean images."
    )
    assert document.conclusions(second)[0] == (
        "What T passes buy in INT8 cannot be said: mean-field was not scored on clean images."
    )


def test_each_posterior_and_number_of_images_is_a_setting_of_its_own(
    records: list[MethodRecord],
) -> None:
    """Records of another posterior and of fewer images lie in one store with these."""

    def changed(record: MethodRecord, **subject: Any) -> MethodRecord:
        about = replace(record.subject, **subject)
        return MethodRecord(about, record.provenance, None, record.body, record.arrays)

    other = [changed(one, networks=("other",)) for one in records]
    fewer = [
        MethodRecord(
            replace(one.subject, limit=30),
            one.provenance,
            None,
            replace(one.body, images=30),
            {name: each if "fit" in name else each[:, :30] for name, each in one.arrays.items()},
        )
        for one in records
        if one.subject.method in (MEAN, MEAN_FIELD) and not one.subject.severity
    ]
    found = analyse.analyse([*fewer, *other, *records])
    assert [[one.body.images for one in each.clean] for each in found] == [
        [60] * 8, [30] * 5, [60] * 8,
    ]  # fmt: skip
    for each in found:
        assert len({one.subject.networks for one in each.records}) == 1
        for one in each.compared:
            assert one.record.subject.networks == one.reference.subject.networks
            assert one.difference.count == one.reference.body.images
    whole = [one for each in found for one in each.records if one.subject.severity]
    assert len(whole) == 16  # shifted images stand in one setting of each posterior alone


def test_a_verdict_of_a_difference_is_two_sided_and_of_its_family(
    records: list[MethodRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyse, "too_few", lambda units: "")
    monkeypatch.setattr(analyse, "unbounded", lambda record: False)
    found = analyse.analyse(records, planned())[0]
    for first in (True, False):
        family = [one for one in found.compared if (one.record.subject.format == "INT8") == first]
        ps = [
            2 * min(one.difference.p_below(one.margin), one.difference.p_above(one.margin))
            for one in family
        ]
        order = np.argsort(ps)
        stepped = [min(1.0, (len(ps) - rank) * ps[place]) for rank, place in enumerate(order)]
        holm = dict(zip(order, np.maximum.accumulate(stepped), strict=True))
        for place, one in enumerate(family):
            assert one.family == len(family)
            assert (one.verdict in (analyse.BETTER, analyse.WORSE)) <= (holm[place] < 0.05)


def test_a_temperature_at_the_end_is_not_judged(
    records: list[MethodRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyse, "too_few", lambda units: "")
    ends = [
        MethodRecord(
            one.subject,
            one.provenance,
            None,
            replace(
                one.body,
                temperatures=tuple(
                    tuple(replace(fitted, tau=1 / 20) for fitted in each)
                    for each in one.body.temperatures
                ),
            ),
            one.arrays,
        )
        if one.subject.method == MEAN
        else one
        for one in records
    ]
    (found,) = analyse.analyse(ends, planned())
    assert {one.verdict for one in found.compared} == {analyse.NOT_JUDGED}
    assert "no finite temperature fits mean best" in document.conclusions(found)[0]


def test_one_image_is_no_traceback(tmp_path: Path) -> None:
    few = studied("methods", planned(limit=1, methods=(MEAN_FIELD, MEAN)), tmp_path)
    (found,) = analyse.analyse(few, planned())
    assert found.compared == []
    assert document.conclusions(found)[0].endswith("of a single independent image.")


def test_the_command_prints_stores_and_tells_scripts(tmp_path: Path) -> None:
    command = [
        "methods", DIGITS, "--methods", "mean-field,mean", "--formats", "INT8", "--mc", "2",
        "--types", "none", "--limit", "80", "--fitted", "40", "--seeds", "1", "--ood", "none",
        "--results", str(tmp_path),
    ]  # fmt: skip
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    assert "2 passes of the posterior" in " ".join(shown.stdout.split())
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    never = CliRunner().invoke(main, [*command, "--policy", "never", "--json"])
    told = json.loads(never.stdout)
    assert {row["method"] for row in told["rows"]} == {MEAN_FIELD, MEAN}
    report = CliRunner().invoke(
        main, ["report", DIGITS, "--study", "methods", "--results", str(tmp_path)]
    )
    assert report.exit_code == 0, report.output
    assert "Against one pass of the mean network" in report.output


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"methods": ("fancy",)}, "fancy"),
        ({"formats": ("BF16",)}, "Methods are not compared in BF16"),
        ({"mc": (0,)}, "--mc"),
        ({"fitted": 0}, "--fitted"),
        ({"shifted": 0}, "--shifted"),
    ],
)
def test_mistakes_get_one_sentence(choices: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        planned(**choices)
