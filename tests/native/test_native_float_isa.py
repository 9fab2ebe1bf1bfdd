"""Float networks draw the same weights on every instruction set, and compute the same but for
rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigmabench.harness import native

pytestmark = [
    pytest.mark.thorough,  # each instruction set is a process that computes every layer
    pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable())),
]


@lru_cache
def report(isa: str) -> dict[str, Any]:
    script = Path(__file__).with_name("native_float_isa.py")
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("isa", ["AVX512_CORE_BF16", "AVX512_CORE", "AVX2"])
def test_weights_are_equal_and_logits_close(isa: str) -> None:
    told, widest = report(isa), report("DEFAULT")["networks"]
    if told["isa"] != isa.lower():
        pytest.skip(f"oneDNN uses {told['isa']} here, not {isa}")
    for name, network in told["networks"].items():
        if network is None or widest[name] is None:
            continue
        assert network["weights"] == widest[name]["weights"], name
        expected = np.array(widest[name]["logits"])
        tolerance = 2e-5 if name.endswith("FP32") else 0.03  # of the largest, a few epsilons
        bound = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(network["logits"], expected, rtol=0, atol=bound, err_msg=name)


def test_every_instruction_set_has_fp32_kernels() -> None:
    assert [n for n, t in report("AVX2")["networks"].items() if "FP32" in n and t is None] == []


def test_both_ways_into_a_layout_occur() -> None:
    """Else the tests of these ways test nothing."""
    networks = report("DEFAULT")["networks"].values()
    assert {p for network in networks if network for p in network["paths"]} == {"direct", "gather"}
