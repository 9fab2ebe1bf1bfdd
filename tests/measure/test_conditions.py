"""What the machine did while something was timed: read, put together, and named as a cause."""

from __future__ import annotations

import mmap
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from report import factory

from sigmabench.harness.bundle.ledger import Ledger
from sigmabench.harness.bundle.origin import check_origin
from sigmabench.harness.machine import energy, usage
from sigmabench.harness.measure import watch as watch_module
from sigmabench.harness.measure.noise_cause import CAUSE, explained, likely_cause
from sigmabench.harness.measure.watch import CoreWatch
from sigmabench.harness.records.record_file import from_json, to_json
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.timed_conditions import Conditions, of_all_processes
from sigmabench.harness.records.verdict import verdict
from sigmabench.harness.report.conditions_note import meanwhile, unreadable
from sigmabench.harness.report.values import values
from sigmabench.harness.studies.study import Measured

QUIET = Conditions(
    seconds=10.0,
    cores=2,
    steal_seconds=0.0,
    voluntary_switches=500,
    involuntary_switches=10,
    minor_faults=1000,
    major_faults=0,
    unavailable={"energy_joules": "no counter", "clock_least_mhz": "no", "clock_most_mhz": "no"},
)
STAT = """cpu  10 0 10 100 0 0 0 999 0 0
cpu0 10 0 10 100 0 0 0 30 0 0
cpu1 10 0 10 100 0 0 0 12 0 0
cpu10 10 0 10 100 0 0 0 500 0 0
intr 3
"""


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders in place of the system's, with nothing in them."""
    monkeypatch.setattr(usage, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(usage, "_CPUS", tmp_path / "cpu")
    monkeypatch.setattr(usage, "_THERMAL", tmp_path / "thermal")
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path / "powercap")
    monkeypatch.setattr(energy, "_POWER", tmp_path / "power")
    return tmp_path


def test_steal_is_that_of_the_cores_that_are_asked_for(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage.os, "sysconf", lambda _: 100)
    put(machine / "stat", STAT)
    assert usage.usage([0, 1]).steal_seconds == pytest.approx(0.42)
    assert usage.usage([1]).steal_seconds == pytest.approx(0.12)
    put(machine / "stat", "cpu0 10 0 10 100 0 0 0\n")  # of a kernel that counts none
    assert usage.usage([0]).steal_seconds is None
    (machine / "stat").unlink()
    assert usage.usage([0]).steal_seconds is None


