"""Tuning: which settings are tried, which is chosen, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from report import factory
from studied import studied

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.topology import Topology
from sigmabench.harness.records.scaling_record import InstanceSetting, Scaled, Window
from sigmabench.harness.records.store import Policy
from sigmabench.harness.stats.goal import meets, ranked, slowest_ms
from sigmabench.harness.studies.tune import measure
from sigmabench.harness.studies.tune.analyse import Tuned, analyse
from sigmabench.harness.studies.tune.document import conclusions, document
from sigmabench.harness.studies.tune.plan import candidates, plan

DIGITS = "lenet-digits"


def made(
    instances: int, batch: int, rates: Sequence[float], ms: float, tail: float | None
) -> Scaled:
    """A setting with so many images per second in each round."""
    windows = tuple(
        Window(1.0, (rate / batch / instances,) * instances, ms * 1e6, tail and tail * 1e6)
        for rate in rates
    )
    return Scaled(InstanceSetting(instances, 1, 1, batch), ((0,),) * instances, windows)


SLOW = made(1, 1, [100.0], 1.0, 2.0)
WIDE = made(2, 32, [900.0], 30.0, 50.0)
MIDDLE = made(2, 8, [500.0], 8.0, 10.0)


def test_settings_worth_a_try() -> None:
    found = candidates(4, (1,))
    assert [(one.instances, one.cores, one.team) for one in found] == [
        (1, 4, 1), (1, 4, 2), (1, 4, 4), (2, 2, 1), (2, 2, 2), (4, 1, 1),
        (1, 1, 1), (1, 2, 1), (1, 2, 2), (1, 3, 1), (1, 3, 3),
    ]  # fmt: skip
    assert len(candidates(2, (1, 8))) == 8


def test_the_most_images_win_unless_a_query_takes_too_long() -> None:
    all_of_them = [SLOW, WIDE, MIDDLE]
    assert ranked(all_of_them, "throughput", 0.0) == [WIDE, MIDDLE, SLOW]
    assert ranked(all_of_them, "throughput", 20.0) == [MIDDLE, SLOW, WIDE]
    assert ranked(all_of_them, "throughput", 1.0) == [SLOW, MIDDLE, WIDE]  # by how far they miss it


def test_the_shortest_queries_win_unless_images_are_too_few() -> None:
    all_of_them = [WIDE, MIDDLE, SLOW]
    assert ranked(all_of_them, "latency", 0.0) == [SLOW, MIDDLE, WIDE]
    assert ranked(all_of_them, "latency", 300.0) == [MIDDLE, WIDE, SLOW]
    assert ranked(all_of_them, "latency", 5000.0) == [WIDE, MIDDLE, SLOW]
    assert meets(SLOW, "latency", 100.0 - 1e-9)
    assert not meets(SLOW, "latency", 100.1)


def test_without_a_percentile_twice_the_median_counts() -> None:
    few = made(1, 1, [10.0], 4.0, None)
    assert slowest_ms(few) == pytest.approx(8.0)
    assert not meets(few, "throughput", 7.9)
    assert ranked([replace(few, windows=(), unavailable="It failed.")], "throughput", 0.0) == []


def tuned(*finalists: Scaled, **changes: Any) -> Tuned:
    record = factory.tuning()
    subject = replace(record.subject, **changes)
    body = replace(record.body, finalists=finalists)
    ((found,),) = analyse([replace(record, subject=subject, body=body)])
    return found


def test_what_is_said_of_the_best() -> None:
    best = made(2, 8, [500.0, 505.0, 495.0], 8.0, 10.0)
    near = made(2, 32, [490.0, 510.0, 480.0], 30.0, 50.0)
    far = made(1, 1, [100.0, 101.0, 99.0], 1.0, 2.0)
    found = tuned(far, near, best)
    assert found.finalists == (best, near, far)
    first, pinned, alike = conclusions(found)
    assert first == (
        "For the most images per second: 2 instances with 1 core each, 1 thread per pass, batch 8, "
        "with 500 images/s and a median query of 8.00 ms (99th percentile 10.0 ms)."
    )
    assert pinned == "Pin its instances to these cores: 0; 0."
    assert alike == (
        "Not shown to serve it less well: 2 instances with 1 core each, 1 thread per pass, batch "
        "32."
    )
    by_latency = tuned(far, near, best, goal="latency")
    assert by_latency.best is far
    assert by_latency.alike == []


def test_a_goal_that_none_meets_is_said() -> None:
    (said,) = conclusions(tuned(made(1, 1, [100.0] * 3, 5.0, 9.0), bound=1.0))
    assert said == (
        "No setting that was tried meets the goal (most images per second with queries within 1 "
        "ms); nearest is 1 instance with 1 core, 1 thread per pass, batch 1, with 100 images/s and "
        "a median query of 5.00 ms (99th percentile 9.00 ms)."
    )


def test_documents() -> None:
    shown = document([tuned(WIDE, MIDDLE)], full=True)
    final, tried = shown.sheets
    assert [row[3] for row in final.rows] == ["32", "8"]
    assert tried.title == "All settings that were tried"
    assert {row["final"] for row in shown.data["tune"]} == {False, True}


class FakeHanded:
    """Files that nobody reads."""

    def __init__(self, *given: Any) -> None: ...

    def __enter__(self) -> FakeHanded:
        return self

    def __exit__(self, *error: object) -> None: ...

    def pass_seconds(self, batch: int) -> float:
        return 0.001 * batch

    def job(self, batch: int, mc: int) -> dict[str, Any]:
        return {"batch": batch, "mc": mc}


def test_all_are_tried_once_and_the_best_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger batches have more images, and instances add up; one setting fails."""
    calls: list[tuple[list[InstanceSetting], int]] = []

    def turns(
        work: Any, settings: Sequence[InstanceSetting], topology: Topology, rounds: int, rest: Any
    ) -> list[Scaled]:
        calls.append((list(settings), rounds))
        rest(0)
        assert work[8].job == {"batch": 8, "mc": 3}
        found = [made(one.instances, one.batch, [one.batch] * rounds, 1.0, 2.0) for one in settings]
        found = [replace(one, setting=asked) for one, asked in zip(found, settings, strict=True)]
        if rounds == 1:
            found[0] = replace(found[0], windows=(), unavailable="It failed.")
        return found

    monkeypatch.setattr(measure, "Handed", FakeHanded)
    monkeypatch.setattr(measure, "in_turns", turns)
    asked = plan(DIGITS, scoring=True, mc=3, batch=(1, 8, 16), rounds=2)[0]
    (record,) = studied("tune", asked, tmp_path)
    (tried, once), (left, rounds) = calls
    assert tuple(tried) == record.subject.settings
    assert (once, rounds) == (1, 2)
    assert len(left) == min(measure.FINALISTS, len(tried) - 1)
    assert left[0].batch == 16
    told = CliRunner().invoke(
        main,
        ["tune", DIGITS, "--mc", "3", "--batch", "1,8,16", "--rounds", "2", "--json",
         "--results", str(tmp_path)],
        catch_exceptions=False,
    )  # fmt: skip
    (values,) = json.loads(told.stdout)
    assert values["best"]["batch"] == 16
    other = plan(DIGITS, scoring=False, mc=4, batch=(1, 8, 16), rounds=2)[0]
    with pytest.raises(UserError, match=r"study \(the nearest has mc 3, not 4\); ask for"):
        studied("tune", other, tmp_path, policy=Policy.NEVER)


def test_that_none_could_be_measured_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = replace(SLOW, windows=(), unavailable="Instance 1 of 1 ended with status -9.")
    monkeypatch.setattr(measure, "Handed", FakeHanded)
    monkeypatch.setattr(measure, "in_turns", lambda *given: [failed])
    with pytest.raises(UserError, match="No setting could be measured: Instance 1 of 1 ended"):
        studied("tune", plan(DIGITS, scoring=True)[0], tmp_path)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"goal": "speed"}, "speed"),
        ({"within": 5.0, "goal": "latency"}, "--within is for --goal throughput"),
        ({"at_least": 5.0}, "--at-least is for --goal latency"),
        ({"within": 0.0}, "--within is 0.0; give a number above 0"),
        ({"within": float("nan")}, "--within is nan"),
        ({"rounds": 0}, "--rounds is 0"),
    ],
)
def test_bad_choices_are_one_sentence(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan(DIGITS, scoring=True, **choices)
