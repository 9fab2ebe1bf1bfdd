"""Records of the kinds of which none is published, made up, by the names of the kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from report import factory
from scenarios import test_scenarios_study as scenarios
from test_roofline import made, step

from sigmabench.harness.measure.audits import PASS
from sigmabench.harness.records.envelope import Arrays, Provenance
from sigmabench.harness.records.roofline_record import RooflineRecord
from sigmabench.harness.records.slo_record import SloBody, SloRecord, SloRun, SloSubject
from sigmabench.harness.records.verdict import verdict

QUERIES, IMAGES = 40, 20


def roofline() -> RooflineRecord:
    """Of one layer."""
    return made(step("a", 10.0, multiply_adds=1000, weights=1000, mean_bytes=1000))


def slo() -> SloRecord:
    """Of two runs, by fixed T and by adaptive T."""
    asked = SloSubject(
        "lenet-digits", "1", "0" * 16, "INT8", "native", (50,), (100,), 8, 0, 1, 0, 2, 1.0, QUERIES
    )
    percentiles = {"50.00": 1e6, "90.00": 1.5e6, "95.00": 1.6e6, "97.00": 1.7e6, "99.00": 1.8e6,
                   "99.90": 1.9e6}  # fmt: skip
    runs = tuple(
        SloRun(rule, 100.0, 99.0, 98.0, QUERIES, percentiles, 1.7e6, (), f"run{rule}")
        for rule in (0, 1)
    )
    rng = np.random.default_rng(0)
    reference = rng.exponential(0.1, (2, IMAGES)).astype(np.float32)
    arrays: dict[str, Any] = {"reference": reference}
    for rule, mc in enumerate((50, 20)):
        image = rng.integers(0, IMAGES, QUERIES).astype(np.int32)
        arrays[f"{rule}.image"] = image
        arrays[f"{rule}.mc"] = np.full(QUERIES, mc, np.int32)
        arrays[f"{rule}.batch"] = np.arange(QUERIES, dtype=np.int32) // 2
        arrays[f"{rule}.nll"] = reference[0, image]
    body = SloBody("a" * 64, IMAGES, (1e6, 1.1e6), 8, runs, "6.0")
    judged = verdict({"noise": PASS})
    told = Provenance.now(factory.fingerprint(), "test")
    return SloRecord(asked, told, judged, body, Arrays.of(arrays))


UNPUBLISHED: dict[str, Callable[[], Any]] = {
    "profile": factory.profile,
    "roofline": roofline,
    "samples": factory.samples,
    "scaling": factory.scaling,
    "scenarios": lambda: scenarios.record(scenarios.NOTHING, scenarios.TEST),
    "slo": slo,
    "tuning": factory.tuning,
}
