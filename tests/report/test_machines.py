"""Unlike machines never share a table, and times of different races never a ratio."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import factory
import pytest
from records_made import changed

from sigmabench.harness.machine.fingerprint import IN_PART, Fingerprint, Machine
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Policy, Store, fingerprint_hash
from sigmabench.harness.report import cost_sheets, page, table
from sigmabench.harness.report.rows import sections
from sigmabench.harness.studies.compare.measure import compare

VNNI = ("avx2", "avx512f", "avx512_vnni")
AMX = (*VNNI, "amx_tile", "amx_int8")
NAME = "Intel(R) Xeon(R) Processor"


def machine(isa: tuple[str, ...] = VNNI, **changes: object) -> Machine:
    whole = Machine(
        vendor="GenuineIntel",
        name=NAME,
        family="6",
        model="143",
        stepping="8",
        isa=isa,
        cores=2,
        threads=2,
        caches={"L1d": "48K", "L2": "2048K", "L3": "107520K"},
        hypervisor="KVM",
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def on(isa: tuple[str, ...] = VNNI, **changes: object) -> Fingerprint:
    whole: dict[str, object] = {"cpu": NAME, "isa": isa, "machine": machine(isa), **changes}
    return factory.fingerprint(**whole)


def pair(machine: Fingerprint | None = None, **changes: object) -> list[RunRecord]:
    return factory.grid(("FP32", "INT8"), mcs=(50,), batches=(1,), machine=machine, **changes)


def ratios(records: list[RunRecord]) -> list[list[float | None]]:
    return [[row.speedup for row in section.rows] for section in sections(records)]


def test_two_machines_of_one_name_share_neither_table_nor_ratio() -> None:
    """FP32 measured on the one with AMX, INT8 on the one without, as if in one run."""
    fp32, int8 = factory.one_race([pair(on(AMX))[0], pair(on(VNNI))[1]], race="")
    found = sections([fp32, int8])
    assert [[r.subject.format for r in s.records] for s in found] == [["FP32"], ["INT8"]]
    assert ratios([fp32, int8]) == [[1.0], [None]]
    assert len({s.slug for s in found}) == 2
    assert f"{NAME}, AVX-512 VNNI, AMX, 2 cores (machine " in found[0].machine
    assert f"{NAME}, AVX-512 VNNI, no AMX, 2 cores (machine " in found[1].machine
    for section, ratio in zip(found, ("1.00×", "–"), strict=True):
        sheet = cost_sheets.speed(section)
        at = [column.name for column in sheet.columns].index("×")
        assert [row[at] for row in sheet.rows] == [ratio]
    rows = list(csv.DictReader(io.StringIO(table.csv([fp32, int8]))))
    assert [row["speedup_over_fp32"] for row in rows] == ["1.0", ""]
    assert len({row["machine"] for row in rows}) == 2
    told = json.loads("".join(table.json_lines([fp32, int8])))
    assert [one["fingerprint"]["machine"]["isa"][-1] for one in told] == ["amx_int8", "avx512_vnni"]
    shown = page.page([fp32, int8])
    assert "times as fast as FP32" not in shown
    assert "stepping 8, 2 cores, 2 threads, L1d 48K" in shown


@pytest.mark.parametrize(
    "changes",
    [
        {"vendor": "AuthenticAMD"},
        {"name": "Another"},
        {"family": "7"},
        {"model": "207"},
        {"stepping": "4"},
        {"isa": (*VNNI, "avx512_bf16")},
        {"cores": 4},
        {"threads": 4},
        {"caches": {"L3": "268435456"}},
        {"hypervisor": ""},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_field_of_a_machine_sets_it_apart(changes: dict[str, object]) -> None:
    one, other = on(), on(machine=machine(**changes))
    assert len(sections([*pair(one), *pair(other)])) == 2
    assert fingerprint_hash(one) != fingerprint_hash(other)


def test_fewer_cores_or_a_quota_is_another_place() -> None:
    places = [on(), on(cores=1), on(cpu_quota=0.6), on(cpu_quota=1.5)]
    found = sections([record for place in places for record in pair(place)])
    assert len(found) == 4
    assert "CPU quota 0.6 cores" in found[2].machine


@pytest.mark.parametrize("field", ["isa", "memory_bytes", "cpu", "cores"])
def test_a_machine_recorded_in_part_goes_by_what_is_recorded(field: str) -> None:
    old = on(machine=None)
    other = {"isa": AMX, "memory_bytes": 1 << 30, "cpu": "Another", "cores": 4}[field]
    assert len(sections([*pair(old), *pair(on(machine=None, kernel="Linux 7"))])) == 1
    found = sections([*pair(old), *pair(replace(old, **{field: other}))])
    assert len(found) == 2
    assert all(f"({IN_PART})" in section.machine for section in found)
    assert ratios(pair(old))[0][1] > 1  # one race on it has its ratio


def test_a_machine_recorded_in_part_is_never_joined_with_a_whole_one(tmp_path: Path) -> None:
    old, new = pair(on(machine=None)), pair(on())
    assert len(sections([*old, *new])) == 2
    store = Store(tmp_path, RUN_RECORDS)
    for record in old:
        store.save(record)
    cells = [record.subject for record in new]
    assert store.missing(cells, new[0].fingerprint, Policy.ONLY_MISSING) == cells
    assert store.find(cells[0], new[0].fingerprint) is None
    assert store.find(cells[0], old[0].fingerprint) == old[0]


def test_the_youngest_of_a_cell_is_taken_from_each_machine(tmp_path: Path) -> None:
    store = Store(tmp_path, RUN_RECORDS)
    made = [
        (on(AMX), "2030-01-01"),
        (on(VNNI), "2030-01-02"),
        (on(AMX, code="1" * 16), "2030-01-03"),
        (on(machine=None), "2030-01-04"),
    ]
    for fingerprint, created in made:
        store.save(changed(factory.record(machine=fingerprint), created=created))
    assert [record.created[-1] for record in store.records()] == ["2", "3", "4"]
    assert len(store.records(latest=False)) == 4


def test_a_ratio_is_of_one_race() -> None:
    fp32, int8 = pair()
    assert ratios([fp32, int8])[0][1] > 1

    def timed(record: RunRecord, **changes: object) -> RunRecord:
        return changed(record, timing=replace(record.body.timing, **changes))  # type: ignore[arg-type]

    alone = (int8.subject.key,)
    for baseline, other in (
        (fp32, timed(int8, race="another")),
        (fp32, timed(int8, interleaved_with=alone)),  # measured again, by itself
        (timed(fp32, interleaved_with=(fp32.subject.key,)), int8),
        (timed(fp32, race=""), int8),
        (  # records from before races had names, of one key and two versions of the code
            timed(fp32, race=""),
            timed(changed(int8, fingerprint=on(machine=None, code="1" * 16)), race=""),
        ),
    ):
        assert [one[-1] for one in ratios([baseline, other])][-1] is None
    assert ratios([timed(one, race="") for one in (fp32, int8)])[0][1] > 1


def test_compare_divides_within_a_race_alone() -> None:
    a, b = pair(on(AMX)), factory.one_race(pair(on(VNNI), slowdown=2.0), race="another")
    found = compare(a, b)
    assert {(item.ratio, item.ci95, item.verdict) for item in found.latency} == {
        (None, None, "not testable")
    }
    assert all(item.b_p50_ns > item.a_p50_ns for item in found.latency)
    assert any("are not divided" in note for note in found.notes)
    old = [changed(r, timing=replace(r.body.timing, race="")) for r in (*a, *b)]
    assert compare(old[:2], old[2:]).latency[0].ratio is None
    assert compare(a, a).latency[0].ratio == 1.0


def test_compare_pairs_records_of_one_machine_where_it_can() -> None:
    amx, vnni = (factory.record(machine=on(isa)) for isa in (AMX, VNNI))
    younger = changed(vnni, created="2031-01-01T00:00:00Z")
    found = compare([amx], [amx, younger])
    assert found.fingerprints == {}
    assert "isa" in compare([amx], [younger]).fingerprints
