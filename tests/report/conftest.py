"""Synthetic records for every test of the reports."""

from __future__ import annotations

import factory
import pytest

from sigmabench.harness.records.run_record import RunRecord


@pytest.fixture(scope="session")
def records() -> list[RunRecord]:
    """The default grid, with findings in every quantized cell and two failed audits."""
    made = []
    for i, record in enumerate(factory.grid()):
        quantized = record.subject.range != "-"
        findings = (f"layer fc1 keeps {0.8 + 0.001 * i:.3f} of its deviation",) if quantized else ()
        isa = "fail: amx was asked for, avx2 ran" if i in (5, 14) else "pass"
        made.append(factory.with_verdict(record, findings, instruction_set=isa))
    return made


@pytest.fixture(scope="session")
def reference() -> dict[str, dict[str, float]]:
    """Published figures of two formats, one of them incomplete."""
    return {
        "FP32": {"accuracy": 99.40, "ece": 0.221, "nll": 0.020, "brier": 0.01},
        "INT8": {"accuracy": 99.36, "ece": 0.211, "nll": 0.020},
    }
