"""Records of the runtime: where they are, and which are refused; nothing is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.fingerprint import Fingerprint
from sigmabench.harness.records import runtime_record as record
from sigmabench.harness.records.runtime_record import Contender, MemoryUse, Race
from sigmabench.harness.records.store import fingerprint_hash

MADE = Fingerprint("x", ("avx2",), 2, 1, 1024, None, "Linux", "3.11", {}, "ab", None, {})
FP32 = Contender("FP32", "sigmabench", "FP32", "float", 1, (10, 20, 30), (2, 1))
RACE = Race("lenet5", "ab", (1, 28, 28), 2, 1, 4, 7, 0.5, (FP32,), MADE, "x", "now")
MEMORY = MemoryUse("lenet5", "ab", (1, 28, 28), "INT8", 2, 10, 1, 7, 1, 100, 200, 3000, 40_000,
                   {"a": 7, "b": 70}, 1000, 4000, 5000, "x", MADE, "x", "now")  # fmt: skip


@pytest.mark.parametrize(("one", "load"), [(RACE, record.load), (MEMORY, record.load_memory)])
def test_a_record_is_read_back_from_its_place(one, load, tmp_path: Path) -> None:
    path = record.save(one, tmp_path)
    folder = tmp_path / "runtime" / "lenet5" / fingerprint_hash(MADE)
    assert path == folder / f"{one.key}.json"
    assert load(path) == one
    with pytest.raises(UserError, match=f"{path} is not a valid runtime record: "):
        (record.load if load is record.load_memory else record.load_memory)(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(UserError, match="made by a newer SigmaBench"):
        load(path)


def test_sums_of_memory() -> None:
    assert MEMORY.bound_bytes == 43_300
    assert MEMORY.allocated_bytes == 77
    assert MEMORY.growth_bytes == 3000


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
    path = record.save(replace(RACE, contenders=(FP32, second)), tmp_path)
    with pytest.raises(UserError) as refused:
        record.load(path)
    assert str(refused.value) == (
        f"{path} is not a valid runtime record: the samples of BF16 do not add up; delete it and "
        "run again."
    )
