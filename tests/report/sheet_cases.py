"""What every command prints, of small records: each kind of table that there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import factory
from records_made import changed
from rich.console import Group, RenderableType
from selective.selective_cases import found_of, noisy_run, sample
from shift.shift_factory import study
from weights.test_weight_report import LABELS
from weights.test_weight_report import made as layer_range

from sigmabench.harness.cli.commands import (
    diagnosis_tables,
    inspection,
    inspection_tables,
    listing_tables,
    size_table,
)
from sigmabench.harness.cli.study_commands import documents
from sigmabench.harness.core.sheet import RichSheet
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.records.ablation_record import BASE, METRICS, PAIRED, Choice, Difference
from sigmabench.harness.records.envelope import Provenance
from sigmabench.harness.records.profile_record import (
    Profile,
    ProfileRecord,
    ProfileSubject,
    Step,
)
from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.records.runtime_record import RaceRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.report import table
from sigmabench.harness.report.rendering import terminal
from sigmabench.harness.stats.equivalence import equivalence
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.studies.ablation import document as ablation
from sigmabench.harness.studies.ablation.analyse import Ablation, AblationRow
from sigmabench.harness.studies.compare import document as comparison
from sigmabench.harness.studies.compare.measure import compare
from sigmabench.harness.studies.known import STUDIES
from sigmabench.harness.studies.profile import document as profile
from sigmabench.harness.studies.selective import document as selective_study
from sigmabench.harness.studies.selective.agreement import comparisons
from sigmabench.harness.studies.selective.analyse import DETECTORS, SelectiveStudy, Told
from sigmabench.harness.studies.selective.referral import Choices, selections
from sigmabench.harness.studies.shift import document as shift_tables
from sigmabench.harness.studies.shift.analyse import ShiftFindings
from sigmabench.harness.studies.weights import document as weights

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
POSTERIOR = ROOT / "workloads/posteriors/lenet-digits.safetensors"


def profiled() -> ProfileRecord:
    times = ((1.5, 2.5, 0.25, 3.0), (10.125, 33.0, 0.5, 7.0))
    steps = tuple(
        Step(
            f"conv{i}",
            "conv",
            (512, 512, 3, 3),
            "brgconv:avx512_core_amx",
            "direct",
            9,
            *t,
        )
        for i, t in enumerate(times)
    )
    return ProfileRecord(
        ProfileSubject("net", "ab", "INT8", 1, 5, 2, 1.0, 0),
        Provenance.now(fingerprint(), "test"),
        None,
        Profile("made up", 1, 9, 10.0, steps),
    )


def diagnosed() -> dict[str, object]:
    noise = {"repeats": 20, "p50_ns": 1234567, "p99_over_p50": 1.0444, "middle_half": 0.0123}
    return {"machine": {"cpu": "A " * 40, "cores": 2}, "backends": {}, "noise_check": noise} | {
        "backends": {"native": "available; needs AVX2"},
        "peers": {"ipex": "available: torch 2.8.0"},
    }


#: As wide as a name gets: of a layer, of a format, of a class.
LONG = "layer3.5.downsample.convolution"
CLASSES = ("basophilic granulocyte", "immature granulocyte", "lymphocyte", "platelet")


def selected() -> RenderableType:
    """A study of selective prediction, with every sheet it can have."""
    formats = {"FP32": "FP32", "INT8_SIGMA4 paper": "INT8_SIGMA4"}
    runs = {
        name: [noisy_run(seed, 0.05 * (name != "FP32"), 80) for seed in range(3)]
        for name in formats
    }
    both = sample(runs, {"INT8_SIGMA4 paper": "FP32"})
    choices = Choices(bound=0.2)
    scored = results(study(("FP32", "INT8"), (), mc=(4,), images=80, ood=()))[0]
    told = [
        Told("test", "svhn", name, by, 0, 0.9876, 0.8765, 0.1234)
        for name in formats
        for by in DETECTORS
    ]
    found = replace(
        found_of(both, choices, "lenet-digits"),
        formats=formats,
        classes=len(CLASSES),
        class_names=CLASSES,
        selections=tuple(selections(scored, both, both, choices, resamples=20)),
        comparisons=tuple(comparisons([both], choices, resamples=20)),
        outside=tuple(told),
    )
    return terminal(selective_study.document(SelectiveStudy(found)))


def ablated() -> RenderableType:
    """An ablation with images that are shifted, and without a difference or two."""
    scores = {name: dict.fromkeys(METRICS, (12.3456,)) for name in ("clean", "fog")}
    off = Difference(-0.0123, -0.0456, 0.0789)
    differences = {name: dict.fromkeys(PAIRED, off) for name in ("clean", "shifted")}
    sampled = Choice("ranges over sampled passes", "INT8_SIGMA2")
    rows = (
        AblationRow(BASE, "float", 494_000, 491_760, 1.0, 1.0, scores),
        AblationRow(sampled, "native", 78_123, 76_000, 6.4, 6.32, scores, differences),
    )
    made = Ablation(
        "test", 10_000, 1000, 10_000, 1000, {"fog": "official"}, 5, 0, 50, (0,), 99, rows
    )
    return Group(*(RichSheet(sheet) for sheet in ablation.sheets(made)))


def small_race(race: RaceRecord) -> RaceRecord:
    """A race of which two turns were stored, for its intervals are resampled."""
    contenders = tuple(
        replace(one, slices=one.slices[:2], latency_ns=one.latency_ns[: sum(one.slices[:2])])
        for one in race.body.contenders
    )
    return changed(race, contenders=contenders)


def stored() -> list[RenderableType]:
    """What `bench` and `peers` show of published records."""
    shown = []
    for name in ("passes", "memory", "sampler", "peers"):
        study = STUDIES.get(name)
        records = Store(RESULTS, study.plan.KIND).records()
        if name == "passes":
            records = list(map(small_race, records))
        shown += map(terminal, documents(study, records, None, {}))
    return shown


def shifted(reference) -> RenderableType:
    """A shift study of a type and a severity."""
    made = study(
        ("FP32", "INT8"), ("fog",), (5,), images=80, mc=(1, 4), ranges=("headroom", "paper")
    )
    one = results(made)[0]
    outcomes = equivalence(one, resamples=20)
    found = ShiftFindings("lenet-digits", made, one, outcomes, reference)
    return terminal(shift_tables.document(found, detailed=True))


def rescored() -> list[RunRecord]:
    """The default grid again, slower and with other scores."""
    made = []
    for one in factory.grid(mcs=(10,), batches=(1,), slowdown=1.3):
        scores = {
            name: tuple(None if value is None else 0.9 * value for value in values)
            for name, values in one.body.quality.scores.items()
        }
        made.append(changed(one, quality=replace(one.body.quality, scores=scores)))
    return made


def everything(reference) -> list[object]:
    """What each command prints."""
    records = factory.grid(mcs=(10,), batches=(1, 32))
    adaptive = [factory.adapted(format=name) for name in ("FP32", "INT8")]
    ranges = [layer_range(label, layer) for layer in ("stem", LONG) for label in LABELS]
    written = [
        {"path": "out/net-int8.safetensors", "file_bytes": 123456789, "weight_bytes": 98765432}
        | {"ratio_weights": 6.4, "ratio_file": 5.23}
    ]
    return [
        table.narrow([*records, *adaptive]),
        table.wide([*records, *adaptive]),
        *map(terminal, documents(STUDIES.get("run"), records, None, {})),
        table.fidelity(records),
        table.paper([factory.record(mc=50, format=name) for name in ("FP32", "INT8")], reference),
        comparison.comparison(compare(records, rescored())),
        shifted(reference),
        selected(),
        ablated(),
        *map(RichSheet, weights.weight_sheets(ranges)),
        terminal(profile.document(("net", profiled()), every=True)),
        *listing_tables(),
        *diagnosis_tables(diagnosed()),
        size_table(written),
        *inspection_tables(inspection(POSTERIOR)),
        *stored(),
    ]
