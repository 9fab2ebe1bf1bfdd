from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data import splits as data
from sigmabench.harness.data.root import data_root
from sigmabench.harness.data.splits import Split, hold_out, mnist


def split(count: int = 6, **changed: object) -> Split:
    images = torch.arange(count * 2 * 3 * 3).reshape(count, 2, 3, 3).to(torch.uint8)
    fields: dict[str, Any] = {
        "name": "train",
        "images": images,
        "labels": torch.arange(count) % 3,
        "mean": (0.1, 0.2),
        "std": (0.5, 0.25),
        "classes": 3,
    }
    return Split(**{**fields, **changed})


def test_batch_is_normalised_per_channel() -> None:
    found = split().batch(slice(2, 4))
    raw = split().images[2:4].double() / 255
    expected = torch.stack([(raw[:, 0] - 0.1) / 0.5, (raw[:, 1] - 0.2) / 0.25], 1)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)
    assert torch.equal(split().batch(torch.tensor([3, 2])), found.flip(0))


def test_limit_takes_the_first_and_refuses_none() -> None:
    assert torch.equal(split().limit(2).images, split().images[:2])
    assert len(split().limit(2).labels) == 2
    assert len(split().limit(99)) == len(split().limit(None)) == 6
    with pytest.raises(UserError, match="limit on images is 0"):
        split().limit(0)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range_are_named(label: int) -> None:
    with pytest.raises(UserError, match=f"train split has label {label}; .* run from 0 to 2"):
        split(labels=torch.tensor([0, 1, 2, 0, label, 1]))


def test_other_bad_splits() -> None:
    with pytest.raises(UserError, match="holds no image"):
        split(0)
    with pytest.raises(UserError, match="6 images and 4 labels"):
        split(labels=torch.zeros(4, dtype=torch.int64))
    with pytest.raises(UserError, match="give uint8 of shape"):
        split(images=torch.zeros(6, 2, 3, 3))


def test_hold_out_is_stratified_disjoint_and_the_same_everywhere() -> None:
    labels = torch.arange(1000) % 10
    kept, held = hold_out(labels, 200, 5)
    assert sorted(kept.tolist() + held.tolist()) == list(range(1000))
    assert torch.bincount(labels[held]).tolist() == [20] * 10
    assert torch.equal(hold_out(labels, 200, 5)[1], held)
    assert not torch.equal(hold_out(labels, 200, 6)[1], held)
    digest = hashlib.sha256(held.numpy().astype("<i8").tobytes()).hexdigest()
    assert digest == "efca078db2043d62384e396f1b96d19f1049170a5a9d923d62641557ca1cd5c5"


@pytest.mark.parametrize("seed", range(12))
def test_hold_out_takes_the_images_that_scikit_learn_takes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(1, 12))
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 300), np.arange(classes)])
    labels = rng.permutation(labels) * 7 - 20  # in any order, and not counted from 0
    for count in (classes, 37, len(labels) // 2, len(labels) - classes):
        expected = train_test_split(
            np.arange(len(labels)), test_size=count, random_state=seed, stratify=labels
        )
        for found, of in zip(hold_out(labels, count, seed), expected, strict=True):
            assert found.tolist() == sorted(of.tolist())


@pytest.mark.parametrize(
    ("labels", "count"), [([0, 0, 1], 2), ([0, 0, 1, 1], 1), ([0, 0, 1, 1], 3), ([], 1)]
)
def test_what_cannot_be_held_out_is_refused(labels: list[int], count: int) -> None:
    with pytest.raises(UserError, match="cannot be held out by class"):
        hold_out(torch.tensor(labels, dtype=torch.int64), count, 0)


def test_data_root_prefers_the_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "variable").mkdir()
    monkeypatch.setenv("SIGMABENCH_DATA", str(tmp_path / "variable"))
    assert data_root(None) == tmp_path / "variable"
    assert data_root(tmp_path) == tmp_path
    monkeypatch.delenv("SIGMABENCH_DATA")
    assert data_root(None) is None


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_data_root_that_is_none_is_laid_to_who_named_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SIGMABENCH_DATA", str(tmp_path / name))
    with pytest.raises(UserError, match=rf"no data directory \S*{name}; correct SIGMABENCH_DATA"):
        data_root(None)
    with pytest.raises(UserError, match=rf"no data directory \S*{name}; correct --data,"):
        data_root(tmp_path / name)


def small_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two-image stand-ins for MNIST's files, and their MD5s in place of the real ones."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    table = {}
    for name, (_, full) in data.MNIST_FILES.items():
        shape = (2, *full[1:])
        header = np.array([0x0800 + len(shape), *shape], dtype=">u4").tobytes()
        body = (np.arange(np.prod(shape)) % 7).astype(np.uint8).tobytes()
        content = gzip.compress(header + body)
        (raw / f"{name}.gz").write_bytes(content)
        table[name] = (hashlib.md5(content).hexdigest(), shape)
    monkeypatch.setattr(data, "MNIST_FILES", table)
    return raw


def test_mnist_is_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = small_files(tmp_path, monkeypatch)
    before = sorted(os.listdir(raw))
    arrays = mnist(tmp_path)
    assert arrays["train-images-idx3-ubyte"].shape == (2, 28, 28)
    assert arrays["train-images-idx3-ubyte"].flatten()[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert sorted(os.listdir(raw)) == before
    packed = raw / "t10k-labels-idx1-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert torch.equal(mnist(tmp_path)["t10k-labels-idx1-ubyte"], torch.tensor([0, 1]).byte())


def test_mnist_that_is_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = small_files(tmp_path, monkeypatch)
    packed = raw / "train-labels-idx1-ubyte.gz"
    content = packed.read_bytes()
    packed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte\.gz is not MNIST's file"):
        mnist(tmp_path)
    packed.unlink()
    packed.with_suffix("").write_bytes(gzip.decompress(content)[:-1])
    with pytest.raises(UserError, match="train-labels-idx1-ubyte is not MNIST's file"):
        mnist(tmp_path)
    packed.with_suffix("").unlink()
    with pytest.raises(UserError, match=r"no train-labels-idx1-ubyte\.gz in .*SIGMABENCH_DATA"):
        mnist(tmp_path)


def test_mnist_without_data_or_network_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(root: Path, download: bool) -> NoReturn:
        raise RuntimeError("no network")

    monkeypatch.delenv("SIGMABENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.MNIST", offline)
    with pytest.raises(UserError, match=r"cannot be downloaded .*no network.*put the four"):
        mnist(None)
    small_files(tmp_path / "sigmabench" / "data", monkeypatch)
    assert len(mnist(None)) == 4


def real_root() -> Path:
    named = os.environ.get("SIGMABENCH_DATA")
    if not named or not (Path(named) / "MNIST" / "raw").is_dir():
        pytest.skip("SIGMABENCH_DATA names no directory with MNIST/raw")
    return Path(named)


def test_mnist_equals_torchvisions(tmp_path: Path) -> None:
    from torchvision.datasets import MNIST

    root = real_root()
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in data.MNIST_FILES:
        (raw / f"{name}.gz").symlink_to(root / "MNIST" / "raw" / f"{name}.gz")
    arrays = mnist(root)
    for train, part in ((True, "train"), (False, "t10k")):
        expected = MNIST(str(tmp_path), train=train, download=True)
        assert torch.equal(arrays[f"{part}-images-idx3-ubyte"], expected.data)
        assert torch.equal(arrays[f"{part}-labels-idx1-ubyte"].long(), expected.targets)
