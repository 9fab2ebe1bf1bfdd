"""Predictions on disk: what comes back, and what does not count."""

from __future__ import annotations

import os
import re
import shutil
import time
import tracemalloc
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from sigmabench.harness.predict.cache import Made, Scratch
from sigmabench.harness.predict.predicted import Outcomes, Predictive
from sigmabench.harness.records.store import PREDICTIONS

KEY = {"format": "INT8", "seed": 0, "rule": None}
WHOLE = ("probs", "log_probs", "entropy", "expected_entropy", "mutual_information")
FIELDS = ("confidence", "prediction", "entropy", "mutual_information", "labels", "nlls", "briers",
          "opening")  # fmt: skip


def made(T: int = 3, whole: bool = False) -> Made:
    predictive = Predictive((1, T))
    predictive.update(torch.randn(T, 7, 4, generator=torch.Generator().manual_seed(T)))
    labels = torch.arange(7) % 4
    found = {str(t): s.outcomes(labels, whole, 2) for t, s in predictive.summaries().items()}
    return found, {"spent": torch.arange(7)}


def scratch_in(folder: Path, reuse: bool = True) -> Scratch:
    """Of a folder of records."""
    return Scratch(folder / PREDICTIONS, reuse)


def fail() -> Made:
    raise AssertionError("computed again")


def same(a: Outcomes, b: Outcomes) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in FIELDS]
    if a.whole and b.whole:
        pairs += [(getattr(a.whole, name), getattr(b.whole, name)) for name in WHOLE]
    equal = all(x is y is None or torch.equal(x, y) for x, y in pairs)
    return (a.T, a.classes, a.whole is None) == (b.T, b.classes, b.whole is None) and equal


@pytest.mark.parametrize("whole", [False, True])
def test_what_was_made_comes_back_bit_for_bit(tmp_path: Path, whole: bool) -> None:
    first = made(whole=whole)
    scratch_in(tmp_path).get(KEY, ("1", "3"), lambda: first)
    again = scratch_in(tmp_path).get(KEY, ("3",), fail)
    assert list(again[0]) == ["1", "3"]
    assert all(same(again[0][name], first[0][name]) for name in first[0])
    assert again[0]["1"].mutual_information is None
    assert torch.equal(again[1]["spent"], first[1]["spent"])


@pytest.mark.parametrize("other", [KEY | {"seed": 1}, KEY | {"rule": {"limit": 3}}])
def test_another_key_is_made_anew(tmp_path: Path, other: dict) -> None:
    scratch_in(tmp_path).get(KEY, ("3",), made)
    with pytest.raises(AssertionError, match="computed again"):
        scratch_in(tmp_path).get(other, ("3",), fail)


def test_a_prefix_that_was_not_made_is_made_with_the_rest(tmp_path: Path) -> None:
    scratch = scratch_in(tmp_path)
    scratch.get(KEY, ("3",), made)
    assert "5" in scratch.get(KEY, ("3", "5"), lambda: made(5))[0]
    assert "5" in scratch.get(KEY, ("1",), fail)[0]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, damage: bytes | None) -> None:
    scratch = scratch_in(tmp_path)
    scratch.get(KEY, ("3",), made)
    (file,) = scratch.folder.iterdir()
    file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
    assert same(scratch.get(KEY, ("3",), made)[0]["3"], made()[0]["3"])
    assert same(scratch.get(KEY, ("3",), fail)[0]["3"], made()[0]["3"])


