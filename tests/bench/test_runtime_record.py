"""Records of the runtime: where they are, and which are refused; nothing is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from records_made import changed

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.fingerprint import Fingerprint
from sigmabench.harness.records.envelope import Provenance
from sigmabench.harness.records.runtime_record import (
    MEMORY,
    RACES,
    SAMPLER,
    Contender,
    MemoryRecord,
    MemorySubject,
    MemoryUse,
    RaceBody,
    RaceRecord,
    RaceSubject,
    SamplerBody,
    SamplerRecord,
    SamplerSubject,
    Width,
)
from sigmabench.harness.records.store import Store, fingerprint_hash

MADE = Provenance(
    Fingerprint("x", ("avx2",), 2, 1, 1024, None, "Linux", "3.11", {}, "ab", None, {}), "x", "now"
)
FP32 = Contender("FP32", "sigmabench", "FP32", "float", 1, (10, 20, 30), (2, 1))
RACE = RaceRecord(RaceSubject("lenet5", "ab", 2, 1, 7, 0.5, ("FP32",), 50, ({},)), MADE, None,
                  RaceBody((1, 28, 28), 4, (FP32,)))  # fmt: skip
USE = MemoryUse((1, 28, 28), 1, 100, 200, 3000, 40_000, {"a": 7, "b": 70}, 1000, 4000, 5000, "x")
PROGRAM = MemoryRecord(MemorySubject("lenet5", "ab", "INT8", 2, 10, 1, 7), MADE, None, USE)
WIDTH = Width(8, 5000, 1, (1,), (1,), (1,), (1,))
DRAWS = SamplerRecord(SamplerSubject(5000, 2, 0.5, 7), MADE, None, SamplerBody("avx2", (WIDTH,)))


@pytest.mark.parametrize(
    ("one", "kind", "other", "title"),
    [
        (RACE, RACES, MEMORY, "runtime record"),
        (PROGRAM, MEMORY, SAMPLER, "record of the sampler"),
        (DRAWS, SAMPLER, RACES, "runtime record"),
    ],
)
def test_a_record_is_read_back_from_its_place(one, kind, other, title, tmp_path: Path) -> None:
    path = Store(tmp_path, kind).save(one)
    folder = tmp_path / "runtime" / one.subject.home / fingerprint_hash(MADE.fingerprint)
    assert path == folder / f"{one.subject.key}.json"
    assert Store(tmp_path, kind).load(path) == one
    assert Store(tmp_path, kind).records() == [one]
    assert Store(tmp_path, other).records() == []
    with pytest.raises(UserError, match=f"{path} is a record of kind .*, not a {title}"):
        Store(tmp_path, other).load(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(UserError, match="made by a newer SigmaBench"):
        Store(tmp_path, kind).load(path)


def test_sums_of_memory() -> None:
    assert USE.bound_bytes == 43_300
    assert USE.allocated_bytes == 77
    assert USE.growth_bytes == 3000


@pytest.mark.parametrize(
    "changes",
    [
        {"slices": (2, 2)},
        {"latency_ns": (), "slices": ()},  # and no reason
        {"unavailable": "not here"},  # and there are samples
        {"mc": 0},
    ],
)
def test_samples_that_do_not_add_up_are_refused(changes, tmp_path: Path) -> None:
    second = replace(FP32, name="BF16", **changes)
    asked = replace(RACE.subject, contenders=("FP32", "BF16"))
    store = Store(tmp_path, RACES)
    path = store.save(changed(RACE, subject=asked, contenders=(FP32, second)))
    with pytest.raises(UserError) as refused:
        store.load(path)
    assert str(refused.value) == (
        f"{path} is not a valid runtime record: the samples of BF16 do not add up; delete it and "
        "run again."
    )


def test_a_race_of_others_than_were_asked_for_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, RACES)
    path = store.save(changed(RACE, contenders=(replace(FP32, name="BF16"),)))
    with pytest.raises(UserError, match="its contenders are others than were asked for"):
        store.load(path)
