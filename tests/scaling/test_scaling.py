"""How throughput scales, as a study: which settings, what is stored, and what is said of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from report import factory
from scipy import stats
from studied import studied

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.cores import usable_cores
from sigmabench.harness.machine.placement import divisions, ladder
from sigmabench.harness.machine.topology import Topology
from sigmabench.harness.records.scaling_record import (
    SCALINGS,
    InstanceSetting,
    Scaled,
    ScalingBody,
    ScalingRecord,
    Window,
)
from sigmabench.harness.records.store import Store
from sigmabench.harness.stats.throughput import Rate, images_per_second, latency_ms, p99_ms, times
from sigmabench.harness.studies.scaling.analyse import analyse, found_in, limits
from sigmabench.harness.studies.scaling.document import conclusions, document
from sigmabench.harness.studies.scaling.plan import plan, settings

DIGITS = "lenet-digits"


def scaled(
    instances: int, cores: int, rates: list[float], ms: float = 1.0, batch: int = 1
) -> Scaled:
    """A setting whose instances answer so many queries per second together, in each round."""
    windows = tuple(
        Window(2.0, (2.0 * rate / instances,) * instances, ms * 1e6, 3e6 * ms) for rate in rates
    )
    pinned = tuple((n,) for n in range(instances))
    return Scaled(InstanceSetting(instances, cores, 0, batch), pinned, windows)


def record(*found: Scaled, topology: Topology | None = None) -> ScalingRecord:
    made = factory.scaling()
    pairs = tuple((one.setting.instances, one.setting.cores) for one in found)
    there = topology or Topology.of(1, 2)
    return replace(
        made,
        subject=replace(made.subject, settings=pairs),
        body=ScalingBody(10, found, there.cpus, (), made.body.references),
    )


def test_a_rate_is_a_geometric_mean_with_students_interval() -> None:
    one = scaled(2, 1, [100.0, 110.0, 130.0], batch=8)
    logs = np.log([800.0, 880.0, 1040.0])
    found = images_per_second(one)
    half = stats.t.ppf(0.975, 2) * logs.std(ddof=1) / math.sqrt(3)
    assert found.value == pytest.approx(math.exp(logs.mean()))
    assert (found.low, found.high) == pytest.approx(
        (math.exp(logs.mean() - half), math.exp(logs.mean() + half))
    )
    assert images_per_second(scaled(1, 1, [100.0])) == Rate(pytest.approx(100.0))


def test_a_ratio_is_formed_round_by_round() -> None:
    found = times(scaled(2, 1, [20.0, 40.0, 80.0]), scaled(1, 1, [10.0, 20.0, 40.0]))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert found.shown_to_differ == 1
    assert times(scaled(1, 1, [10.0]), scaled(1, 1, [20.0])).shown_to_differ == 0


def test_latencies_are_means_of_the_rounds() -> None:
    one = scaled(1, 1, [1.0, 1.0], ms=2.0)
    assert (latency_ms(one), p99_ms(one)) == pytest.approx((2.0, 6.0))
    few = replace(one, windows=(one.windows[0], replace(one.windows[1], p99_ns=None)))
    assert p99_ms(few) is None


def test_which_numbers_of_cores_are_tried() -> None:
    assert ladder(1) == [1]
    assert ladder(6) == [1, 2, 3, 4, 5, 6]
    assert ladder(48) == [*range(1, 9), 16, 32, 48]
    assert divisions(12) == [(1, 12), (2, 6), (3, 4), (4, 3), (6, 2), (12, 1)]


def test_which_settings_are_tried() -> None:
    assert settings(2) == ((1, 1), (1, 2), (2, 1))
    assert settings(4) == ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))
    assert settings(2, oversubscribe=True) == ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1))
    assert settings(32, instances=(2, 4)) == ((2, 16), (4, 8))
    assert settings(32, cores=(8,)) == ((4, 8),)
    assert settings(32, instances=(1, 2), cores=(4, 8)) == ((1, 4), (1, 8), (2, 4), (2, 8))


def test_what_is_said_of_two_cores() -> None:
    one, two = [100.0, 101.0, 99.0], [150.0, 151.0, 149.0]
    found = found_in(record(scaled(1, 1, one), scaled(1, 2, two), scaled(2, 1, [180.0] * 3, 2.0)))
    threads, best = conclusions(found)
    assert threads.startswith("INT8, batch 1, T = 10: 2 threads of one process answer 1.50 times")
    assert threads.endswith("as many images/s as one thread, which is 75 % per core.")
    assert best.startswith("INT8, batch 1, T = 10: 2 instances with 1 core each answer 1.20 times")
    assert best.endswith("as 1 instance with 2 cores; a query takes 2.00× as long.")


def test_a_difference_within_the_spread_is_not_called_one() -> None:
    found = found_in(record(scaled(1, 2, [100.0, 140.0]), scaled(2, 1, [130.0, 120.0])))
    assert conclusions(found) == [
        "INT8, batch 1, T = 10: no setting is shown to answer more images/s than 1 instance with 2 "
        "cores."
    ]


def test_what_shares_cores_is_not_the_best() -> None:
    four = replace(scaled(4, 1, [150.0] * 3), pinned=((0,), (1,), (0,), (1,)))
    found = found_in(record(scaled(1, 1, [75.0] * 3), scaled(1, 2, [100.0] * 3), four))
    assert found.best is found.whole
    assert found.rows[2].per_core == pytest.approx(1.0)  # of two cores, which four share
    (sheet,) = document([found]).sheets
    assert "Settings of more than 2 threads in all share the cores." in sheet.notes


@pytest.mark.parametrize(
    ("machine", "lacking"),
    [
        (Topology.of(1, 2), ["how many cores", "another memory node or socket"]),
        (Topology.of(1, 16, nodes=2), ["another socket"]),
        (Topology.of(1, 16), ["another memory node or socket"]),
        (Topology.of(2, 16), []),
    ],
)
def test_what_a_machine_cannot_show_is_said(machine: Topology, lacking: list[str]) -> None:
    told = list(limits(machine.cpus))
    assert len(told) == len(lacking)
    assert all(part in line for part, line in zip(lacking, told, strict=True))


def test_documents(tmp_path: Path) -> None:
    failed = replace(scaled(2, 1, []), unavailable="Instance 2 of 2 ended with status -9.")
    both = [record(scaled(1, 1, [10.0, 11.0]), failed), record(scaled(1, 1, [5.0, 9.0], batch=8))]
    (found,) = analyse(both)
    shown = document(found)
    assert len(shown.sheets) == 2
    assert "2 instances with 1 core each could not be measured: Instance 2" in " ".join(
        shown.sheets[0].notes
    )
    assert "Do not rely on these" in " ".join(shown.sheets[1].notes)
    assert shown.conclusions[-1].startswith("With 2 cores on 1 memory node, this machine cannot")
    (figure,) = shown.figures()
    assert len(figure.panels) == 2


def test_a_race_is_stored_whole(tmp_path: Path) -> None:
    """One instance with one core, really started; the command then reads what was stored."""
    asked = {"formats": ("INT8",), "batch": (2,), "mc": 2, "instances": (1,), "cores": (1,)}
    given: Any = {**asked, "rounds": 1, "seconds": 0.05}
    (found,) = studied("scaling", plan(DIGITS, scoring=True, **given)[0], tmp_path)
    (one,) = found.body.settings
    assert not one.unavailable
    assert (one.setting, len(one.windows)) == (InstanceSetting(1, 1, 0, 2), 1)
    assert one.windows[0].queries[0] > 0
    assert len(one.pinned[0]) == 1
    assert {reference.name for reference in found.body.references} >= {"copy"}
    command = [
        "scaling", DIGITS, "--batch", "2", "--mc", "2", "--instances", "1", "--cores", "1",
        "--rounds", "1", "--seconds", "0.05", "--results", str(tmp_path), "--json",
    ]  # fmt: skip
    told = CliRunner().invoke(main, command, catch_exceptions=False)
    (values,) = json.loads(told.stdout)
    assert values["figures"][0]["instances"] == 1
    assert Store(tmp_path, SCALINGS).records(DIGITS) == [found]


def test_records_of_other_settings_are_shown(tmp_path: Path) -> None:
    """A machine with other numbers of cores has other settings."""
    planned = plan(DIGITS, scoring=False, batch=(1,))[0]
    (subject,) = planned.subjects()
    made = replace(factory.scaling(), subject=replace(subject, settings=((1, 48),)))
    made = replace(made, body=replace(made.body, settings=(scaled(1, 48, [1.0]),)))
    Store(tmp_path, SCALINGS).save(made)
    command = [
        "scaling", DIGITS, "--batch", "1", "--results", str(tmp_path), "--policy", "never",
    ]  # fmt: skip
    told = CliRunner().invoke(main, command, catch_exceptions=False)
    assert " 48 " in told.stdout


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (
            {"instances": (5000,)},
            "5,000 instances with 1 core each need 5,000, but this process may",
        ),
        ({"cores": (5000,)}, "1 instance with 5,000 cores needs 5,000, but this process may use"),
        ({"instances": (0,)}, "--instances is 0; give a whole number"),
        ({"rounds": 0}, "--rounds is 0"),
        ({"seconds": 0.0}, "--seconds is 0.0"),
    ],
)
def test_bad_choices_are_one_sentence(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan(DIGITS, scoring=True, **choices)


def test_more_than_the_cores_has_to_be_asked_for() -> None:
    there = usable_cores()
    asked = plan(DIGITS, scoring=True, instances=(2 * there,), cores=(1,), oversubscribe=True)[0]
    assert asked.settings == ((2 * there, 1),)