def test_clock_heat_and_throttling_are_read_where_they_are(machine: Path) -> None:
    assert usage.clocks_mhz([0, 1]) == []
    assert usage.temperature_celsius() is None
    assert usage.usage([0]).throttled_times is None
    for core, mhz in ((0, 2100), (1, 3000), (2, 800)):
        put(machine / f"cpu/cpu{core}/cpufreq/scaling_cur_freq", 1000 * mhz)
        put(machine / f"cpu/cpu{core}/thermal_throttle/core_throttle_count", 5)
        put(machine / f"cpu/cpu{core}/thermal_throttle/package_throttle_count", 7)
        put(machine / f"cpu/cpu{core}/topology/physical_package_id", core // 2)
    put(machine / "thermal/thermal_zone0/temp", 41000)
    put(machine / "thermal/thermal_zone1/temp", 66500)
    put(machine / "thermal/thermal_zone2/temp", "broken")
    assert usage.clocks_mhz([0, 1]) == [2100.0, 3000.0]
    assert usage.temperature_celsius() == 66.5
    assert usage.usage([0, 1]).throttled_times == 5 + 5 + 7  # one processor
    assert usage.usage([0, 1, 2]).throttled_times == 5 + 5 + 5 + 7 + 7


def test_what_this_process_does_is_counted() -> None:
    watch, pages = CoreWatch(), 512
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(pages):
            memory[page * mmap.PAGESIZE] = 1
    for _ in range(20):
        time.sleep(0.0005)
    found = watch.conditions
    assert found.minor_faults is not None
    assert found.minor_faults >= pages
    assert found.voluntary_switches is not None
    assert found.voluntary_switches >= 20
    assert found.seconds > 0.01
    assert watch.conditions is found  # as it was when it was first asked


def test_what_cannot_be_read_has_a_reason_and_nothing_else_has(machine: Path) -> None:
    found = CoreWatch().conditions
    lacking = {
        one.name
        for one in fields(found)
        if one.name != "unavailable" and getattr(found, one.name) is None
    }
    assert set(found.unavailable) == lacking
    assert {"steal_seconds", "clock_least_mhz", "energy_joules", "throttled_times"} <= lacking
    assert all(found.unavailable.values())


def test_clock_and_heat_are_looked_at_in_pauses_but_not_in_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, clocks = [0.0], iter([[1000.0, 1100.0], [900.0], [2000.0]])
    monkeypatch.setattr(watch_module, "_now", lambda: now[0])
    monkeypatch.setattr(watch_module, "clocks_mhz", lambda _: next(clocks))
    monkeypatch.setattr(watch_module, "temperature_celsius", lambda: 40.0 + now[0])
    watch = CoreWatch()
    for moment in (1.0, 1.5, 2.1):
        now[0] = moment
        watch.look()
    found = watch.conditions  # 2.1 s: no look is due
    assert (found.clock_least_mhz, found.clock_most_mhz) == (900.0, 1100.0)
    assert found.temperature_celsius == 42.1


def rapl(machine: Path, microjoules: int, package: int = 0) -> None:
    folder = machine / f"powercap/intel-rapl:{package}"
    put(folder / "energy_uj", microjoules)
    put(folder / "max_energy_range_uj", 262_143_000_000)
    put(machine / f"powercap/intel-rapl:{package}:0/energy_uj", 77 * microjoules)  # a part of it


def test_energy_is_that_of_all_processors(machine: Path) -> None:
    rapl(machine, 1_000_000)
    rapl(machine, 5_000_000, 1)
    meter = energy.EnergyMeter()
    rapl(machine, 3_500_000)
    rapl(machine, 5_250_000, 1)
    assert meter.joules() == pytest.approx(2.75)


def test_an_energy_counter_that_begins_anew(machine: Path) -> None:
    rapl(machine, 262_142_000_000)
    meter = energy.EnergyMeter()
    rapl(machine, 2_000_000)
    assert meter.joules() == pytest.approx(3.0)


def test_no_joules_are_no_energy(machine: Path) -> None:
    rapl(machine, 1_000_000)
    meter = energy.EnergyMeter()
    assert meter.joules() is None
    assert "reads 0.00 J" in meter.reason
    assert "reads 0.00 J" in energy.energy()


def test_energy_that_cannot_be_read_has_its_reason(machine: Path) -> None:
    assert "RAPL" in energy.EnergyMeter().reason
    assert energy.EnergyMeter().joules() is None
    put(machine / "powercap/intel-rapl:0/energy_uj", "")
    assert "cannot be read" in energy.energy()


def test_energy_by_perf_events(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(machine / "power/type", 23)
    put(machine / "power/cpumask", "0,16-17")
    put(machine / "power/events/energy-pkg", "event=0x02")
    put(machine / "power/events/energy-pkg.scale", "0.5")
    opened: list[tuple[int, int, int, int]] = []
    counts = machine / "counts"

    def open_counter(kind: int, config: int, pid: int, cpu: int, flags: int) -> int | str:
        opened.append((kind, config, pid, cpu))
        return energy.os.open(counts, energy.os.O_RDONLY)

    monkeypatch.setattr(energy.counters, "open_counter", open_counter)
    counts.write_bytes(b"".join(n.to_bytes(8, "little") for n in (10, 16)))  # read one by one
    meter = energy.EnergyMeter()
    assert opened == [(23, 2, -1, 0), (23, 2, -1, 16)]
    assert meter.joules() == pytest.approx(2 * 0.5 * (16 - 10))
    monkeypatch.setattr(energy.counters, "open_counter", lambda *_, **__: "not permitted")
    assert energy.EnergyMeter().reason == "unavailable: not permitted"


def test_processes_together() -> None:
    first = replace(QUIET, clock_least_mhz=2000.0, clock_most_mhz=2500.0, energy_joules=3.0)
    second = replace(first, seconds=5.0, clock_least_mhz=2100.0, clock_most_mhz=3000.0)
    both = of_all_processes([first, second])
    assert both is not None
    assert (both.seconds, both.cores, both.involuntary_switches) == (15.0, 2, 20)
    assert (both.clock_least_mhz, both.clock_most_mhz, both.energy_joules) == (2000, 3000, 6.0)
    partly = of_all_processes([first, QUIET])
    assert partly is not None
    assert partly.energy_joules is None
    assert of_all_processes([first, None]) is None


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"steal_seconds": 0.62}, "steal (3.1 %)"),  # of 20 core seconds
        ({"involuntary_switches": 200}, "involuntary context switches (3.0 %)"),  # 3 ms each
        ({"minor_faults": 400_000}, "page faults (2.0 %)"),  # 1 µs each
        ({"major_faults": 80}, "pages read from a disk (2.0 %)"),  # 5 ms each
        (
            {"steal_seconds": 0.4, "involuntary_switches": 200},
            "involuntary context switches (3.0 %), steal (2.0 %)",
        ),
        ({"steal_seconds": 0.19, "involuntary_switches": 60, "minor_faults": 0}, "none is seen"),
        (
            {"clock_least_mhz": 2000.0, "clock_most_mhz": 2600.0},
            "a clock that varied (30.0 %)",
        ),
        ({"throttled_times": 3}, "the processor slowed down for heat"),
        ({"throttled_times": 0, "voluntary_switches": 10**7}, "none is seen"),
        (
            {"steal_seconds": None, "involuntary_switches": 33},
            "none is seen (involuntary context switches 0.5 %, page faults 0.0 %, pages read from "
            "a disk 0.0 %)",
        ),
    ],
)
def test_the_likely_cause_of_noise(changes: dict[str, Any], cause: str) -> None:
    found = likely_cause(replace(QUIET, **changes))
    assert found == cause or (cause == "none is seen" and found.startswith(cause))


