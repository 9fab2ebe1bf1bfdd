"""Plugins: one that is broken costs what it would have added, and nothing else."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

from sigmabench.harness.cli.main import main
from sigmabench.harness.core import registry
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.registry import Registry
from sigmabench.harness.metrics.metric import METRICS, score
from sigmabench.harness.workload.workload import WORKLOADS, resolve_workload

BROKEN = "broken_plugin"


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One plugin that raises on import, one that ends the process, one that works, one that takes a
    name of ours, and some that are something else."""
    (tmp_path / f"{BROKEN}.py").write_text("raise OSError('no licence server')")
    (tmp_path / "leaving_plugin.py").write_text("import sys\nsys.exit('no GPU')")
    (tmp_path / "good_plugin.py").write_text("THING = len")
    monkeypatch.syspath_prepend(tmp_path)

    def entry_points(group: str) -> list[EntryPoint]:
        found = {
            "sigmabench.things": {"bad": f"{BROKEN}:X", "good": "good_plugin:THING", "own": "z:Z"},
            "sigmabench.metrics": {"bad": f"{BROKEN}:X"},
            "sigmabench.workloads": {
                "bad": f"{BROKEN}:X",
                "left": "leaving_plugin:X",
                "pi": "math:pi",
            },
            **{f"sigmabench.{kind}s": {"pi": "math:pi"} for kind in ("format", "backend")},
        }
        return [EntryPoint(name, value, group) for name, value in found.get(group, {}).items()]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    yield
    for name in (BROKEN, "good_plugin"):
        sys.modules.pop(name, None)


def things() -> Registry:
    return Registry("thing", {"own": "math:pi"})


def test_usable_ones_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    found = things()
    assert list(found.usable()) == ["own", "good"]
    assert list(found.usable()) == ["own", "good"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2, "each is told of once"
    assert "'own' is registered twice" in told[0]
    assert "no licence server" in told[1]
    assert set(found.broken) == {"bad", "own"}


def test_ours_stays_where_a_plugin_takes_its_name() -> None:
    assert things().get("own") == pytest.approx(3.14159, abs=1e-5)


def test_a_broken_one_is_refused_where_it_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"'bad'.*OSError: no licence server; fix or uninstall"):
        things().get("bad")


def test_a_module_that_ends_the_process_is_refused() -> None:
    with pytest.raises(UserError, match=r"'leaving_plugin:X' cannot be loaded: SystemExit: no GPU"):
        resolve_workload("leaving_plugin:X")


def test_a_reason_of_several_lines_is_told_by_its_first(tmp_path: Path) -> None:
    (tmp_path / "wordy_plugin.py").write_text(r"raise OSError('no licence\nserver\n\nask IT')")
    said = r"^The {} cannot be loaded: OSError: no licence; [^\n]*$"
    with pytest.raises(UserError, match=said.format(r"thing 'bad' \(wordy_plugin:X\)")):
        Registry("thing", {"bad": "wordy_plugin:X"}).get("bad")
    with pytest.raises(UserError, match=said.format("workload 'wordy_plugin:X'")):
        resolve_workload("wordy_plugin:X")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "torchvision:\0",
            r"no torchvision network .* named '\\x00'; known: alexnet, .* and \d+ more",
        ),
        ("torchvision:", r"no torchvision network .* named ''"),
        ("torchvision:../x", r"named '\.\./x'"),
        ("torchvision:\udce9", r"named '\\udce9'"),
        ("\udce9", r"no workload named '\\udce9'"),
        ("a\0b:C", r"'a\\x00b:C' cannot be loaded"),
        (":", "':' cannot be loaded: ValueError: Empty module name"),
        (".a:b", r"'\.a:b' cannot be loaded: TypeError"),
        ("os:\udce9", "'os:.udce9' cannot be loaded: AttributeError"),
        ("os.path:join", "'os.path:join' is a function; give the name of a Workload"),
        ("os:", "'os:' cannot be loaded: AttributeError"),
    ],
)
def test_names_that_no_workload_has_are_one_sentence(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        resolve_workload(name)
    assert str(caught.value).isprintable()
    assert str(caught.value).count("; ") == 1


def test_unknown_names_where_none_is_known() -> None:
    with pytest.raises(UserError, match=r"no widget named 'x'; there are none\.$"):
        Registry("widget", {}).get("x")


def test_one_of_ours_that_is_broken_is_no_plugin() -> None:
    with pytest.raises(UserError, match="cannot be loaded"):
        Registry("thing", {"own": "no_such_module:x"}).usable()


def test_a_run_goes_on_without_a_metric(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from sigmabench.harness.predict.loop import summarise

    monkeypatch.setattr(METRICS, "_scanned", False)
    monkeypatch.setattr(METRICS, "_targets", dict(METRICS._targets))
    monkeypatch.setattr(METRICS, "_foreign", set())
    monkeypatch.setattr(METRICS, "broken", {})
    found = score(summarise(torch.randn(3, 5, 4)), torch.zeros(5, dtype=torch.int64))
    assert "accuracy" in found
    assert "bad" not in found
    assert "goes on without a metric" in capsys.readouterr().err


def test_listing_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from sigmabench.harness.backends.base import BACKENDS
    from sigmabench.harness.core.formats import FORMATS

    for names in (WORKLOADS, FORMATS, BACKENDS, METRICS):
        monkeypatch.setattr(names, "_scanned", False)
        monkeypatch.setattr(names, "_targets", dict(names._targets))
        monkeypatch.setattr(names, "_foreign", set())
        monkeypatch.setattr(names, "broken", {})
    result = CliRunner().invoke(main, ["list"])
    assert result.exit_code == 0, result.output
    assert "lenet-digits" in result.output
    assert "SystemExit: no GPU" in WORKLOADS.broken["left"]
    for names in (WORKLOADS, FORMATS, BACKENDS):
        assert f"(math:pi) is no {names.kind} but of type float" in names.broken["pi"]
