from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.arrays import read_images, read_npz
from sigmabench.harness.data.cifar import cifar10

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
        ({"train_images": np.zeros((6, 32, 32, 3), np.uint16)}, "train_images .* is uint16"),
        ({"train_images": np.zeros((6, 32, 32, 3), np.int64)}, "train_images .* is int64"),
        (
            {"train_images": np.full((6, 9, 9), 1.5)},
            "float64 from 1.5 to 1.5; give floats",
        ),
        ({"train_images": np.full((6, 9, 9), -0.1)}, "float64 from -0.1 to -0.1"),
        ({"train_images": np.full((6, 9, 9), np.nan)}, "float64 from nan to nan"),
        ({"train_images": np.zeros((0, 9, 9), np.uint8)}, "give at least one image"),
        ({"train_images": np.zeros((6, 0, 9), np.uint8)}, "of at least one pixel"),
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


def test_floats_are_shares_of_255(tmp_path: Path) -> None:
    whole = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    for kind in (np.float16, np.float32, np.float64):
        np.savez(tmp_path / "a.npz", images=(whole / 255).astype(kind))
        np.testing.assert_array_equal(read_images(tmp_path / "a.npz").numpy()[:, 0], whole)


def stored_as(path: Path, where: dict[int, bytes]) -> Path:
    """A whole `.npz` with other bytes at places of its last (central) directory entry."""
    np.savez(path, images=np.zeros((1, 4, 4), np.uint8))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    for at, new in where.items():
        content[entry + at : entry + at + len(new)] = new
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ({6: b"\x7f\x00"}, "zip file version 12.7"),  # NotImplementedError
        ({8: b"\x01\x00"}, "encrypted"),  # RuntimeError
        ({10: b"\x61\x00"}, "compression method"),  # NotImplementedError
    ],
)
def test_what_the_reader_trips_over_is_told(
    tmp_path: Path, where: dict[int, bytes], reason: str
) -> None:
    path = stored_as(tmp_path / "a.npz", where)
    with pytest.raises(
        UserError, match=rf"a\.npz is not an \.npz file or is damaged \(.*({reason})"
    ):
        read_images(path)


def test_a_header_that_promises_more_than_memory_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros((1, 4, 4), np.uint8))
    with zipfile.ZipFile(path) as found:
        array = found.read("images.npy").replace(b"(1, 4, 4), } ", b"(9" + b"0" * 10 + b",)}")
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("images.npy", array)
    with pytest.raises(UserError, match=r"a\.npz"):
        read_images(path)


@pytest.mark.parametrize("cut", [0, 10, 5000])
def test_damaged_files_are_refused(tmp_path: Path, cut: int) -> None:
    path = store(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"a\.npz is not an \.npz file or is damaged"):
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


def test_what_would_unpack_to_more_than_memory_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((64, 256, 256), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    monkeypatch.setenv("SIGMABENCH_MEMORY", str(1 << 20))
    with pytest.raises(UserError, match=r"a\.npz needs about 0\.00391 GiB of memory, and"):
        read_images(tmp_path / "a.npz")