def test_noise_that_fails_has_its_cause_among_the_findings() -> None:
    loud = verdict({"noise": "fail: run-to-run noise 20 % is above 15 %"}, ("one", f"{CAUSE}old"))
    stolen = replace(QUIET, steal_seconds=2.0)
    found = explained(loud, stolen)
    assert found is not None
    assert found.findings == ("one", f"{CAUSE}steal (10.0 %)")
    assert (found.quality, found.speed, found.fidelity) == (loud.quality, loud.speed, loud.fidelity)
    quiet = explained(verdict({"noise": "pass"}, ("one", f"{CAUSE}old")), stolen)
    assert quiet is not None
    assert quiet.findings == ("one",)
    assert explained(None, stolen) is None
    unknown = explained(loud, None)
    assert unknown is not None
    assert unknown.findings == ("one",)


def test_a_record_keeps_them() -> None:
    made = factory.record()
    judged = verdict({"noise": "fail: too much"})
    measured = Measured(made.subject, made.body, judged, {}, replace(QUIET, major_faults=800))
    record = measured.record(RUN_RECORDS, made.fingerprint, "sigmabench run")
    again = from_json(to_json(RUN_RECORDS, record).encode(), "here", RUN_RECORDS)
    assert again == record
    assert again.provenance.conditions == replace(QUIET, major_faults=800)
    assert again.verdict.findings == (f"{CAUSE}pages read from a disk (20.0 %)",)
    found = {one.metric: one for one in values(again)}
    assert found["conditions.involuntary_switches"].value == 10
    assert found["conditions.steal_seconds"].unit == "s"
    assert "conditions.energy_joules" not in found


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, []),
        ({"temperature_celsius": -5.0}, []),
        ({"minor_faults": -1}, ["minor_faults is below 0"]),
        ({"energy_joules": -0.5}, ["energy_joules is below 0"]),
        ({"steal_seconds": 20.5}, ["steal_seconds is more than the 20.0 s of its cores"]),
    ],
)
def test_conditions_that_cannot_be_are_named(changes: dict[str, Any], faults: list[str]) -> None:
    made = factory.record()
    told = replace(made.provenance, conditions=replace(QUIET, **changes))
    ledger = Ledger()
    check_origin(replace(made, provenance=told), ledger)
    found = [f"{one.field} {one.told}" for one in ledger.faults if "conditions" in one.field]
    assert found == [f"provenance.conditions.{one}" for one in faults]


def test_words_for_people() -> None:
    assert meanwhile([QUIET]) == [
        "Meanwhile the hypervisor gave 0.0 % of the cores' time to others; per second this process "
        "had 50.0 voluntary context switches, 1.00 involuntary ones, 100 minor page faults, 0 "
        "major ones."
    ]
    hot = replace(
        QUIET,
        clock_least_mhz=2000.0,
        clock_most_mhz=3000.0,
        temperature_celsius=66.4,
        energy_joules=125.0,
    )
    assert meanwhile([hot])[0].endswith(
        "; the clock was 2,000 to 3,000 MHz; the hottest sensor had 66 °C; the processors took "
        "12.5 W."
    )
    assert meanwhile([hot, None]) == meanwhile([]) == []
    assert unreadable(QUIET) == {"energy": "no counter", "clock": "no"}
    assert unreadable(None) == {}
