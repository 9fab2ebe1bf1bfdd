"""`sigmabench ablation` end to end on the embedded digits: stored one by one, resumed, shown again;
and what was published before it stored records."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from studied import studied

from sigmabench.harness.cli.main import main
from sigmabench.harness.records.ablation_record import ABLATIONS, BASE
from sigmabench.harness.records.store import Policy, Store
from sigmabench.harness.studies.ablation import measure
from sigmabench.harness.studies.ablation.plan import default_choices, plan

RESULTS = Path(__file__).parents[2] / "results"
ASKED = {"types": ("contrast",), "mc": 2, "limit": 12, "seeds": 2, "threads": 1}
FLAGS = ["--types", "contrast", "--mc", "2", "--limit", "12", "--seeds", "2", "--threads", "1"]


def call(results: Path, *options: str) -> Result:
    given = ["ablation", "lenet-digits", *FLAGS, "--results", str(results), *options]
    return CliRunner().invoke(main, given)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    path, out = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("out")
    return path, out, call(path, "--out", str(out))


def test_each_configuration_is_a_record(stored: tuple[Path, Path, Result]) -> None:
    path, out, told = stored
    assert told.exit_code == 0, told.output
    records = Store(path, ABLATIONS).records("lenet-digits")
    assert [one.subject.choice for one in records] == [BASE, *default_choices()]
    for record in records:
        assert record.values("clean").shape == (2, 12)
        assert record.values("contrast").shape == (2, 6)
        accuracy = sum(record.body.scores["clean"]["accuracy"]) / 2
        assert record.values("clean")[0].mean() == pytest.approx(accuracy)
        nll = sum(record.body.scores["contrast"]["nll"]) / 2
        assert record.values("contrast")[1].mean() == pytest.approx(nll)
    assert (out / "lenet-digits-ablation.md").read_text().count("| INT8 | dithered |") == 4


def test_what_was_finished_is_not_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = plan("lenet-digits", scoring=True, **ASKED)
    original, scored = measure.each_image, []

    def killed(*given: object) -> object:
        scored.append(given)
        if len(scored) > 2 * 3:  # sets of images of three configurations
            raise KeyboardInterrupt
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "each_image", killed)
    with pytest.raises(KeyboardInterrupt):
        studied("ablation", asked, tmp_path)
    assert len(Store(tmp_path, ABLATIONS).records()) == 3
    monkeypatch.setattr(measure, "each_image", original)
    told: list[tuple[str, int, int]] = []
    records = studied("ablation", asked, tmp_path, report=lambda *one: told.append(one))
    assert len(records) == 18
    assert ("INT8_SIGMA2", 0, 15 * 18) in told  # images of the fifteen that were left
    assert "Measuring" not in {phase for phase, _, _ in told}
    assert studied("ablation", asked, tmp_path, policy=Policy.NEVER) == records


def test_reading_shows_the_same(stored: tuple[Path, Path, Result]) -> None:
    path, out, first = stored
    again = call(path, "--policy", "never")
    assert again.exit_code == 0, again.output
    head, _, table = again.stdout.partition("Ablation: clean images")
    assert head.rstrip().endswith(Store(path, ABLATIONS).records()[0].created[:10])
    assert first.stdout.startswith(f"Ablation: clean images{table}".rstrip("\n"))
    asked = ["report", "lenet-digits", "--study", "ablation", "--results", str(path)]
    told = CliRunner().invoke(main, [*asked, "--format", "markdown"])
    assert told.exit_code == 0, told.output
    assert told.stdout.rstrip() == (out / "lenet-digits-ablation.md").read_text().rstrip()


def test_records_of_more_cores_than_there_are_here_can_be_asked_for(
    stored: tuple[Path, Path, Result],
) -> None:
    told = call(stored[0], "--policy", "never", "--threads", "4096")
    assert told.exit_code == 2
    assert "holds no record of this study" in told.stderr
    told = call(stored[0], "--threads", "4096")
    assert "--threads is 4096, but this process may use" in told.stderr


def test_without_fp32_nothing_is_compared(stored: tuple[Path, Path, Result]) -> None:
    asked = ["report", "lenet-digits", "--study", "ablation", "--results", str(stored[0])]
    records = Store(stored[0], ABLATIONS).records()
    since = records[1].created
    told = CliRunner().invoke(main, [*asked, "--since", since])
    assert told.exit_code == 0, told.output
    assert "difference" not in told.stdout
    assert "dithered" in told.stdout


def test_what_was_published_is_shown_as_it_was() -> None:
    asked = ["report", "resnet20-cifar10", "--study", "ablation", "--results", str(RESULTS)]
    told = CliRunner().invoke(main, [*asked, "--format", "markdown"])
    assert told.exit_code == 0, told.output
    published = RESULTS / "report" / "resnet20-cifar10" / "resnet20-cifar10-ablation.md"
    assert told.stdout.rstrip() == published.read_text().rstrip()
