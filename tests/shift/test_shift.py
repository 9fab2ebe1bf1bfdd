"""The study end to end on the embedded digits: cells, prefixes, workers, interruption, resuming."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import shift_factory
from records_made import changed
from studied import studied

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.corruptions.registered import CORRUPTIONS, corrupt
from sigmabench.harness.machine.fingerprint import Machine
from sigmabench.harness.metrics.metric import METRICS
from sigmabench.harness.records.record_file import to_json
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.shift_record import SHIFT_RECORDS, ShiftRecord
from sigmabench.harness.records.store import Policy, Store
from sigmabench.harness.studies import driver
from sigmabench.harness.studies import scored as study
from sigmabench.harness.studies.known import STUDIES
from sigmabench.harness.studies.study import Measured
from sigmabench.harness.workload.cell import Cell
from sigmabench.harness.workload.conditions import ShiftPlan, shift_plan
from sigmabench.harness.workload.workload import WORKLOADS


def plan(**choices: object) -> ShiftPlan:
    given = {
        "formats": ("FP32", "INT8_SIGMA1", "DNN_INT8"),
        "types": ("contrast", "gaussian_noise"),
        "severities": (1, 5),
        "mc": 4,
        "limit": 30,
        "ood": (),
        "backend": "reference",
    }
    return shift_plan(WORKLOADS.get("lenet-digits"), **{**given, **choices})[0]  # type: ignore[arg-type]


def run(path: Path, chosen: ShiftPlan, **options: object) -> list[ShiftRecord]:
    return studied("shift", chosen, path, **options)  # type: ignore[arg-type]


def same(a: list[ShiftRecord], b: list[ShiftRecord]) -> None:
    """Equal but for when they were made."""
    assert [changed(r, created="") for r in a] == [changed(r, created="") for r in b]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ShiftRecord]]:
    path = tmp_path_factory.mktemp("whole")
    return path, run(path, plan())


def test_every_format_is_scored_on_every_condition(whole: tuple[Path, list[ShiftRecord]]) -> None:
    path, records = whole
    conditions = {(r.subject.corruption, r.subject.severity) for r in records}
    types = ("contrast", "gaussian_noise")
    assert conditions == {("none", 0), *((t, s) for t in types for s in (1, 5))}
    assert len(records) == 15
    assert len(list(path.rglob("*.json"))) == 15
    for record in records:
        stochastic = record.subject.format != "DNN_INT8"
        assert record.body.mc == ((1, 2, 4) if stochastic else (1,))
        assert set(record.body.scores) == set(METRICS.names())
        assert ("mutual_information" in record.arrays) == stochastic
        assert record.subject.shifted == ("" if record.subject.severity == 0 else "generated 0")
    drawn = {r.subject.format: (r.subject.backend, r.subject.noise) for r in records}
    assert drawn == {
        "FP32": ("drawn", "stream-v1"),  # as the int8 formats
        "INT8_SIGMA1": ("reference", "stream-v1"),
        "DNN_INT8": ("reference", "-"),
    }


def test_scores_are_those_of_the_images(whole: tuple[Path, list[ShiftRecord]]) -> None:
    for record in whole[1]:
        nll, correct = record.array("nll"), record.array("correct")
        assert len(nll) == len(correct) == record.body.images == 30
        assert record.score("nll") == pytest.approx(float(nll.mean()), rel=1e-5)
        assert record.score("accuracy") == pytest.approx(100 * correct.mean())
        assert np.all((record.array("confidence") > 0.1) & (record.array("confidence") <= 1))


def test_a_prefix_is_a_study_of_fewer_passes(
    whole: tuple[Path, list[ShiftRecord]], tmp_path: Path
) -> None:
    fewer = run(tmp_path, plan(mc=2, types=("contrast",), severities=(5,)))
    for record in fewer:
        (longer,) = (
            r
            for r in whole[1]
            if (r.subject.format, r.subject.corruption, r.subject.severity)
            == (record.subject.format, record.subject.corruption, record.subject.severity)
        )
        for metric in METRICS:
            for T in record.body.mc:
                assert record.score(metric, T) == longer.score(metric, T)


def test_images_are_the_corrupted_ones(whole: tuple[Path, list[ShiftRecord]]) -> None:
    """A brute-force accuracy of one cell, from the functions alone."""
    from sigmabench.harness.backends.base import BACKENDS
    from sigmabench.harness.workload.prepare import prepare

    prepared = prepare(plan().base)
    test = prepared.splits.test.limit(30)
    bad = replace(test, images=corrupt(test.images, "gaussian_noise", 5, seed=0))
    predictor = BACKENDS.get("reference").load(prepared.artefact("INT8_SIGMA1"), threads=1)
    logits = predictor.logits(bad.batch(slice(0, 30)), 0, range(4))
    right = (logits.softmax(-1).mean(0).argmax(-1) == test.labels).numpy()
    (record,) = (
        r
        for r in whole[1]
        if (r.subject.format, r.subject.corruption, r.subject.severity)
        == ("INT8_SIGMA1", "gaussian_noise", 5)
    )
    np.testing.assert_array_equal(record.array("correct"), right)


@pytest.mark.thorough
def test_workers_change_nothing(whole: tuple[Path, list[ShiftRecord]], tmp_path: Path) -> None:
    same(run(tmp_path, plan(), workers=2), whole[1])


def test_a_stopped_study_goes_on_and_ends_with_the_same_records(
    whole: tuple[Path, list[ShiftRecord]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, done = study.CellScorer.score, 0

    def score(job: study.CellScorer, *arguments: object) -> Measured[Cell]:
        nonlocal done
        if done == 7:
            raise KeyboardInterrupt
        done += 1
        return original(job, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(study.CellScorer, "score", score)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, plan())
    stored = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    assert len(stored) == 7
    same(run(tmp_path, plan()), whole[1])
    assert all(p.stat().st_mtime_ns == at for p, at in stored.items())


@pytest.mark.slow
def test_ctrl_c_in_workers_leaves_whole_records(tmp_path: Path) -> None:
    """Interrupted as a terminal does it: the signal goes to the whole process group."""
    out = tmp_path / "results"
    process = _started(out)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    records = Store(out, SHIFT_RECORDS).records("lenet-digits")
    assert process.returncode == 130, errors
    assert "goes on from there" in errors
    assert "Traceback" not in errors
    assert 0 < len(records) < 76 * 7
    assert not list(out.rglob(".*.json.*"))


def _started(out: Path) -> subprocess.Popen[str]:
    """A study of two workers that has stored its first record, and is far from its last."""
    command = [
        sys.executable, "-c", "from sigmabench.harness.cli.main import main; main()", "shift",
        "lenet-digits", "--mc", "50", "--limit", "100", "--workers", "2", "--ood", "",
        "--types", ",".join(t for t in CORRUPTIONS if t != "frost"),  # frost needs its photographs
        "--results", str(out), "--json",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs, and so their children, are born deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(out.rglob("*.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    return process


@pytest.mark.slow
def test_workers_of_a_killed_study_end(tmp_path: Path) -> None:
    """`kill -9` gives the parent no time to stop them; they hold its standard error."""
    process = _started(tmp_path / "results")
    process.kill()
    process.communicate(timeout=120)  # until the last process that has the pipe is gone


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_of(tmp_path: Path) -> None:
    process = _started(tmp_path / "results")
    children = psutil.Process(process.pid).children()
    workers = [child for child in children if "spawn_main" in str(child.cmdline())]
    workers[0].kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "worker of the study was killed" in errors
    assert "Traceback" not in errors


def test_read_only_scores_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no record of this study; .* --policy never\.$"):
        run(tmp_path, plan(), policy=Policy.NEVER)
    assert list(tmp_path.iterdir()) == []


def test_records_of_another_machine_are_read_but_not_used(
    whole: tuple[Path, list[ShiftRecord]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    other = replace(whole[1][0].fingerprint, cpu="another", cores=999)
    monkeypatch.setattr(driver, "fingerprint", lambda: other)
    same(run(tmp_path, plan(), policy=Policy.NEVER), whole[1])
    told: list[str] = []
    for _ in range(2):
        scored = run(tmp_path, plan(types=()), tell=told.append)
        assert {record.fingerprint.cpu for record in scored} == {"another"}
    assert len(told) == 1
    assert told[0].startswith(f"{len(scored)} subjects have records of another machine")


def shown(records: list[ShiftRecord], cells: list[Cell]) -> list[list[ShiftRecord]]:
    """What `--policy never` shows of records, from old to young."""
    return driver._shown(STUDIES.get("shift"), records, cells, Path("results"))  # type: ignore[return-value]


def test_a_study_is_never_put_together_from_two_machines() -> None:
    """The one with most cells is first, of equals the one that scored last; then the youngest."""
    first, second, third, *_ = shift_factory.study(types=("fog",), severities=(1,))

    def on(record: ShiftRecord, cpu: str, created: str) -> ShiftRecord:
        return changed(
            record, created=created, fingerprint=replace(record.fingerprint, cpu=cpu, code=created)
        )

    one = [on(first, "one", "1"), on(second, "one", "2"), on(first, "one", "3")]
    other = [on(first, "other", "4"), on(third, "other", "5")]
    cells = [first.subject, second.subject, third.subject]
    assert shown([*one, other[0]], cells) == [[one[2], one[1]], [other[0]]]
    assert shown([*one, *other], cells) == [other, [one[2], one[1]]]
    assert shown([*one, *other], cells[:2]) == [[one[2], one[1]], [other[0]]]
    with pytest.raises(UserError, match="holds no record of this study"):
        shown([], cells)


def test_superseded_records_answer_to_another_digest_of_their_images() -> None:
    """With the whole identity of its machine a record has the digest of its images' contents."""
    record = shift_factory.study(types=("fog",), severities=(1,))[0]
    named = changed(record, subject=replace(record.subject, data="0123456789abcdef"))
    asked = replace(named.subject, data="fedcba9876543210")
    assert shown([named], [asked]) == [[named]]
    whole = replace(named.fingerprint, machine=Machine("v", "n", "6", "1", "1", (), 2, 2, {}, ""))
    for stored, cell in (
        (named, replace(asked, mc=asked.mc + 1)),
        (record, asked),
        (changed(named, fingerprint=whole), asked),
    ):
        with pytest.raises(UserError, match="holds no record of this study"):
            shown([stored], [cell])


