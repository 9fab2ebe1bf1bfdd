from __future__ import annotations

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from torch import nn

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import Posterior, from_std, load, moped, save
from sigmabench.harness.posterior import file as posterior_file


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    return moped(module, 0.3)


@pytest.fixture(scope="module")
def good(posterior: Posterior, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("posterior") / "good.safetensors"
    save(posterior, path, {"workload": "π", "seed": 3})
    return path


def test_round_trip_keeps_tensors_order_and_metadata(posterior: Posterior, good: Path) -> None:
    found, metadata = load(good)
    for role in ("mean", "rho", "state"):
        before, after = getattr(posterior, role), getattr(found, role)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[n], after[n]) for n in before)
    assert list(found.mean) == list(posterior.mean) == metadata["names"]
    assert metadata["workload"] == "π"
    assert metadata["seed"] == 3
    assert metadata["content_hash"] == posterior.content_hash() == found.content_hash()


def test_draws_survive_the_file_even_where_names_do_not_sort(tmp_path: Path) -> None:
    mean = {"b": torch.zeros(3), "a": torch.zeros(300), "c": torch.zeros(30)}
    before = from_std(mean, {n: torch.ones_like(m) for n, m in mean.items()})
    save(before, tmp_path / "p.safetensors")
    after, _ = load(tmp_path / "p.safetensors")
    draws = [p.sample(torch.Generator().manual_seed(1)) for p in (before, after)]
    assert all(torch.equal(draws[0][n], draws[1][n]) for n in mean)


def test_saving_twice_gives_the_same_bytes(posterior: Posterior, tmp_path: Path) -> None:
    for name in range(5):
        save(posterior, tmp_path / str(name), {"z": 1, "a": [1, 2]})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_noticed(good: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    content[position // 8] ^= 1 << position % 8
    bad = good.with_name("bad.safetensors")
    bad.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.safetensors"):
        load(bad)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_truncation_is_noticed(good: Path, data: st.DataObject) -> None:
    content = good.read_bytes()
    cut = good.with_name("cut.safetensors")
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(UserError, match=r"cut\.safetensors is damaged or foreign"):
        load(cut)


def test_missing_foreign_and_newer_files(
    posterior: Posterior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="There is no posterior file"):
        load(tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, foreign)
    with pytest.raises(UserError, match="not a SigmaBench posterior"):
        load(foreign)
    pickled = tmp_path / "pickled.pt"
    torch.save({"weight": torch.zeros(2)}, pickled)
    with pytest.raises(UserError, match="damaged or foreign"):
        load(pickled)
    monkeypatch.setattr(posterior_file, "SCHEMA", 2)
    save(posterior, tmp_path / "newer.safetensors")
    monkeypatch.setattr(posterior_file, "SCHEMA", 1)
    with pytest.raises(UserError, match="schema 2 and this version reads 1"):
        load(tmp_path / "newer.safetensors")


def test_a_posterior_is_told_from_other_files(good: Path, tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, tmp_path / "foreign")
    (tmp_path / "text").write_text("not a tensor file")
    assert posterior_file.is_posterior(good)
    for name in ("foreign", "text", "none"):
        assert not posterior_file.is_posterior(tmp_path / name)


def test_bad_values_are_not_written(posterior: Posterior, tmp_path: Path) -> None:
    rho = {n: r.clone() for n, r in posterior.rho.items()}
    rho["0.bias"][0] = float("nan")
    with pytest.raises(UserError, match=r"σ of 0\.bias"):
        save(Posterior(posterior.mean, rho, posterior.state), tmp_path / "p.safetensors")
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    posterior: Posterior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.safetensors"
    path.write_text("old")

    def fail(source: str, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match=r"cannot be written \(disk full\)"):
        save(posterior, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["p.safetensors"]


def test_an_unwritable_place_is_named(posterior: Posterior, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save(posterior, tmp_path / "file" / "p.safetensors")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "has no schema and no content_hash and no names"),
        ('{"schema": 1, "names": []}', "has no content_hash"),
        ("[1]", "is not a JSON object"),
        ("half", "is not JSON"),
    ],
)
def test_metadata_that_lacks_fields_is_named(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "lacking.safetensors"
    header = {posterior_file.FORMAT: f"{posterior_file._sha256(text)}\n{text}"}
    safetensors.torch.save_file({"mean/w": torch.zeros(2)}, path, header)
    with pytest.raises(UserError, match=says):
        load(path)