def rewritten(path: Path, change) -> None:
    """A file that was opened, changed and saved again, with the hash that it had."""
    with safetensors.safe_open(path, framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(about, tensors)
    safetensors.torch.save_file(tensors, path, about)


def facts_of_another_t(about: dict, tensors: dict) -> None:
    about["facts"] = about["facts"].replace("[3, ", "[2, ")


def without_hash(about: dict, tensors: dict) -> None:
    del about["sha256"]


def without_one(about: dict, tensors: dict) -> None:
    del tensors["mutual_information/3"]


def a_surplus_one(about: dict, tensors: dict) -> None:
    tensors["other/more"] = torch.zeros(1)


def zeroed(about: dict, tensors: dict) -> None:
    tensors["prediction/3"].zero_()


def as_other_numbers(about: dict, tensors: dict) -> None:
    tensors["confidence/3"] = tensors["confidence/3"].view(torch.int32)


def exchanged(about: dict, tensors: dict) -> None:
    names = ("entropy/3", "confidence/3")
    tensors.update(zip(names, [tensors[name].clone() for name in reversed(names)], strict=True))


def in_bfloat16(about: dict, tensors: dict) -> None:
    tensors["confidence/3"] = tensors["confidence/3"].bfloat16()


@pytest.mark.parametrize(
    "change",
    [facts_of_another_t, without_hash, without_one, a_surplus_one, zeroed, as_other_numbers,
     exchanged, in_bfloat16],
)  # fmt: skip
def test_what_does_not_match_its_hash_is_no_prediction(tmp_path: Path, change) -> None:
    scratch = scratch_in(tmp_path)
    scratch.get(KEY, ("3",), made)
    (file,) = scratch.folder.iterdir()
    before = file.read_bytes()
    rewritten(file, change)
    assert file.read_bytes() != before
    with pytest.raises(AssertionError, match="computed again"):
        scratch.get(KEY, ("3",), fail)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_no_changed_byte_is_believed(tmp_path: Path, where: float, change: int) -> None:
    scratch = scratch_in(tmp_path)
    scratch.get(KEY, ("3",), made)
    (file,) = scratch.folder.iterdir()
    good = file.read_bytes()
    at = int(where * len(good))
    file.write_bytes(good[:at] + bytes([good[at] ^ change]) + good[at + 1 :])
    try:
        kept = scratch.get(KEY, ("3",), fail)
    except AssertionError:
        kept = None
    file.write_bytes(good)
    assert kept is None or all(same(kept[0][name], made()[0][name]) for name in kept[0])


def test_keeping_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    predictive = Predictive((2,))
    predictive.update(torch.randn(2, 4000, 100, generator=torch.Generator().manual_seed(0)))
    labels = torch.zeros(4000, dtype=torch.int64)
    large = {str(t): s.outcomes(labels, whole=True) for t, s in predictive.summaries().items()}, {}
    tracemalloc.start()
    scratch_in(tmp_path).get(KEY, ("2",), lambda: large)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (file,) = scratch_in(tmp_path).folder.iterdir()
    assert file.stat().st_size > 6_000_000
    assert file.stat().st_mode & 0o777 == 0o644
    assert most < 1_000_000


@pytest.mark.parametrize("reason", [SafetensorError("No space left"), OSError("No space left")])
def test_what_cannot_be_kept_leaves_nothing_behind(tmp_path: Path, monkeypatch, reason) -> None:
    def full(tensors: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(b"a part")
        raise reason

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    scratch = scratch_in(tmp_path)
    assert same(scratch.get(KEY, ("3",), made)[0]["3"], made()[0]["3"])
    (finding,) = scratch.findings
    assert re.search(r"^predictions were not kept .*cannot be written \(No space left\)", finding)
    assert not list(scratch.folder.iterdir())


def test_clearing_forgets_ones_own_and_nothing_else(tmp_path: Path) -> None:
    scratch, other = scratch_in(tmp_path), scratch_in(tmp_path)
    scratch.clear()
    scratch.get(KEY, ("3",), made)
    other.get(KEY | {"seed": 77}, ("3",), made)
    scratch.clear()
    assert same(other.get(KEY | {"seed": 77}, ("3",), fail)[0]["3"], made()[0]["3"])
    scratch.get(KEY, ("3",), made)  # it was forgotten
    other.clear()
    scratch.clear()
    assert not scratch.folder.exists()


def test_what_another_run_clears_meanwhile_is_made_again(tmp_path: Path) -> None:
    scratch = scratch_in(tmp_path)
    scratch.get(KEY, ("3",), made)
    shutil.rmtree(scratch.folder)
    assert same(scratch.get(KEY, ("3",), made)[0]["3"], made()[0]["3"])
    assert not scratch.findings


def test_a_run_that_measures_all_again_uses_what_it_made_itself(tmp_path: Path) -> None:
    scratch_in(tmp_path).get(KEY, ("3",), made)
    again, asked = scratch_in(tmp_path, reuse=False), []
    for _ in range(2):
        again.get(KEY, ("3",), lambda: asked.append(1) or made())
    assert len(asked) == 1


def test_a_place_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    scratch = scratch_in(tmp_path / "file")
    assert same(scratch.get(KEY, ("3",), made)[0]["3"], made()[0]["3"])
    assert "cannot be written" in scratch.findings[0]


def test_what_nobody_asks_for_in_30_days_goes_when_another_run_begins(tmp_path: Path) -> None:
    keys = [KEY | {"seed": seed} for seed in range(3)]
    left = scratch_in(tmp_path / "w" / "other")
    for key in keys:
        left.get(key, ("3",), made)
    times = {path: time.time() - 31 * 24 * 3600 for path in left.folder.iterdir()}
    foreign = left.folder / "notes.txt"
    foreign.write_text("")
    for path in (*times, foreign):
        os.utime(path, (0, times.get(path, 0)))
    left.get(keys[0], ("3",), fail)  # is asked for
    (asked,) = [path for path in times if path.stat().st_mtime > times[path] + 1]
    scratch_in(tmp_path / "v" / "this")
    assert len(list(left.folder.iterdir())) == 4, "another workload's"
    scratch_in(tmp_path / "w" / "this")
    assert set(left.folder.iterdir()) == {asked, foreign}
