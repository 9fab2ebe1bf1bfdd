"""Bundles: what a genuine one says, what changes are found, and what is no bundle."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hostile import HOSTILE, steering
from records_made import changed
from report import factory
from rich.console import Console
from shift.shift_factory import study

from sigmabench.harness.bundle import changes, community, shipped_labels
from sigmabench.harness.bundle.artefact_checks import Artefacts
from sigmabench.harness.bundle.changes import FOUND, NOT_FOUND, OTHERS, Genuine, page, small, tried
from sigmabench.harness.bundle.container import KIND, MANIFEST, Bundle, write_bundle
from sigmabench.harness.bundle.document import document
from sigmabench.harness.bundle.image_scores import broken_laws
from sigmabench.harness.bundle.ledger import IMPOSSIBLE, alike, fields_of, stated
from sigmabench.harness.bundle.packing import kinds, submit
from sigmabench.harness.bundle.raced import speeds
from sigmabench.harness.bundle.rates import HERTZ, most_per_second, multiply_adds, width
from sigmabench.harness.bundle.rules import why_open
from sigmabench.harness.bundle.run_checks import _middle
from sigmabench.harness.bundle.shipped_labels import LABELS, images_of, shipped
from sigmabench.harness.bundle.submitted import index
from sigmabench.harness.bundle.verify import Verified, VerifiedRecord, checked, verify
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.whole import json_text
from sigmabench.harness.quantize.artefact import save
from sigmabench.harness.records.ablation_record import (
    ABLATIONS,
    AblationBody,
    AblationRecord,
    AblationSubject,
    Choice,
)
from sigmabench.harness.records.envelope import Arrays, Provenance
from sigmabench.harness.records.peers_record import COMPARISONS
from sigmabench.harness.records.record_file import HASH, NO_HASH, sealed
from sigmabench.harness.records.run_record import RUN_RECORDS, Operations, RunRecord
from sigmabench.harness.records.runtime_record import (
    RACES,
    Contender,
    RaceBody,
    RaceRecord,
    RaceSubject,
)
from sigmabench.harness.records.shift_record import SHIFT_RECORDS
from sigmabench.harness.records.store import Store
from sigmabench.harness.report.rendering import markdown, terminal
from sigmabench.harness.workload.workload import WORKLOADS

ROOT = Path(__file__).parents[2]
NONE = Artefacts({})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Genuine]:
    """The results directory of a small run, and its records."""
    folder = tmp_path_factory.mktemp("results")
    return folder, changes.genuine(folder)


@pytest.fixture(scope="module")
def genuine(made: tuple[Path, Genuine]) -> Genuine:
    return made[1]


@pytest.fixture(scope="module")
def bundle(made: tuple[Path, Genuine], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With both artefacts."""
    folder, files = tmp_path_factory.mktemp("bundle"), []
    for digest, artefact in made[1].artefacts.by_hash.items():
        files.append(folder / f"{digest[:8]}.safetensors")
        save(artefact, files[-1])
    path = folder / "mine.tar"
    submit(made[0], path, "lenet-digits", files, "somebody")
    return path


