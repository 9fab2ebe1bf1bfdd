"""`sigmabench weights` end to end on the embedded digits: stored layer by layer, resumed, shown
again; and what was published before it stored records."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from studied import studied

from sigmabench.harness.cli.main import main
from sigmabench.harness.records.store import Policy, Store
from sigmabench.harness.records.weights_record import WEIGHTS
from sigmabench.harness.studies.weights import measure
from sigmabench.harness.studies.weights.plan import plan

RESULTS = Path(__file__).parents[2] / "results"
LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]


def call(results: Path, *options: str) -> Result:
    given = ["--formats", "FP32,INT8,INT8_SIGMA1", "--passes", "2", "--results", str(results)]
    return CliRunner().invoke(main, ["weights", "lenet-digits", *given, *options])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    path, out = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("out")
    return path, out, call(path, "--out", str(out))


def test_each_layer_is_a_record(stored: tuple[Path, Path, Result]) -> None:
    path, out, told = stored
    assert told.exit_code == 0, told.output
    records = Store(path, WEIGHTS).records("lenet-digits")
    assert [one.subject.layer for one in records] == LAYERS
    labels = ["FP32", "INT8", "INT8_SIGMA1", "INT8 paper", "INT8_SIGMA1 paper"]
    for record in records:
        assert [one.label for one in record.body.ranges] == labels
        assert {one.layer for one in record.body.ranges} == {record.subject.layer}
    names = {path.name for path in out.iterdir()}
    pictures = {f"lenet-digits-weights{v}.{k}" for v in ("", "-paper") for k in ("svg", "png")}
    assert names == {"lenet-digits-weights.md", *pictures}


def test_what_was_finished_is_not_sampled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = plan("lenet-digits", scoring=True, formats=("FP32", "INT8"), passes=2)
    original, sampled = measure.WeightsMeasurer.layer, []

    def killed(self: measure.WeightsMeasurer, name: str, *given: int) -> object:
        sampled.append(name)
        if sampled.count("fc1") > 1 or name == "fc2":
            raise KeyboardInterrupt
        return original(self, name, *given)

    monkeypatch.setattr(measure.WeightsMeasurer, "seconds", lambda *_: 0.0)
    monkeypatch.setattr(measure.WeightsMeasurer, "layer", killed)
    with pytest.raises(KeyboardInterrupt):
        studied("weights", asked, tmp_path)
    assert [one.subject.layer for one in Store(tmp_path, WEIGHTS).records()] == LAYERS[:3]
    sampled.clear()
    monkeypatch.setattr(
        measure.WeightsMeasurer,
        "layer",
        lambda self, name, *given: sampled.append(name) or original(self, name, *given),
    )
    records = studied("weights", asked, tmp_path)
    assert sampled == LAYERS[3:]
    assert [one.subject.layer for one in records] == LAYERS
    assert studied("weights", asked, tmp_path, policy=Policy.NEVER) == records
    whole = studied("weights", asked, tmp_path / "whole")
    assert [one.body for one in whole] == [one.body for one in records]


def test_reading_shows_the_same(stored: tuple[Path, Path, Result]) -> None:
    path, out, first = stored
    again = call(path, "--policy", "never")
    assert again.exit_code == 0, again.output
    head, _, table = again.stdout.partition("Range of")
    assert head.rstrip().endswith(Store(path, WEIGHTS).records()[0].created[:10])
    assert first.stdout.startswith(f"Range of{table}".rstrip("\n"))
    asked = ["report", "lenet-digits", "--study", "weights", "--results", str(path)]
    told = CliRunner().invoke(main, [*asked, "--format", "markdown"])
    assert told.exit_code == 0, told.output
    assert told.stdout.rstrip() == (out / "lenet-digits-weights.md").read_text().rstrip()


def test_what_was_published_is_shown_as_it_was() -> None:
    asked = ["report", "resnet20-cifar10", "--study", "weights", "--results", str(RESULTS)]
    told = CliRunner().invoke(main, [*asked, "--format", "markdown"])
    assert told.exit_code == 0, told.output
    published = RESULTS / "report" / "resnet20-cifar10" / "resnet20-cifar10-weights.md"
    assert told.stdout.rstrip() == published.read_text().rstrip()
