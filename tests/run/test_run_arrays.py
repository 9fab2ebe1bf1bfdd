"""A run keeps what each image got; every score of that seed follows from it, by NumPy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from studied import studied

from sigmabench.harness.quantize.artefact import artefact_hash, load, save
from sigmabench.harness.records.run_record import ARRAYS, RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import prepare
from sigmabench.harness.workload.workload import resolve_workload

CLASSES, BINS, LIMIT = 10, 15, 150
Values = NDArray[np.float64]


def plan() -> Plan:
    return Plan(
        resolve_workload("lenet-digits"),
        formats=("FP32", "INT8", "DNN_INT8"),
        mc=(1, 6),
        adaptive=True,
        batches=(1, 2),
        limit=LIMIT,
        seconds=0.01,
        seeds=2,
        seed=3,
        split="validation",
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results")
    studied("run", plan(), path)
    return path


@pytest.fixture(scope="module")
def records(results: Path) -> list[RunRecord]:
    return Store(results, RUN_RECORDS).records()


def keeping(records: list[RunRecord]) -> list[RunRecord]:
    return [record for record in records if record.arrays]


def test_those_of_the_largest_t_have_them_and_no_others(records: list[RunRecord]) -> None:
    kept = {
        (one.subject.format, one.subject.mc, one.subject.batch, one.subject.stopping)
        for one in keeping(records)
    }
    assert kept == {
        *(("FP32", 6, batch, "fixed") for batch in (1, 2)),
        *(("INT8", 6, batch, "fixed") for batch in (1, 2)),
        *(("DNN_INT8", 1, batch, "fixed") for batch in (1, 2)),
    }


def test_they_are_of_every_image_in_their_order(records: list[RunRecord]) -> None:
    labels = plan().workload.splits(None).validation.limit(LIMIT).labels
    for record in keeping(records):
        deterministic = record.subject.format == "DNN_INT8"
        names = set(ARRAYS) - ({"mutual_information"} if deterministic else set())
        assert set(record.arrays) == names
        for name, values in record.arrays.items():
            assert (values.dtype, values.shape) == (ARRAYS[name], (record.body.quality.images,))
        np.testing.assert_array_equal(record.arrays["label"], labels)
        floats = {record.arrays[name].dtype for name in names - {"label", "prediction"}}
        assert floats == {np.dtype(np.float64)}


def test_batches_of_one_format_share_their_file(results: Path) -> None:
    assert len(list(results.rglob("*.safetensors"))) == 3


def gap(stated: Values, happened: Values) -> float:
    """Expected calibration error of what is stated to happen, %."""
    where = np.minimum((stated * BINS).astype(int), BINS - 1)
    gaps = [abs((stated - happened)[where == one].sum()) for one in range(BINS)]
    return 100 * sum(gaps) / len(stated)


def risks(confidence: Values, wrong: Values) -> Values:
    """Error rate of the k most confident images; of equal ones the mean over their orders."""
    order = np.argsort(-confidence, kind="stable")
    errors = wrong[order].astype(float)
    for value in np.unique(confidence):
        errors[confidence[order] == value] = wrong[confidence == value].mean()
    return np.cumsum(errors) / np.arange(1, len(errors) + 1)


def scores(kept: dict[str, Values]) -> dict[str, float]:
    """Every score, from one value per image."""
    right = kept["prediction"] == kept["label"]
    confidence, entropy = kept["confidence"], kept["entropy"]
    curve, best = risks(confidence, ~right), risks(right.astype(float), ~right)
    found = {
        "accuracy": 100 * right.mean(),
        "error": 100 * (~right).mean(),
        "ece": gap(confidence, right),
        "uce": gap(entropy / np.log(CLASSES), ~right),
        "nll": kept["nll"].mean(),
        "brier": kept["brier"].mean(),
        "entropy": entropy.mean(),
        "aurc": curve.mean(),
        "eaurc": curve.mean() - best.mean(),
    }
    if "mutual_information" in kept:
        found["mutual_information"] = kept["mutual_information"].mean()
    return found


def test_every_score_of_that_seed_follows(records: list[RunRecord]) -> None:
    for record in keeping(records):
        quality = record.body.quality
        assert quality.seeds[0] == record.subject.seed == 3
        again = scores(dict(record.arrays))
        told = {name: values[0] for name, values in quality.scores.items()}
        assert {name for name, value in told.items() if value is not None} == set(again)
        for name, value in again.items():
            assert told[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name
        right = record.arrays["prediction"] == record.arrays["label"]
        assert not right.all(), "there is something to tell apart"
        assert quality.risk_coverage["risk"][-1] == pytest.approx(1 - right.mean())


def test_the_hash_of_the_artefact_is_that_of_its_file(
    records: list[RunRecord], tmp_path: Path
) -> None:
    prepared = prepare(plan())
    told = {record.subject.format: record.body.artefact for record in records}
    assert len(set(told.values())) == len(told) == 3
    for name, digest in told.items():
        path = tmp_path / f"{name}.safetensors"
        save(prepared.artefact(name), path)
        assert artefact_hash(load(path)) == digest
        assert digest.encode() in path.read_bytes()[:2000], "it stands in the file"