@pytest.fixture(scope="module")
def plain(made: tuple[Path, Genuine], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without artefacts."""
    path = tmp_path_factory.mktemp("plain") / "plain.tar"
    submit(made[0], path)
    return path


def says(*records: RunRecord, artefacts: Artefacts = NONE) -> list[VerifiedRecord]:
    return checked([(RUN_RECORDS, one) for one in records], artefacts)


def faults(*records: RunRecord, artefacts: Artefacts = NONE) -> list[str]:
    found = says(*records, artefacts=artefacts)
    return [f"{fault.field} {fault.told}" for one in found for fault in one.faults]


def test_nothing_of_a_genuine_run_contradicts(genuine: Genuine) -> None:
    assert faults(*genuine.records) == []
    assert faults(*genuine.records, artefacts=genuine.artefacts) == []
    for one in genuine.records:
        assert faults(one) == [], "nor of one of them alone"


def test_a_bundle_is_read_as_it_was_written(bundle: Path) -> None:
    found = verify(bundle)
    assert found.sound, found.faults
    assert (found.by, found.artefacts, len(found.records)) == ("somebody", 2, 2)
    quantized = next(one for one in found.records if one.record.subject.format == "INT8")
    again = set(quantized.again)
    assert {
        "body.timing.p50_ci95_ns", "body.timing.noise", "body.size.graph_bytes",
        "body.fidelity[].std_ratio", "body.fidelity[].moment_var_z", "body.quality.risk_coverage",
        "body.paired.differences.nll_nats", "verdict.speed.outcome",
    } <= again  # fmt: skip
    told = set(quantized.stated)
    assert {"body.peak_memory_bytes", "body.kernels", "body.quality.scores.nll"} <= told
    assert not again & told
    (speed,) = found.speeds
    assert (speed.name, speed.base, speed.mc) == ("INT8", "FP32", 4)
    assert speed.ratio.low <= speed.ratio.value <= speed.ratio.high


def test_the_same_records_give_the_same_bundle(
    made: tuple[Path, Genuine], bundle: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.tar", tmp_path / "b.tar"
    for path in (first, second):
        submit(made[0], path)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert {(m.mtime, m.uid, m.uname) for m in archive} == {(0, 0, "")}
        archive.extractall(tmp_path / "unpacked", filter="data")
    records = Store(tmp_path / "unpacked" / "records", RUN_RECORDS).records()
    assert len(records) == 2, "below records/ it is a results directory"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("noise", 0.001),
        ("images_per_second", 1e9),
        ("p50_ci95_ns", (1.0, 2.0)),
        ("percentiles_ns", {"p50": 1.0, "p90": None, "p99": None}),
    ],
)
def test_percentiles_that_the_samples_contradict(
    genuine: Genuine, field: str, value: object
) -> None:
    timing = replace(genuine.target.body.timing, **{field: value})
    told = faults(changed(genuine.target, timing=timing))
    assert any(one.startswith(f"body.timing.{field} is ") for one in told)


def test_more_than_the_processor_can_do_is_impossible(genuine: Genuine) -> None:
    held = genuine.target.body.timing
    fast = replace(held, latency_ns=(1,) * len(held.latency_ns))
    (found,) = says(changed(genuine.target, timing=fast))
    (told,) = [f.told for f in found.faults if "multiply–adds per second" in f.told]
    assert "2 cores at 5 GHz with 1024 per cycle do 1.02e+13 at most" in told
    assert [f.kind for f in found.faults if f.told == told] == [IMPOSSIBLE]


def test_counts_of_multiply_adds() -> None:
    """LeNet-5 and ResNet-50, as published for these networks."""
    assert multiply_adds("lenet5-mnist") == 416_520
    assert multiply_adds("resnet50") == 4_089_184_256
    assert multiply_adds("nobody's") is None


def test_widths_are_of_the_instruction() -> None:
    amx, vnni, old = (
        factory.fingerprint(isa=isa)
        for isa in (("avx512f", "avx512_vnni", "amx_int8"), ("avx512f", "avx512_vnni"), ("avx2",))
    )
    assert [width("INT8", one) for one in (amx, vnni, old)] == [1024, 128, 64]
    assert [width("FP32", one) for one in (amx, vnni, old)] == [32, 32, 16]
    assert most_per_second("INT8", vnni) == 2 * HERTZ * 128


def test_a_seed_used_twice_is_impossible(genuine: Genuine) -> None:
    quality = genuine.target.body.quality
    same = {name: (values[0],) * 2 for name, values in quality.scores.items()}
    told = faults(changed(genuine.target, quality=replace(quality, scores=same)))
    assert any("a seed was used twice" in one for one in told)
    again = changed(genuine.target, quality=replace(quality, seeds=(0, 0)))
    assert any("holds a seed twice" in one for one in faults(again))


@pytest.mark.parametrize("seeds", [2**31, 2**70])
def test_a_number_of_seeds_is_not_counted_to_its_end(genuine: Genuine, seeds: int) -> None:
    subject = replace(genuine.target.subject, seeds=seeds)
    told = faults(changed(genuine.target, subject=subject))
    assert any(one.startswith("body.quality.seeds is [") for one in told)


def test_images_of_one_seed_given_as_those_of_another() -> None:
    first, *_ = study(("FP32",), (), (), images=60, ood=())
    second = changed(first, subject=replace(first.subject, seed=1))
    found = checked([(SHIFT_RECORDS, one) for one in (first, second)], NONE)
    assert all("a seed was used twice" in one.faults[0].told for one in found)
    assert not checked([(SHIFT_RECORDS, first)], NONE)[0].faults


def test_scores_that_their_own_images_contradict(genuine: Genuine) -> None:
    quality = genuine.target.body.quality
    for name, values in quality.scores.items():
        lies = {**quality.scores, name: (0.9 * values[0] + 1e-3, *values[1:])}
        told = faults(changed(genuine.target, quality=replace(quality, scores=lies)))
        assert any(one.startswith(f"body.quality.scores.{name} is ") for one in told), name


def test_shift_scores_follow_from_images() -> None:
    for one in study(("FP32", "INT8"), ("fog",), (2,), images=60):
        assert not checked([(SHIFT_RECORDS, one)], NONE)[0].faults
        if one.labelled:
            scores = {**one.body.scores, "nll": tuple(0.9 * v for v in one.body.scores["nll"])}
            lied = changed(one, scores=scores)
            (fault,) = checked([(SHIFT_RECORDS, lied)], NONE)[0].faults
            assert fault.field.startswith("body.scores.nll")


def test_samples_used_twice_are_impossible(genuine: Genuine) -> None:
    other, target = (genuine.records[0], genuine.records[1])
    timing = replace(other.body.timing, **{
        name: getattr(target.body.timing, name)
        for name in ("latency_ns", "slices", "percentiles_ns", "p50_ci95_ns", "noise",
                     "images_per_second")
    })  # fmt: skip
    told = faults(changed(other, timing=timing), target)
    assert any("to the nanosecond" in one for one in told)


def test_a_race_is_named_by_all_who_ran_it(genuine: Genuine) -> None:
    first, second = genuine.records
    alone = replace(first.body.timing, interleaved_with=(first.subject.key,))
    assert any("names the same race" in one for one in faults(changed(first, timing=alone), second))
    other = replace(first.body.timing, race="another")
    told = faults(changed(first, timing=other), second)
    assert any("was timed in another race" in one for one in told)


def images(seed: int = 0, count: int = 400, classes: int = 10) -> dict[str, Any]:
    """Of a made-up network, by the definitions."""
    rng = np.random.default_rng(seed)
    passes = rng.dirichlet(np.full(classes, 0.3), (4, count))
    p = passes.mean(axis=0)
    label = rng.integers(0, classes, count)
    entropy = -(p * np.log(p)).sum(axis=1)
    each = -(passes * np.log(np.maximum(passes, 1e-300))).sum(axis=2).mean(axis=0)
    own = p[np.arange(count), label]
    return {
        "label": label, "prediction": p.argmax(axis=1), "confidence": p.max(axis=1),
        "entropy": entropy, "mutual_information": entropy - each, "nll": -np.log(own),
        "brier": (p**2).sum(axis=1) - 2 * own + 1,
    }  # fmt: skip


def test_images_obey_their_laws_and_changed_ones_do_not() -> None:
    for seed in range(5):
        for classes in (2, 10, 1000):
            held = images(seed, classes=classes)
            assert list(broken_laws(held, classes)) == []
            assert list(broken_laws(held, None)) == []
    held = images()
    for name, change in (
        ("confidence", lambda v: 0.9 * v),
        ("entropy", lambda v: 0.3 * v),
        ("entropy", lambda v: v + 2.0),
        ("mutual_information", lambda v: v + 2.0),
        ("nll", lambda v: 0.5 * v),
        ("brier", lambda v: 0.8 * v),
        ("prediction", lambda v: (v + 1) % 10),
        ("label", lambda v: v + 10),
    ):
        assert list(broken_laws({**held, name: change(held[name])}, 10)), name
    assert list(broken_laws({"label": held["label"]}, 10)) == [
        "lack brier, confidence, entropy, nll, prediction"
    ]
    assert list(broken_laws({**held, "nll": held["nll"][1:]}, 10))


def test_verdicts_are_what_their_audits_give(genuine: Genuine) -> None:
    old = genuine.target.verdict
    other = "valid" if old.speed.outcome == "invalid" else "invalid"
    better = replace(old, speed=replace(old.speed, outcome=other))
    assert any(one.startswith("verdict.speed.outcome") for one in faults(
        changed(genuine.target, verdict=better)))  # fmt: skip
    fewer = {k: v for k, v in old.quality.audits.items() if k != "moments"}
    hidden = replace(old, quality=replace(old.quality, audits=fewer))
    told = faults(changed(genuine.target, verdict=hidden))
    assert any(one.startswith("verdict.quality.audits") for one in told)


def test_fields_of_a_tree() -> None:
    tree = {"a": 1, "b": {"c": [1, 2], "d": None}, "e": [{"f": 1}, {"f": 2, "g": ""}], "h": []}
    assert list(fields_of(tree)) == ["a", "b.c", "e[].f", "e[].g"]
    assert stated(tree, ["b", "e[].f"]) == ["a", "e[].g"]
    assert alike([1.0, {"a": (2,)}], [1.0 + 1e-12, {"a": [2]}])
    assert not alike(1, 2)
    assert not alike([1], [1, 2])


def test_most_single_changes_are_found(genuine: Genuine) -> None:
    """A few of the page's rows, by what is known of them."""
    wanted = {
        "subject.batch": FOUND,
        "subject.seeds": FOUND,
        "body.timing.latency_ns": FOUND,
        "body.quality.reliability.count": FOUND,
        "body.paired.differences.nll_nats": FOUND,
        "body.kernels": NOT_FOUND,
        "provenance.fingerprint.machine.name": FOUND,
        "provenance.fingerprint.kernel": NOT_FOUND,
        "provenance.command": NOT_FOUND,
    }
    for name, says_ in wanted.items():
        change = partial(changes._set, name=name, change=changes._another)
        found = changes._tried(genuine, name, change)
        assert found.alone == says_, name


@pytest.mark.thorough
def test_the_page_is_what_the_changes_give(genuine: Genuine, tmp_path: Path) -> None:
    """`python -m sigmabench.harness.bundle.changes > docs/verify.md` makes it."""
    rows = list(tried(genuine))
    others = {}
    for name in OTHERS:
        made = small(name, tmp_path)
        assert not [one.faults for one in checked([(made.kind, r) for r in made.records], NONE)
                    if one.faults]  # fmt: skip
        others[name] = list(tried(made))
    assert page(rows, others) == (ROOT / "docs" / "verify.md").read_text()
    assert {one.with_artefacts for one in rows if one.alone == FOUND} == {FOUND}


@pytest.mark.thorough
@pytest.mark.parametrize("folder", ["results", "results/adaptive"])
def test_nothing_of_the_published_records_contradicts(folder: str) -> None:
    """None of the checks takes a sound record for a cheat's; those of shift are too many."""
    for kind in kinds().values():
        if kind is not SHIFT_RECORDS:
            every = Store(ROOT / folder, kind).records()
            found = checked([(kind, one) for one in every], NONE)
            assert not [(one.name, one.faults) for one in found if one.faults], kind.name


def test_labels_are_those_of_the_images(genuine: Genuine) -> None:
    first, second = genuine.records
    labels = first.arrays["label"]
    moved = Arrays.of({**first.arrays, "label": (labels + 1) % 10})
    told = faults(changed(first, arrays=moved), second)
    assert any(f"other labels than those of {second.subject.key}" in one for one in told)
    whole = changed(genuine.target, subject=replace(genuine.target.subject, limit=0))
    assert any("has 120 images, and its cell 500" in one for one in faults(whole))


def test_labels_that_ship_are_those_of_the_data() -> None:
    """Here of digits, which need no data; `shipped_labels.of_data` makes those of the others."""
    ours = [WORKLOADS.built_in(name) for name in WORKLOADS.names()]
    wanted = {
        (one.name, one.version, split)
        for one in ours if one is not None and not one.digest_data for split in one.scored_splits
    }  # fmt: skip
    assert set(LABELS) == wanted
    splits = WORKLOADS.get("lenet-digits").splits(None)
    for split in ("test", "validation"):
        labels = splits.scored(split).labels.numpy()
        assert LABELS["lenet-digits", "1", split] == (len(labels), shipped_labels.digest(labels))
        cell = replace(factory.cell(format="INT8"), workload="lenet-digits", split=split)
        assert images_of(cell) == len(labels)
        assert shipped(cell, labels)
        assert not shipped(cell, (labels + 1) % 10)
        assert images_of(replace(cell, limit=7)) == 7
        assert images_of(replace(cell, data="f" * 16)) is None


def test_what_took_turns_has_the_same_references(genuine: Genuine) -> None:
    first, second = genuine.records
    (one, *rest) = first.body.references
    slower = replace(one, latency_ns=tuple(2 * ns for ns in one.latency_ns))
    told = faults(changed(first, references=(slower, *rest)), second)
    assert any(line.startswith("body.references are not those of") for line in told)


def test_what_numbers_say_is_not_hidden(genuine: Genuine) -> None:
    (layer, *rest) = genuine.target.body.fidelity
    lost = replace(layer, std_ratio=0.3)
    told = faults(changed(genuine.target, fidelity=(lost, *rest)))
    assert any(f"do not say “{layer.layer}: POSTERIOR LOST" in one for one in told)


def test_memory_that_no_process_can_have_had(genuine: Genuine) -> None:
    assert any("bytes of its weights" in one for one in faults(
        changed(genuine.target, peak_memory_bytes=1)))  # fmt: skip
    assert any("bytes of its machine" in one for one in faults(
        changed(genuine.target, peak_memory_bytes=1 << 50)))  # fmt: skip


def test_few_operations_of_ones_own_count_make_nothing_possible(genuine: Genuine) -> None:
    held = genuine.target.body.timing
    fast = replace(held, latency_ns=(1,) * len(held.latency_ns))
    few = Operations(1, 1, 2, 1, 1, ())
    told = faults(changed(genuine.target, timing=fast, operations=few))
    assert any("multiply–adds per second" in one for one in told)


def test_one_artefact_scores_the_same_at_every_batch(genuine: Genuine) -> None:
    target = genuine.target
    scores = {**target.body.quality.scores, "uce": tuple(
        None if one is None else one / 2 for one in target.body.quality.scores["uce"]
    )}  # fmt: skip
    other = changed(target, subject=replace(target.subject, batch=2),
                    quality=replace(target.body.quality, scores=scores))  # fmt: skip
    told = faults(target, other)
    assert any("which is the same artefact on the same images" in one for one in told)


def test_predictions_of_one_seed_given_as_those_of_another(genuine: Genuine) -> None:
    other = changed(genuine.target, subject=replace(genuine.target.subject, seed=7))
    told = faults(genuine.target, other)
    assert any(one.startswith("subject.seed is 0, and its images are those of seed 7")
               for one in told)  # fmt: skip


def test_an_interval_holds_the_luck_that_is_told(genuine: Genuine) -> None:
    paired = genuine.target.body.paired
    assert paired is not None
    luck = {name: (ends[1] - ends[0]) for name, ends in paired.intervals.items()}
    told = faults(changed(genuine.target, paired=replace(paired, luck=luck)))
    assert any("narrower than the luck of the draw" in one for one in told)


def test_numbers_that_nothing_can_be_computed_of_are_named(genuine: Genuine) -> None:
    none = replace(genuine.target.subject, batch=0)
    (found,) = says(changed(genuine.target, subject=none))
    (told,) = [one.told for one in found.faults if one.field == "body"]
    assert told.startswith("holds what nothing can be computed of (ZeroDivisionError")
    assert not found.possible
    assert says(genuine.target)[0].possible


def adaptive_faults(**changes: Any) -> list[str]:
    made = factory.adapted()
    images = (900, 70, 30)
    spent = replace(
        made.body.adaptive, confidence=made.subject.confidence, limit=50, looks=(5, 10, 50),
        images=(images,) * 3, mean_passes=(6.7,) * 3, median_passes=(5.0,) * 3,
        agreement=(1.0,) * 3, query_passes=12.5, query_image_passes=12.5,
        mean_latency_ns=float(np.mean(made.body.timing.latency_ns)),
    )  # fmt: skip
    record = changed(
        made,
        subject=replace(made.subject, mc=50, batch=1),
        quality=replace(made.body.quality, images=1000, seeds=(0, 1, 2)),
        adaptive=replace(spent, **changes),
    )
    return [one for one in faults(record) if one.startswith("body.adaptive")]


def test_adaptive_passes_follow_from_the_images_that_stopped() -> None:
    assert adaptive_faults() == []
    for name, value, says_ in (
        ("mean_passes", (5.7,) * 3, "the passes of its images give"),
        ("median_passes", (10.0,) * 3, "the passes of its images give"),
        ("mean_latency_ns", 1.0, "its samples give"),
        ("confidence", 0.5, "its subject gives"),
        ("limit", 40, "its subject gives"),
        ("looks", (5, 50, 10), "do not rise"),
        ("images", ((900, 70, 31),) * 3, "are not 1,000 for each seed"),
        ("agreement", (1.1,) * 3, "is not a share"),
        ("query_passes", 60.0, "is not from 5 to 50"),
        ("query_image_passes", 51.0, "is less than its passes, or more than 50"),
    ):
        told = adaptive_faults(**{name: value})
        assert any(one.startswith(f"body.adaptive.{name} ") and says_ in one for one in told), name
    huge = 1 << 50
    assert _middle((5, 10), (huge, huge)) == 7.5
    assert _middle((5, 10, 50), (2, 2, 1)) == 10


def test_verdicts_of_comparisons_are_made_again() -> None:
    one = Store(ROOT / "results", COMPARISONS).records()[0]

    def told(**changes: Any) -> list[str]:
        (found,) = checked([(COMPARISONS, changed(one, **changes))], NONE)
        return [f"{fault.field} {fault.told}" for fault in found.faults]

    assert told() == []
    old = one.verdict
    other = "invalid" if old.quality.outcome == "valid" else "valid"
    better = replace(old, quality=replace(old.quality, outcome=other))
    assert any(line.startswith("verdict.quality.outcome ") for line in told(verdict=better))
    (first, *rest) = one.body.rows
    half = len(first.contender.slices) // 2
    sizes = np.repeat(
        [9] * half + [1] * (len(first.contender.slices) - half), first.contender.slices
    )
    loud = tuple(int(ns * size) for ns, size in zip(first.contender.latency_ns, sizes, strict=True))
    row = replace(first, contender=replace(first.contender, latency_ns=loud))
    lost = [line for line in told(rows=(row, *rest)) if "noise" in line]
    assert lost or old.audits["noise"].startswith("fail")
    kept = replace(first, std_ratio={"stem": 0.1, "head": 0.1})
    assert any("posterior of" in line for line in told(rows=(kept, *rest)))


def test_a_damaged_artefact_is_told_of_and_the_records_are_checked(
    bundle: Path, tmp_path: Path
) -> None:
    files = {name: data for name, data in content(bundle).items() if name != MANIFEST}
    (first, *_) = [name for name in files if name.startswith("artefacts/")]
    path = tmp_path / "partly.tar"
    write_bundle(path, {**files, first: files[first][:-40]}, "0.1.0", "")
    found = verify(path)
    assert (len(found.records), found.artefacts) == (2, 1)
    (problem,) = found.problems
    assert first in problem
    assert not found.sound


def test_divisions(genuine: Genuine) -> None:
    reasons = list(why_open(genuine.target))
    assert any("fewer than 3 processes" in one for one in reasons)
    assert any("whole test split" in one for one in reasons)
    body = genuine.target.body
    timing = replace(body.timing, processes=(2, 2, 2), latency_ns=(1,) * 20)
    quality = replace(body.quality, seeds=(0, 1, 2), images=500)
    names = [name.replace(" ", "_") for name in genuine.target.verdict.audits]
    told = factory.with_verdict(genuine.target, **dict.fromkeys(names, "pass"))
    whole = changed(told, timing=timing, quality=quality,
                    subject=replace(genuine.target.subject, limit=0))  # fmt: skip
    assert list(why_open(whole)) == []
    assert list(why_open(changed(whole, subject=replace(whole.subject, posterior="f" * 16)))) == [
        "Its posterior is not the one that ships."
    ]
    fewer = replace(quality, images=400)
    assert list(why_open(changed(whole, quality=fewer))) == ["Images are left out of it."]


# What is no bundle.


def refused(path: Path) -> str:
    with pytest.raises(UserError) as found:
        verify(path)
    message = str(found.value)
    assert "\n" not in message
    assert path.name in message
    return message


def tarred(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def content(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(bundle) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "records/../../evil"])
def test_a_path_that_leaves_it(bundle: Path, tmp_path: Path, name: str) -> None:
    path = tarred(tmp_path / "leaves.tar", {**content(bundle), name: b"x"})
    assert "whose path leaves it" in refused(path)


def test_a_link_that_leaves_it(bundle: Path, tmp_path: Path) -> None:
    path = tarred(tmp_path / "links.tar", content(bundle), {"records/passwd": "/etc/passwd"})
    assert "links to no file of its own" in refused(path)


def test_what_is_not_a_bundle(tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(b"neither tar nor bundle" * 100)
    assert "is not a bundle" in refused(other)
    assert "is not a bundle (it holds no bundle.json)" in refused(tarred(other, {"a": b"b"}))
    assert "is not a bundle" in refused(tarred(other, {MANIFEST: b'{"schema_version": 1}'}))
    assert "is damaged" in refused(tarred(other, {MANIFEST: b"{"}))
    with pytest.raises(UserError, match="There is no bundle"):
        verify(tmp_path / "absent.tar")


def remade(bundle: Path, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """With a manifest that was changed and sealed again."""
    files = content(bundle)
    tree = json.loads(files[MANIFEST])
    change(tree)
    files[MANIFEST] = sealed(json_text({**tree, HASH: NO_HASH})).encode()
    return tarred(path, files)


def test_manifests_that_say_otherwise(bundle: Path, tmp_path: Path) -> None:
    def told(change: Callable[[dict[str, Any]], object]) -> str:
        return refused(remade(bundle, tmp_path / "remade.tar", change))

    assert "newer SigmaBench (bundle schema 9" in told(lambda t: t.update(schema_version=9))
    assert "is not a bundle" in told(lambda t: t.update(kind="x"))
    assert "does not name" in told(lambda t: t["files"].pop())
    assert "is missing" in told(lambda t: t["files"].append({**t["files"][0], "name": "z"}))
    assert "names a file twice" in told(lambda t: t["files"].append(t["files"][0]))
    assert "bytes, not" in told(lambda t: t["files"][0].update(size=1))
    assert "wrong files.0.size" in told(lambda t: t["files"][0].update(size="x"))

    def damaged(tree: dict[str, Any]) -> None:
        for one in tree["files"]:
            one["sha256"] = "0" * 64

    assert "is not what its manifest says" in told(damaged)


def test_damage_is_found_wherever_it_is(plain: Path, tmp_path: Path) -> None:
    data = plain.read_bytes()
    path = tmp_path / "damaged.tar"
    for place in range(600, len(data), len(data) // 25):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            found = verify(path)
        except UserError:
            continue
        assert not found.sound or data[place] == 0, place  # else between two members
    path.write_bytes(data[: len(data) // 2])
    refused(path)


def test_a_bundle_of_no_records(tmp_path: Path) -> None:
    path = tmp_path / "empty.tar"
    write_bundle(path, {}, "0.1.0", "")
    assert "holds 0 records" in refused(path)
    with pytest.raises(UserError, match="holds no records to submit"):
        submit(tmp_path, tmp_path / "none.tar")


def test_a_record_that_is_damaged_is_told_of_and_the_rest_is_checked(
    plain: Path, tmp_path: Path
) -> None:
    files = {name: data for name, data in content(plain).items() if name != MANIFEST}
    (first, *_) = [name for name in files if name.endswith(".json")]
    path = tmp_path / "partly.tar"
    for data, says_ in (
        (files[first][:-100], "cut short"),
        (files[first].replace(b'"schema_version": 4', b'"schema_version": 9'), "newer SigmaBench"),
        (files[first].replace(b'"kind": "run"', b'"kind": "else"'), "does not know"),
        (files[first].replace(b'"mc": 4', b'"mc": 5'), "changed after it was written"),
    ):
        write_bundle(path, {**files, first: data}, "0.1.0", "")
        found = verify(path)
        assert len(found.records) == 1
        (problem,) = found.problems
        assert says_ in problem
        assert not found.sound
    moved = first.rpartition("/")[0] + "/0123456789abcdef.json"
    rest = {name: data for name, data in files.items() if name != first}
    write_bundle(path, {**rest, moved: files[first]}, "0.1.0", "")
    assert "holds the record whose place is" in verify(path).problems[0]
    lost = {name: data for name, data in files.items() if "records/" not in name or "json" in name}
    write_bundle(path, lost, "0.1.0", "")
    assert "which a record names" in refused(path)


def test_an_artefact_of_others_is_not_submitted(made: tuple[Path, Genuine], tmp_path: Path) -> None:
    (one, *_) = made[1].artefacts.by_hash.values()
    other = replace(one, header=replace(one.header, workload="another"))
    save(other, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="artefact of none of these records"):
        submit(made[0], tmp_path / "out.tar", None, [tmp_path / "other.safetensors"])
    assert not (tmp_path / "out.tar").exists()


def called(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_commands(made: tuple[Path, Genuine], tmp_path: Path) -> None:
    out = tmp_path / "sent.tar"
    done = called("submit", "lenet-digits", "--results", made[0], "--out", out, "--by", HOSTILE)
    assert done.exit_code == 0, done.output
    assert "2 records, 0 artefacts" in done.output
    shown = called("verify", out)
    assert shown.exit_code == 0, shown.output
    assert "Nothing contradicts" in shown.output
    assert "Stated by the submitter, in records of run: " in shown.output
    assert not steering(shown.output)
    told = json.loads(called("verify", out, "--json").stdout)
    assert (told["sound"], told["division"], len(told["records"])) == (True, "open", 2)
    failed = called("submit", "nobody", "--results", made[0])
    assert failed.exit_code == 2
    assert "There is no workload with records" in failed.stderr


def test_a_folder_is_verified_bundle_by_bundle(plain: Path, tmp_path: Path) -> None:
    assert "holds no bundle" in called("verify", tmp_path).output
    (tmp_path / "b.tar").write_bytes(plain.read_bytes())
    assert called("verify", tmp_path).exit_code == 0
    (tmp_path / "a.tar").write_bytes(b"x" * 2000)
    failed = called("verify", tmp_path)
    assert failed.exit_code == 2
    assert "Nothing contradicts" in failed.stdout, "the other is shown"
    assert "a.tar cannot be believed" in failed.stderr


def test_lies_are_shown(genuine: Genuine) -> None:
    held = genuine.target.body.timing
    lied = changed(genuine.target, timing=replace(held, noise=0.5))
    records = tuple(says(lied))
    found = Verified(f"b{HOSTILE}.tar", HOSTILE, "0.1.0", 0, records, (), (HOSTILE,))
    shown = document(found)
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(terminal(shown))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "body.timing.noise" in out.getvalue()
    assert not steering(out.getvalue())
    assert not steering(markdown(shown))
    json.dumps(shown.values, allow_nan=False)
    assert "cannot be what is stated" in shown.conclusions[0]


def test_the_community_s_index(bundle: Path, tmp_path: Path) -> None:
    assert "None has been submitted so far." in index(tmp_path)
    assert community(tmp_path) == []
    folder = tmp_path / "community"
    folder.mkdir()
    (folder / "theirs.tar").write_bytes(bundle.read_bytes())
    (folder / "worse.tar").write_bytes(b"x" * 2000)
    good, bad = community(tmp_path)
    assert good.verified is not None
    assert good.name == "theirs"
    assert bad.problem
    text = index(tmp_path)
    assert "| [theirs](theirs.tar) | somebody | 2 of lenet-digits |" in text
    assert "cannot be read" in text


def test_the_published_index_is_current() -> None:
    """`python -m sigmabench.harness.bundle.submitted > results/community/README.md` makes it."""
    results = ROOT / "results"
    assert index(results) == (results / "community" / "README.md").read_text()


def test_a_manifest_says_what_it_is(bundle: Path) -> None:
    manifest = Bundle(bundle).manifest
    assert (manifest.kind, manifest.schema_version, manifest.by) == (KIND, 1, "somebody")


def race(*contenders: Contender) -> RaceRecord:
    subject = RaceSubject(
        "lenet5", "synthetic", 1, 2, 0, 1.0, tuple(one.name for one in contenders), 50
    )
    made = Provenance(factory.fingerprint(), "bench", "2026-01-01T00:00:00+00:00")
    return RaceRecord(subject, made, None, RaceBody((1, 28, 28), 4, contenders))


def contender(format: str, *latency_ns: int) -> Contender:
    return Contender(format, "sigmabench", format, "native", 50, latency_ns, (len(latency_ns),), 3)


def test_races_are_held_to_what_a_processor_can_do() -> None:
    fine = race(contender("INT8", 400_000, 410_000), contender("FP32", 4_000_000, 4_100_000))
    assert not checked([(RACES, fine)], NONE)[0].faults
    fast = race(contender("INT8", 1, 2), contender("FP32", 4_000_000, 4_100_000))
    (fault,) = checked([(RACES, fast)], NONE)[0].faults
    assert fault.kind == IMPOSSIBLE
    assert fault.field == "samples of INT8"
    twice = race(contender("INT8", 4_000_000, 4_100_000), contender("FP32", 4_000_000, 4_100_000))
    assert "to the nanosecond" in checked([(RACES, twice)], NONE)[0].faults[0].told
    (speed,) = speeds([fine])
    assert (speed.name, speed.base) == ("FP32", "INT8")
    assert speed.ratio.value == pytest.approx(0.1)


def ablation(nll: float) -> AblationRecord:
    subject = AblationSubject(
        "lenet-digits", "1", "p", "validation", 4, (), (), 5, 0, 2, 0, 1, 1, Choice("", "INT8")
    )
    scores = {"clean": {"accuracy": (75.0,), "nll": (nll,)}}
    body = AblationBody("native", 4, 0, 4, 0, {}, 1000, 800, 4.0, scores)
    made = Provenance(factory.fingerprint(), "ablation", "2026-01-01T00:00:00+00:00")
    arrays = {
        "clean.correct": np.array([[1, 1, 0, 1]], np.uint8),
        "clean.nll": np.array([[0.1, 0.2, 1.5, 0.2]]),
    }
    return AblationRecord(subject, made, None, body, Arrays.of(arrays))


def test_ablations_follow_from_their_images() -> None:
    assert not checked([(ABLATIONS, ablation(0.5))], NONE)[0].faults
    (fault,) = checked([(ABLATIONS, ablation(0.4))], NONE)[0].faults
    assert fault.field == "body.scores.clean.nll"


def test_where_a_record_says_it_was_made(genuine: Genuine) -> None:
    def told(**changes: Any) -> list[str]:
        return faults(changed(genuine.target, **changes))

    assert any("has not come yet" in one for one in told(created="2999-01-01T00:00:00+00:00"))
    assert any("which is not a time" in one for one in told(created="yesterday"))
    made = genuine.target.fingerprint
    old = replace(made, isa=("avx2",))
    lied = changed(genuine.target, fingerprint=old, dispatched_isa="avx512_core_amx")
    assert any("the processor has no amx_int8" in one for one in faults(lied))
    assert any("is more than the 2 of its machine" in one for one in told(
        fingerprint=replace(made, cores=64)))  # fmt: skip


def test_an_artefact_that_is_not_the_record_s(genuine: Genuine) -> None:
    lied = changed(genuine.target, artefact="f" * 64)
    assert faults(lied) == []
    assert any(one.startswith("body.artefact is not that") for one in faults(
        lied, artefacts=genuine.artefacts))  # fmt: skip
    kept = genuine.target.body.fidelity
    more = (replace(kept[0], std_ratio=1.0, immovable_share=0.0), *kept[1:])
    told = faults(changed(genuine.target, fidelity=more), artefacts=genuine.artefacts)
    assert any(one.startswith("body.fidelity[].std_ratio is ") for one in told)
