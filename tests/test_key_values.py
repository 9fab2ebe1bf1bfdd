"""Keys and hashes by known answers: SHA-256 of JSON that is written out here, field by field."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from sigmabench.harness.core.whole import content_hash
from sigmabench.harness.machine.fingerprint import IN_PART, Fingerprint, Machine
from sigmabench.harness.records.kind import digest
from sigmabench.harness.records.peers_record import Asked
from sigmabench.harness.records.runtime_record import MemorySubject, RaceSubject, SamplerSubject
from sigmabench.harness.records.store import fingerprint_hash
from sigmabench.harness.workload.cell import Cell

MACHINE = Machine("GenuineIntel", "Xeon ®", "6", "143", "8", ("avx2",), 2, 4, {"L1d": "48K"}, "KVM")
MADE = Fingerprint("Xeon ®", ("avx2",), 2, 1, 1024, None, "Linux 6", "3.11", {"torch": "2"}, "ab",
                   None, {"OMP": "1"})  # fmt: skip


def sha(text: str, digits: int = 16) -> str:
    return sha256(text.encode()).hexdigest()[:digits]


def test_a_cells_key_is_the_hash_of_its_fields_in_alphabetical_order() -> None:
    cell = Cell("lé", "1", "ab", "INT8", "headroom", "channel", "float", "minmax", "mean",
                "test", "none", 0, 9, 10, 1, "closed-loop", "native", "auto", 1, 2,
                "stream-v1", 3, 5)  # fmt: skip
    first = '{"backend":"native","batch":1,"calibration":"mean","corruption":"none",'
    middle = (
        '"format":"INT8","granularity":"channel","instances":2,"isa":"auto","limit":9,"mc":10,'
        '"noise":"stream-v1","observer":"minmax","posterior":"ab","range":"headroom",'
        '"scenario":"closed-loop",'
    )
    last = (
        '"seed":3,"seeds":5,"severity":0,"sigma_offset":"float","split":"test","threads":1,'
        '"workload":"l\\u00e9","workload_version":"1"}'
    )
    assert cell.key == sha(first + middle + last)
    later = replace(cell, data="cd", seconds=2.0)
    assert later.key == sha(first + '"data":"cd",' + middle + '"seconds":2.0,' + last)


def test_a_fingerprints_hash_leaves_out_what_is_as_by_default() -> None:
    text = (
        '{"code":"ab","commit":null,"cores":2,"cpu":"Xeon \\u00ae","environment":{"OMP":"1"},'
        '"governor":null,"isa":["avx2"],"kernel":"Linux 6",%s"memory_bytes":1024,"numa_nodes":1,'
        '"packages":{"torch":"2"},"python":"3.11"}'
    )
    machine = (
        '{"caches":{"L1d":"48K"},"cores":2,"family":"6","hypervisor":"KVM","isa":["avx2"],'
        '"model":"143","name":"Xeon \\u00ae","stepping":"8","threads":4,"vendor":"GenuineIntel"}'
    )
    assert fingerprint_hash(MADE) == sha(text % "", 8)
    whole = replace(MADE, machine=MACHINE)
    assert fingerprint_hash(whole) == sha(text % f'"machine":{machine},', 8)
    assert MACHINE.hash == sha(machine, 8)
    now = replace(whole, computing="cd")
    identity = (
        '{"computing":"cd","cores":2,"cpu_quota":null,"environment":{"OMP":"1"},"machine":%s,'
        '"packages":{"torch":"2"}}'
    )
    assert fingerprint_hash(now) == sha(identity % machine, 8)
    told = replace(
        now, commit="f00", code="ef", kernel="Linux 7", python="3.12", governor="powersave"
    )
    ours = replace(told, packages={**now.packages, "sigmabench": "9"}, memory_bytes=2048)
    assert fingerprint_hash(ours) == fingerprint_hash(now)
    assert MADE.place == (IN_PART, "Xeon ®", ("avx2",), 2, 1024)
    assert replace(whole, cpu_quota=1.5).place == (MACHINE.hash, 2, 1.5)


def test_a_digest_is_of_sorted_dense_json_as_it_is_spelt() -> None:
    assert digest({"b": [1, 2.5], "a": "é"}) == sha('{"a":"é","b":[1,2.5]}')


def test_a_content_hash_goes_over_the_text_and_then_each_array_by_name() -> None:
    arrays = {"b": memoryview(b"\x02"), "a": memoryview(b"\x01")}
    assert content_hash("text") == sha("text", 64)
    assert content_hash("text", arrays) == sha256(b"texta\0\x01b\0\x02").hexdigest()


@pytest.mark.parametrize("mc", [0, 10])
def test_a_races_key_has_the_passes_and_versions_where_they_were_told(mc: int) -> None:
    race = RaceSubject(
        "lenet5", "ab", 2, 1, 7, 0.5, ("FP32", "peer"), mc, ({}, {"torch": "2"}) if mc else ()
    )
    told = f',{mc},[{{}},{{"torch":"2"}}]' * bool(mc)
    assert race.key == sha(f'["lenet5","ab",2,1,7,0.5,["FP32","peer"]{told}]')
    turned = replace(race, contenders=("peer", "FP32"), packages=())
    assert hash(race) != hash(turned)
    assert race.anywhere == turned.anywhere


def test_keys_of_memory_and_of_the_sampler() -> None:
    program = MemorySubject("lenet5", "ab", "INT8", 2, 10, 1, 7)
    assert program.key == "memory-" + sha('["lenet5","ab","INT8",2,10,1,7]')
    assert SamplerSubject(5000, 2, 0.5, 7).key == sha("[5000,2,0.5,7]")


def test_a_comparisons_key_is_the_hash_of_what_was_asked() -> None:
    asked = Asked("lé", "1", "ab", "cd", "test", 9, "", 10, 2, 1, 7, 0.5, ("FP32",),
                  {"peer": {"torch": "2"}})  # fmt: skip
    text = (
        '{"batch":2,"data":"","formats":["FP32"],"limit":9,"mc":10,%s"peers":{"peer":{"torch":'
        '"2"}},"posterior":"ab","seconds":0.5,"seed":7,"split":"test","threads":1,"twin":"cd",'
        '"workload":"lé","workload_version":"1"}'
    )
    assert asked.key == sha(text % "")
    assert replace(asked, network="ef").key == sha(text % '"network":"ef",')


@pytest.mark.parametrize(
    ("isa", "units"),
    [
        (("avx2", "avx512f"), "AVX2, no AMX, "),
        (("avx2", "avx_vnni"), "AVX-VNNI, no AMX, "),
        (("avx2", "avx512_vnni", "amx_int8"), "AVX-512 VNNI, AMX, "),
        (("neon",), ""),
    ],
)
def test_a_machine_is_shown_by_name_and_by_what_multiplies(
    isa: tuple[str, ...], units: str
) -> None:
    made = replace(MADE, isa=isa)
    assert made.shown == f"Xeon ®, {units}2 cores ({IN_PART})"
    whole = replace(made, cores=1, machine=MACHINE, cpu_quota=0.5)
    assert whole.shown == f"Xeon ®, {units}1 core, CPU quota 0.5 cores (machine {MACHINE.hash})"
