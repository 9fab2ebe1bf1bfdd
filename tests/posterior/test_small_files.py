"""Files that say more than they hold: refused while little memory is taken."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import memory_limit
from sigmabench.harness.machine.peak_memory import PeakMemory
from sigmabench.harness.posterior import file as posterior_file
from sigmabench.harness.posterior.bayesian_torch import from_bayesian_torch
from sigmabench.harness.posterior.checkpoint import load_checkpoint
from sigmabench.harness.posterior.posterior import Posterior
from sigmabench.harness.posterior.saved import read_state_dict

MANY = 10**9  # numbers, 4 GB
MOST = 1 << 27  # bytes that reading such a file may take

ONE = torch.zeros(1)


def layer(mean: Tensor, rho: Tensor) -> dict[str, Tensor]:
    return {"conv.mu_kernel": mean, "conv.rho_kernel": rho}


CHECKPOINTS: dict[str, Any] = {
    "mean expanded": layer(ONE.expand(MANY), torch.zeros(2, 1, 3, 3)),
    "both expanded": layer(ONE.expand(MANY), ONE.expand(MANY)),
    "under state_dict": {"state_dict": layer(ONE.expand(MANY), ONE.expand(MANY))},
    "rows repeated": layer(torch.zeros(8, 100).as_strided((MANY, 100), (0, 1)), ONE),
    "windows that overlap": layer(torch.zeros(40_000).as_strided((20_000, 20_000), (1, 1)), ONE),
    "2^43 numbers": layer(ONE.expand(1 << 43), ONE),
}


def taken(call: Callable[[], object], message: str) -> int:
    """Bytes by which the process grew at most while a call was refused with this message."""
    with PeakMemory() as before:
        pass
    with PeakMemory() as peak, pytest.raises(UserError, match=message):
        call()
    return peak.peak_bytes - before.peak_bytes


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_more_numbers_than_are_stored_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(CHECKPOINTS[kind], path)
    assert path.stat().st_size < 200_000
    size = taken(
        lambda: from_bayesian_torch(read_state_dict(path)),
        r"^conv\.mu_kernel in .*model\.pth has the shape .* save it with \.contiguous\(\)",
    )
    assert size < MOST


def test_a_training_checkpoint_is_no_exception(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"run": {}, "state": {"optimizer": [{"exp_avg": ONE.expand(MANY)}]}}, buffer)
    path = tmp_path / "run.checkpoint"
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    assert taken(lambda: load_checkpoint(path, {}), r"^exp_avg in .*run\.checkpoint has") < MOST


def test_tied_weights_and_views_of_what_is_stored_are_read(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    given = {"a": whole, "b": whole, "c": whole.T, "d": whole[:, ::2], "e": ONE.expand(1, 1)}
    torch.save(given, tmp_path / "model.pth")
    found = read_state_dict(tmp_path / "model.pth")
    assert all(torch.equal(found[name], value) for name, value in given.items())


@pytest.mark.parametrize("names", [3, 40])
def test_one_storage_under_many_names_is_counted_under_each(
    names: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory_limit.VARIABLE, str(1 << 20))
    shared = torch.zeros(1 << 13)  # 32 KiB; 40 of them are more than 1 MiB
    torch.save({f"w{k}": shared for k in range(names)}, tmp_path / "model.pth")
    if names == 3:
        assert len(read_state_dict(tmp_path / "model.pth")) == 3
    else:
        with pytest.raises(UserError, match=r"model\.pth needs about 0\.00122 GiB of memory, and"):
            read_state_dict(tmp_path / "model.pth")


def test_lists_that_hold_the_next_one_twice_end(tmp_path: Path) -> None:
    """A kilobyte of them stands for 2^60 places, each of which would hold the tensor."""
    nested: list[Any] = [ONE]
    for _ in range(60):
        nested = [nested, nested]
    torch.save({"w": ONE, "x": nested}, tmp_path / "model.pth")
    with pytest.raises(UserError, match=r"model\.pth"):
        read_state_dict(tmp_path / "model.pth")
    torch.save({"run": {}, "state": nested}, buffer := io.BytesIO())
    path = tmp_path / "run.checkpoint"
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    with pytest.raises(UserError, match=r"run\.checkpoint"):
        load_checkpoint(path, {})


@pytest.mark.thorough
def test_a_zip_that_grows_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory_limit.VARIABLE, str(1 << 28))
    torch.save({"w": torch.zeros(1 << 27)}, plain := io.BytesIO())
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    del plain
    assert path.stat().st_size < 1 << 20
    assert taken(lambda: read_state_dict(path), r"needs about 0\.5 GiB of memory, and 0\.25") < MOST


@pytest.mark.parametrize("name", ["model.safetensors", "run.checkpoint", "p.safetensors"])
def test_a_file_larger_than_memory_is_not_begun(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory_limit.VARIABLE, str(1 << 30))
    path = tmp_path / name
    with path.open("wb") as stream:
        stream.truncate(1 << 34)  # a hole: nothing is on the disk
    doors: dict[str, Callable[[], object]] = {
        "model.safetensors": lambda: read_state_dict(path),
        "run.checkpoint": lambda: load_checkpoint(path, {}),
        "p.safetensors": lambda: posterior_file.load(path),
    }
    tracemalloc.start()
    with pytest.raises(UserError, match=r"needs about 16 GiB of memory, and 1 GiB may be taken"):
        doors[name]()
    assert tracemalloc.get_traced_memory()[1] < MOST
    tracemalloc.stop()


def test_containers_that_contain_themselves_are_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"w": ONE}
    loop["state_dict"] = loop
    torch.save(loop, tmp_path / "model.pth")
    with pytest.raises(UserError, match=r"model\.pth is damaged or holds more than tensors"):
        read_state_dict(tmp_path / "model.pth")


def written(tmp_path: Path, names: Any, state: Tensor = ONE, text: str = "") -> Path:
    """A posterior file whose checksum is right, whatever it says."""
    text = text or json.dumps({"schema": 1, "content_hash": "", "names": names})
    header = {posterior_file.FORMAT: f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"}
    tensors = {"mean/w": torch.zeros(2), "rho/w": torch.ones(2), "state/s": state}
    safetensors.torch.save_file(tensors, tmp_path / "p.safetensors", header)
    return tmp_path / "p.safetensors"


@pytest.mark.parametrize("names", [None, True, 3, 0.5, "w", {"w": 1}, [["w"]], [None]])
def test_names_that_are_no_list_of_text_are_refused(names: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the names in its metadata are not a list of text"):
        posterior_file.load(written(tmp_path, names))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "it is nested too deep"),
        ('{"a":' * 100_000, "it is nested too deep"),
        ('{"schema":1,"schema":1,"content_hash":"","names":["w"]}', "'schema' twice"),
        ('{"schema":NaN,"content_hash":"","names":["w"]}', "it has the number NaN"),
    ],
)
def test_metadata_no_reader_agrees_on_is_refused(text: str, says: str, tmp_path: Path) -> None:
    told = rf"is damaged or foreign: its metadata is not JSON.*{says}"
    with pytest.raises(UserError, match=told):
        posterior_file.load(written(tmp_path, ["w"], text=text))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e5m2])
def test_states_of_other_types_are_named(kind: torch.dtype, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^s in .*p\.safetensors is \w+, not float32, integers or"):
        posterior_file.load(written(tmp_path, ["w"], ONE.to(kind)))
    odd = Posterior({"w": ONE}, {"w": ONE}, {"s": ONE.to(kind)})
    with pytest.raises(UserError, match=r"^s in .* is "):
        posterior_file.save(odd, tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()


def test_a_name_with_half_a_character_is_shown_escaped(tmp_path: Path) -> None:
    half = "w\ud800"
    odd = Posterior({half: ONE}, {half: ONE}, {})
    with pytest.raises(UserError, match=r"^The name 'w\\ud800' in .* is not text; rename it\.$"):
        posterior_file.save(odd, tmp_path / "new.safetensors")
