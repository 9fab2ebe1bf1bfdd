"""Every instruction set computes the same weights and sums, and on any number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from sigmabench.harness import native

pytestmark = [
    pytest.mark.thorough,  # each instruction set is a process that computes every layer
    pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable())),
]

ISAS = ("DEFAULT", "AVX512_CORE_VNNI", "AVX2_VNNI", "AVX2")


@lru_cache
def report(isa: str) -> dict[str, Any]:
    """What native_isa.py tells where oneDNN may use no more than that."""
    script = Path(__file__).with_name("native_isa.py")
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def honoured(isa: str) -> dict[str, Any]:
    """The same; skips where the CPU lacks it."""
    told = report(isa)
    if isa != "DEFAULT" and told["isa"] != isa.lower():
        pytest.skip(f"oneDNN uses {told['isa']} here, not {isa}")
    return told


@pytest.mark.parametrize("isa", ISAS[1:])
def test_weights_and_sums_are_equal(isa: str) -> None:
    assert honoured(isa)["hashes"] == report("DEFAULT")["hashes"]


@pytest.mark.parametrize("isa", ISAS)
def test_threads_do_not_disturb_each_other(isa: str) -> None:
    """Reorders with compensation, above all, need scratch of their own in every thread."""
    assert {name: n for name, n in honoured(isa)["unequal"].items() if n} == {}


def test_every_way_into_a_layout_occurs() -> None:
    """Else the tests of these ways test nothing."""
    if report("AVX512_CORE_VNNI")["isa"] != "avx512_core_vnni":
        pytest.skip("needs AVX-512 VNNI")
    seen = set(report("DEFAULT")["paths"]) | set(report("AVX512_CORE_VNNI")["paths"])
    assert seen == {"direct", "gather", "reorder"}