def test_batches_of_images_change_no_record(
    whole: tuple[Path, list[ShiftRecord]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "images_at_a_time", lambda _: 7)
    found = run(tmp_path, plan(formats=("FP32",)))
    expected = [record for record in whole[1] if record.subject.format == "FP32"]
    for one, other in zip(found, expected, strict=True):
        assert one.subject == other.subject
        assert one.score("nll") == pytest.approx(other.score("nll"), rel=1e-5)


def test_records_survive_their_file_and_are_of_their_own_kind(
    whole: tuple[Path, list[ShiftRecord]],
) -> None:
    path, records = whole
    file = Store(path, SHIFT_RECORDS).file(records[0].subject, records[0].fingerprint)
    assert file.read_text() == to_json(SHIFT_RECORDS, records[0])
    with pytest.raises(UserError, match="is a record of kind 'shift', not a record; move it"):
        Store(path, RUN_RECORDS).load(file)


def test_seeds_are_cells_but_a_deterministic_format_has_one(tmp_path: Path) -> None:
    records = run(tmp_path, plan(types=(), seeds=2))
    assert [(r.subject.format, r.subject.seed) for r in records] == [
        ("FP32", 0), ("INT8_SIGMA1", 0), ("DNN_INT8", 0), ("FP32", 1), ("INT8_SIGMA1", 1),
    ]  # fmt: skip


def test_types_that_cannot_be_made_here_are_refused_before_anything_is_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object, **__: object) -> str:
        return "no photographs"

    monkeypatch.setattr("sigmabench.harness.workload.conditions.why_not", missing)
    with pytest.raises(UserError, match=r"no photographs; leave frost out of --types"):
        plan(types=("frost",))


def test_reading_makes_and_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is scored")

    monkeypatch.setattr("sigmabench.harness.workload.conditions.why_not", refuse)
    monkeypatch.setattr("sigmabench.harness.data.outside.available", refuse)
    read = plan(types=("frost",), ood=("svhn",), scoring=False)
    assert (read.types, [one.name for one in read.ood]) == (("frost",), ["svhn"])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"types": ("gausian_noise",)}, "did you mean gaussian_noise"),
        ({"severities": (0,)}, "severity"),
        ({"severities": (6,)}, "severity"),
        ({"profile": "fast"}, "no profile named 'fast'"),
        ({"formats": ("INT9",)}, "no format named 'INT9'"),
        ({"ood": ("svnh",)}, "did you mean svhn"),
        ({"mc": 0}, "--mc is 0"),
        ({"corruption_seed": -1}, "--corruption-seed is -1"),
    ],
)
def test_bad_choices_are_named(choices: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(**choices)


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--workers is 0"):
        run(tmp_path, plan(), workers=0)
