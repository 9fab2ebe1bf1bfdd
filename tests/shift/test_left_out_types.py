"""A type of corruption that cannot be made here is left out and named, unless it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.corruptions import frost
from sigmabench.harness.corruptions.registered import CORRUPTIONS
from sigmabench.harness.workload.conditions import shift_plan
from sigmabench.harness.workload.workload import resolve_workload


@pytest.fixture
def no_ice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frost, "find_spec", lambda name: None)
    monkeypatch.delenv("SIGMABENCH_DATA", raising=False)


def test_a_study_goes_on_without_and_says_so(no_ice):
    plan, told = shift_plan(resolve_workload("lenet-digits"), profile="full", ood=())
    assert set(plan.types) == set(CORRUPTIONS) - {"frost"}
    (line,) = told
    assert line.startswith("frost is left out: The corruption frost needs photographs of ice")


def test_a_type_that_was_asked_for_is_an_error(no_ice):
    with pytest.raises(UserError, match="leave frost out of --types"):
        shift_plan(resolve_workload("lenet-digits"), types=("fog", "frost"), ood=())


def test_the_contact_sheet_shows_the_others(no_ice, tmp_path: Path):
    out = tmp_path / "sheet.png"
    done = CliRunner().invoke(main, ["corruptions", "lenet-digits", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("frost is left out: ")
    assert out.is_file()
    asked = ["corruptions", "lenet-digits", "--types", "frost", "--out", str(tmp_path / "no.png")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2
    assert not (tmp_path / "no.png").exists()
