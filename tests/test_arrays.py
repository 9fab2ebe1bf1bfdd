from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigmabench.harness.arrays import read_images, read_npz
from sigmabench.harness.cifar import cifar10
from sigmabench.harness.errors import UserError

RNG = np.random.Generator(np.random.PCG64(0))


def arrays(**changed: Any) -> dict[str, Any]:
    found = {
        "train_images": RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8),
        "train_labels": np.arange(6, dtype=np.uint8),
        "test_images": RNG.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8),
        "test_labels": np.arange(4),
    }
    return {**found, **changed}


def store(path: Path, **changed: Any) -> Path:
    kept = {name: value for name, value in arrays(**changed).items() if value is not None}
    np.savez(path, **kept)
    return path


def test_images_are_channels_first_and_labels_integers(tmp_path: Path) -> None:
    given = arrays()
    np.savez(tmp_path / "a.npz", **given)
    found = read_npz(tmp_path / "a.npz")
    for name, array in given.items():
        expected = array.transpose(0, 3, 1, 2) if name.endswith("images") else array
        np.testing.assert_array_equal(found[name].numpy(), expected)
    assert str(found["train_labels"].dtype) == "torch.int64"


def test_gray_images_may_lack_the_last_axis(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (4, 9, 8), dtype=np.uint8)
    found = read_npz(store(tmp_path / "a.npz", test_images=images), ("test_images", "test_labels"))
    np.testing.assert_array_equal(found["test_images"].numpy()[:, 0], images)


def test_images_alone_are_called_images(tmp_path: Path) -> None:
    path = store(tmp_path / "a.npz")
    assert len(read_images(path)) == 4
    path = store(tmp_path / "b.npz", images=arrays()["train_images"])
    assert len(read_images(path)) == 6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_labels": None}, r"has no array test_labels \(it holds train_images"),
        ({"train_images": np.zeros((6, 32, 32, 3), np.float32)}, "train_images .* is float32"),
        ({"train_images": np.zeros((6, 32, 32, 4), np.uint8)}, "1 or 3 channels"),
        ({"train_labels": np.arange(6) / 2}, "train_labels .* give integers"),
        ({"train_labels": np.arange(5)}, "6 train_images and 5 train_labels"),
        ({"test_images": np.array([{}] * 4, object)}, "test_images .* not objects"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = store(tmp_path / "a.npz", **changed)
    with pytest.raises(UserError, match=message) as error:
        read_npz(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("cut", [0, 10, 5000])
def test_damaged_files_are_refused(tmp_path: Path, cut: int) -> None:
    path = store(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"a\.npz is no \.npz file or is damaged"):
        read_npz(path)


def test_a_bare_array_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match="one bare array"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(UserError, match="There is no image file"):
        read_npz(tmp_path / "b.npz")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    path = store(tmp_path / "a.npz", train_labels=np.array([Bomb()] * 6, object))
    with pytest.raises(UserError, match="not objects"):
        read_npz(path)
    assert not (tmp_path / "exploded").exists()


def test_cifar10_of_a_data_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no cifar10\.npz in .*numpy|put cifar10\.npz"):
        cifar10(tmp_path)
    store(tmp_path / "cifar10.npz")
    assert cifar10(tmp_path)["train_images"].shape == (6, 3, 32, 32)
    store(tmp_path / "cifar10.npz", test_images=np.zeros((4, 28, 28, 3), np.uint8))
    with pytest.raises(UserError, match=r"test_images in .* are of \[3, 28, 28\]"):
        cifar10(tmp_path)
