"""Synthetic records: plausible in shape, made of nothing measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from records_made import changed

from sigmabench.harness.core.formats import DEFAULT_FORMATS, FORMATS, reference_of
from sigmabench.harness.machine.fingerprint import Fingerprint, Machine
from sigmabench.harness.machine.topology import Topology
from sigmabench.harness.quantize.size import Size
from sigmabench.harness.records.envelope import Arrays, Provenance
from sigmabench.harness.records.profile_record import (
    Profile,
    ProfileRecord,
    ProfileSubject,
    Step,
)
from sigmabench.harness.records.reference_times import Reference
from sigmabench.harness.records.run_record import (
    Adaptive,
    Bandwidth,
    Fidelity,
    Paired,
    Quality,
    RunBody,
    RunRecord,
    Timing,
)
from sigmabench.harness.records.samples_record import (
    AtCount,
    DrawLuck,
    SamplesBody,
    SamplesRecord,
    SamplesSubject,
)
from sigmabench.harness.records.scaling_record import (
    InstanceSetting,
    Scaled,
    ScalingBody,
    ScalingRecord,
    ScalingSubject,
    TuningBody,
    TuningRecord,
    TuningSubject,
    Window,
)
from sigmabench.harness.records.verdict import Verdict
from sigmabench.harness.records.verdict import verdict as verdict_of
from sigmabench.harness.workload.cell import DETERMINISTIC, MEAN_FIELD, Cell

WEIGHTS = 61_470
BINS = 15


def cell(**changes: Any) -> Cell:
    """A cell of a made-up workload; floats get `-` where the fields do not apply."""
    name = changes.get("format", "FP32")
    quantized = FORMATS.get(name).quantized if name in FORMATS else True
    bayesian = FORMATS.get(name).bayesian if name in FORMATS else True
    fields: dict[str, Any] = {
        "workload": "synthetic",
        "workload_version": "1",
        "posterior": "0123456789abcdef",
        "format": name,
        "range": "headroom" if quantized else "-",
        "granularity": "channel" if quantized else "-",
        "sigma_offset": "float" if quantized else "-",
        "observer": "minmax" if quantized else "-",
        "calibration": "mean" if quantized else "-",
        "split": "test",
        "corruption": "none",
        "severity": 0,
        "limit": 0,
        "mc": 10,
        "batch": 1,
        "scenario": "closed-loop",
        "backend": "native" if quantized else "float",
        "isa": "auto",
        "threads": 2,
        "instances": 1,
        "noise": "stream-v1" if quantized else "normal",
        "seed": 0,
        "seeds": 3,
        "method": MEAN_FIELD if bayesian else DETERMINISTIC,
    }
    return Cell(**{**fields, **changes})


def profile() -> ProfileRecord:
    """A profile of one layer, of which kind none is published."""
    step = Step("fc", "conv", (4, 3, 2, 1), "kernel", "direct", 10**6, 1.0, 2.0, 3.0, 4.0)
    asked = ProfileSubject("net", "ab", "INT8", 1, 5, 2, 1.0, 0)
    made = Provenance.now(fingerprint(), "test")
    return ProfileRecord(asked, made, None, Profile("made up", 1, 9, 10.0, (step,)))


def samples() -> SamplesRecord:
    """Of how many samples are enough, of which kind none is published."""
    asked = SamplesSubject("net", "1", "ab", "INT8", "native", 0, (1, 4), 8, 3, 0)
    made = Provenance.now(fingerprint(), "test")
    luck = DrawLuck(3, 1e-6, 1e-7)
    counts = tuple(AtCount(T, 3, 0.3, 0.01, luck, 1.0, (luck, luck)) for T in (1, 4, 8))
    nll = np.linspace(0, 1, 200, dtype=np.float32)
    arrays = {"nll": np.stack([nll + 0.01, nll]), "reference.nll": nll}
    arrays["agreeing"] = np.ones((2, 200), np.float32)
    body = SamplesBody("ab", 200, counts[:2], counts[2])
    return SamplesRecord(asked, made, None, body, Arrays.of(arrays))


def scaling() -> ScalingRecord:
    """Of instances side by side, of which kind none is published."""
    asked = ScalingSubject("net", "1", "ab", "INT8", "native", 1, 10, ((1, 1),), 1, 1.0, 0)
    made = Provenance.now(fingerprint(), "test")
    one = Scaled(
        InstanceSetting(1, 1, 0, 1), ((0,),), (Window(1.0, (100.0,), 1e7, None),), "avx512"
    )
    body = ScalingBody(10, (one,), Topology.of(1, 2).cpus, (), (_reference(),))
    return ScalingRecord(asked, made, None, body)


def tuning() -> TuningRecord:
    """How a setting was found, of which kind none is published."""
    setting = InstanceSetting(1, 1, 1, 1)
    settings = (setting,)
    asked = TuningSubject(
        "net", "1", "ab", "INT8", "native", "throughput", 0.0, 10, settings, 3, 1.0, 0
    )
    made = Provenance.now(fingerprint(), "test")
    one = Scaled(setting, ((0,),), (Window(1.0, (100.0,), 1e7, None),), "avx512")
    body = TuningBody(10, (one,), (one,), Topology.of(1, 2).cpus, (), (_reference(),))
    return TuningRecord(asked, made, None, body)


def _reference() -> Reference:
    return Reference("copy", "a copy", (1_000_000, 1_100_000))


def fingerprint(**changes: Any) -> Fingerprint:
    """A made-up machine."""
    fields: dict[str, Any] = {
        "cpu": "Synthetic CPU <model> & sons",
        "isa": ("avx2", "avx512f"),
        "cores": 2,
        "numa_nodes": 1,
        "memory_bytes": 8 << 30,
        "governor": None,
        "kernel": "Linux 6.1",
        "python": "3.12.1",
        "packages": {"sigmabench": "0.1.0", "torch": "2.8.0", "oneDNN": "3.2"},
        "code": "c0dec0dec0dec0de",
        "commit": "abcdef0123456789abcdef0123456789abcdef01",
        "environment": {"OMP_NUM_THREADS": "2"},
    }
    return Fingerprint(**{**fields, **changes})


def machine(**caches: str) -> Machine:
    """A made-up identity with these caches, by level."""
    return Machine("Synthetic", "CPU", "6", "173", "1", ("avx2",), 2, 4, caches, "kvm")


def latencies(
    rng: np.random.Generator, median_ns: float, slices: int, queries: int, drift: float
) -> tuple[int, ...]:
    """Queries with a shift a slice and a long right tail, as real ones have."""
    shift = np.repeat(np.exp(rng.normal(0, drift, slices)), queries)
    tail = np.exp(np.abs(rng.normal(0, 0.04, slices * queries)))
    return tuple(int(v) for v in median_ns * shift * tail)


def timing(samples: tuple[int, ...], slices: int, batch: int, key: str) -> Timing:
    """A timing of equal slices."""
    p = {f"p{q}": float(np.percentile(samples, q)) for q in (50, 90, 99)}
    enough = {"p50": 20, "p90": 100, "p99": 1000}
    return Timing(
        latency_ns=samples,
        slices=(len(samples) // slices,) * slices,
        warmup_queries=3,
        inputs=4,
        interleaved_with=(key,),
        percentiles_ns={k: v if len(samples) >= enough[k] else None for k, v in p.items()},
        p50_ci95_ns=(p["p50"] * 0.98, p["p50"] * 1.03),
        images_per_second=batch * 1e9 / p["p50"],
        noise=0.012,
        race="0123456789abcdef",
    )


def quality(rng: np.random.Generator, seeds: int, mc: int, images: int = 10_000) -> Quality:
    """Scores near those of a small digit classifier."""

    def around(centre: float, sd: float) -> tuple[float | None, ...]:
        return tuple(float(v) for v in rng.normal(centre, sd, seeds))

    shift = rng.normal(0, 0.03)
    confidence = (np.arange(BINS) + 0.5) / BINS
    count = np.round(2.0 ** np.arange(BINS)).astype(int)
    count[:3] = 0
    count[-1] += images - count.sum()
    right = np.clip(confidence + shift, 0, 1).tolist()
    tau = np.arange(0, 1, 0.05)
    accuracy: list[float | None] = [float(0.995 + shift / 100 * (1 - t) + 0.005 * t) for t in tau]
    accuracy[-1] = None
    coverage = np.arange(1, 102) / 101
    return Quality(
        images=images,
        seeds=tuple(range(seeds)),
        scores={
            "accuracy": around(99.5 - 0.3 / mc + shift, 0.02),
            "ece": around(0.2, 0.02),
            "uce": around(0.3, 0.03),
            "nll": around(0.015 + 0.005 / mc - shift / 100, 0.0003),
            "brier": around(0.0065, 0.0002),
            "mutual_information": (None,) * seeds if mc == 1 else around(0.003, 0.0001),
        },
        ece_floor_percent=(0.18,) * seeds,
        reliability={
            "count": tuple(float(c) for c in count),
            "confidence": tuple(
                c if n else None for c, n in zip(confidence.tolist(), count, strict=True)
            ),
            "accuracy": tuple(a if n else None for a, n in zip(right, count, strict=True)),
        },
        accuracy_vs_confidence={
            "threshold": tuple(tau.tolist()),
            "accuracy": tuple(accuracy),
            "share": tuple(float(1 - 0.1 * t) for t in tau),
        },
        risk_coverage={
            "coverage": tuple(coverage.tolist()),
            "risk": tuple(((0.005 - shift / 20) * coverage**8).tolist()),
        },
    )


def sizes(name: str) -> Size:
    """Closed-form weights and a small rest."""
    bits = FORMATS.get(name).weight_bits if name in FORMATS else 16
    weights = WEIGHTS * bits // 8
    rest = (1416, 944, 2100, 512)
    fp32 = WEIGHTS * 8 + sum(rest)
    total = weights + sum(rest)
    return Size(
        total, weights, *rest, weights=WEIGHTS, ratio_weights=64 / bits, ratio_file=fp32 / total
    )


def layer(name: str, std_ratio: float, saturation: float | None = 0.001) -> Fidelity:
    """Fidelity of one layer."""
    return Fidelity(name, 20_490, std_ratio, 0.002, 0.15, 0.0, 0.12, 0.4, -1.1, 100_000, saturation)


def _paired(name: str) -> Paired | None:
    """Beside the format that it is compared with."""
    reference = reference_of(name) if name in FORMATS else None
    if reference is None:
        return None
    values = {"accuracy_percent": -0.12, "nll_nats": 0.0021}
    return Paired(reference, (3, 3), values, {k: (v - 0.3, v + 0.3) for k, v in values.items()})


def record(
    rng: np.random.Generator | None = None,
    *,
    slices: int = 12,
    queries: int = 10,
    slowdown: float = 1.0,
    drift: float = 0.01,
    verdict: Verdict | None = None,
    machine: Fingerprint | None = None,
    **changes: Any,
) -> RunRecord:
    """A record of `cell(**changes)`; latency grows with T and batch and shrinks with the bits."""
    which = cell(**changes)
    if rng is None:
        rng = np.random.default_rng(int(hashlib.sha256(which.key.encode()).hexdigest()[:8], 16))
    quantized = which.range != "-"
    median = 2e5 * slowdown * which.mc * which.batch**0.7 / (6 if quantized else 1)
    samples = latencies(rng, median, slices, queries, drift)
    moved = 400_000 if quantized else 1_600_000
    made = Provenance(
        machine or fingerprint(),
        "sigmabench run synthetic --mc 1,10,50 --results 'a b'",
        "2030-01-02T03:04:05Z",
    )
    body = RunBody(
        dispatched_isa="avx512_vnni" if quantized else "avx512f",
        kernels={"conv1": "synthetic"},
        quality=quality(
            np.random.default_rng([which.mc, *which.format.encode()]), which.seeds, which.mc
        ),
        timing=timing(samples, slices, which.batch, which.key),
        bandwidth=Bandwidth(
            61_470,
            61_470,
            120_000,
            moved - 242_940,
            moved,
            3.4,
            20.0,
            0.17,
            4.0 * which.mc,
            4.0 * which.mc if quantized else None,
        ),
        size=sizes(which.format),
        peak_memory_bytes=300 << 20,
        fidelity=(layer("conv1", 0.97), layer("fc1", 0.88), layer("fc2", 0.99, None))
        if quantized
        else (),
        paired=_paired(which.format),
        unavailable={"dram_counters": "no access to performance counters in this container"},
    )
    return RunRecord(which, made, verdict or verdict_of(_audits(which.format)), body)


def adapted(confidence: float = 0.99, **changes: Any) -> RunRecord:
    """A record of adaptive T over 10,000 images and three seeds."""
    fixed = record(mc=50, stopping=f"auto {confidence!r}", **changes)
    names = fixed.body.quality.scores
    spent = Adaptive(
        confidence=confidence,
        limit=50,
        looks=(5, 8, 12, 18, 27, 41, 50),
        images=((9000, 500, 200, 100, 100, 50, 50),) * 3,
        mean_passes=(6.1, 6.2, 6.3),
        median_passes=(5.0, 5.0, 5.0),
        agreement=(0.9999, 1.0, 0.9998),
        differences=dict.fromkeys(names, (-0.0123, 0.0, 0.0012)),
        query_passes=12.5,
        query_image_passes=170.0,
        mean_latency_ns=fixed.body.timing.percentiles_ns["p50"] * 1.5,
    )
    return changed(fixed, adaptive=spent)


def grid(
    formats: tuple[str, ...] = DEFAULT_FORMATS,
    mcs: tuple[int, ...] = (1, 10, 50),
    batches: tuple[int, ...] = (1, 32),
    **changes: Any,
) -> list[RunRecord]:
    """One record a format, T and batch, all of one race."""
    return one_race(
        record(format=name, mc=mc, batch=batch, **changes)
        for name in formats
        for mc in mcs
        for batch in batches
    )


def one_race(records: Iterable[RunRecord], race: str = "0123456789abcdef") -> list[RunRecord]:
    """The records as if all had taken turns."""
    found = list(records)
    keys = tuple(one.subject.key for one in found)
    return [
        changed(one, timing=replace(one.body.timing, interleaved_with=keys, race=race))
        for one in found
    ]


def with_verdict(old: RunRecord, findings: tuple[str, ...] = (), **audits: str) -> RunRecord:
    """The record with other findings, and results of audits (`_` for blanks in their names)."""
    results = {name.replace("_", " "): result for name, result in audits.items()}
    return changed(old, verdict=verdict_of({**_audits(old.subject.format), **results}, findings))


def _audits(format: str) -> dict[str, str]:
    """One of each kind; a deterministic network has no draws."""
    drawn = "not applicable: the network is deterministic"
    moments = drawn if format.startswith("DNN_") else "pass"
    return {"moments": moments, "scored the timed path": "pass", "noise": "pass"}
