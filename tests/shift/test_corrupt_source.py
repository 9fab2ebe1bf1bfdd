from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption_cases import photographs
from PIL import Image

from sigmabench.harness.core.archive import open_archive
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.corruptions.copies import published_identity, shifted
from sigmabench.harness.corruptions.registered import corrupt
from sigmabench.harness.data.images import Crop, labelled
from sigmabench.harness.data.splits import Split

COUNT = 6


def _split(name: str = "test") -> Split:
    labels = torch.arange(COUNT) % 3
    return Split(name, photographs(COUNT), labels, (0.5,) * 3, (0.2,) * 3, 3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Published images of fog: severity s of image i is flat, of level 10 s + i."""
    home = tmp_path / "TOY-C"
    home.mkdir()
    levels = np.add.outer(10 * np.arange(1, 6), np.arange(COUNT)).ravel().astype(np.uint8)
    np.save(home / "fog.npy", np.broadcast_to(levels[:, None, None, None], (30, 32, 32, 3)))
    np.save(home / "labels.npy", np.tile(np.arange(COUNT) % 3, 5).astype(np.uint8))
    return tmp_path


def test_none_is_the_split_itself() -> None:
    split = _split()
    assert shifted(split, "none", 0) == (split, "clean")
    with pytest.raises(UserError, match="severity of corruption none is 2"):
        shifted(split, "none", 2)


def test_generated_is_what_corrupt_makes(tmp_path: Path) -> None:
    split = _split()
    out, source = shifted(split, "fog", 2, seed=5, root=tmp_path, official="TOY-C")
    assert source == "generated"
    assert torch.equal(out.images, corrupt(split.images, "fog", 2, seed=5))
    assert out.labels is split.labels
    assert (out.name, out.mean, out.std, out.classes) == ("test", split.mean, split.std, 3)


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("limit", [None, 2])
def test_published_images_of_the_test_split(root: Path, severity: int, limit: int | None) -> None:
    out, source = shifted(_split().limit(limit), "fog", severity, root=root, official="TOY-C")
    assert source == "official"
    assert out.images.is_contiguous()
    assert out.images.shape == (limit or COUNT, 3, 32, 32)
    for index, image in enumerate(out.images):
        assert image.unique().tolist() == [10 * severity + index]


def test_releases_of_published_images_have_identities_of_their_own(root: Path) -> None:
    fog = root / "TOY-C" / "fog.npy"
    first = published_identity(fog, 1)
    assert re.fullmatch(r"official [0-9a-f]{12}", first)
    assert published_identity(fog, 1) == first
    data = bytearray(fog.read_bytes())
    for place in (500, len(data) // 2, -1):
        other = data.copy()
        other[place] ^= 1
        fog.write_bytes(other)
        assert published_identity(fog, 1) != first
    fog.write_bytes(data + b"\0")
    assert published_identity(fog, 1) != first


def test_published_images_are_of_this_type_and_the_test_split_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shifted(_split(), "contrast", 1, root=root, official="TOY-C")[1] == "generated"
    assert shifted(_split("validation"), "fog", 1, root=root, official="TOY-C")[1] == "generated"
    assert shifted(_split(), "fog", 1, root=root)[1] == "generated"
    monkeypatch.setenv("SIGMABENCH_DATA", str(root))
    assert shifted(_split(), "fog", 1, official="TOY-C")[1] == "official"


def _replace(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def apply(home: Path) -> None:
        array = change(np.load(home / name))
        np.save(home / name, array, allow_pickle=array.dtype == object)

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_replace("fog.npy", lambda a: a[:-1]), r"fog\.npy holds uint8 of shape \(29, "),
        (_replace("fog.npy", lambda a: a[:25]), "N at least 6"),
        (
            _replace("fog.npy", lambda a: a.astype(np.float32)),
            "float32 from 10 to 15; give floats",
        ),
        (_replace("fog.npy", lambda a: a.astype(np.uint16)), r"fog\.npy is uint16 .*; give uint8"),
        (_replace("fog.npy", lambda a: a[:, :28]), r"\(30, 28, 32, 3\)"),
        (_replace("fog.npy", lambda a: a[..., 0]), r"\(30, 32, 32\)"),
        (_replace("fog.npy", lambda a: a.astype(object)), r"fog\.npy cannot be read"),
        (_replace("labels.npy", lambda a: a[:6]), r"labels\.npy holds uint8 of shape \(6,\)"),
        (_replace("labels.npy", lambda a: a.astype(float)), r"labels\.npy holds float64"),
        (_replace("labels.npy", lambda a: a[::-1]), "are not those of the test split"),
        (lambda home: (home / "fog.npy").write_bytes(b""), r"fog\.npy cannot be read"),
        (lambda home: (home / "labels.npy").unlink(), r"labels\.npy cannot be read"),
    ],
)
def test_arrays_that_do_not_fit(root: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(root / "TOY-C")
    with pytest.raises(UserError, match=message):
        shifted(_split(), "fog", 1, root=root, official="TOY-C")


def test_an_archive_under_the_name_of_an_array(root: Path) -> None:
    with (root / "TOY-C" / "fog.npy").open("wb") as stream:
        np.savez(stream, images=np.zeros(3))
    with pytest.raises(UserError, match="is an archive"):
        shifted(_split(), "fog", 1, root=root, official="TOY-C")


def test_names_and_severities_are_checked_first(root: Path) -> None:
    with pytest.raises(UserError, match="did you mean fog"):
        shifted(_split(), "fogg", 1, root=root, official="TOY-C")
    with pytest.raises(UserError, match="severity is 6"):
        shifted(_split(), "fog", 6, root=root, official="TOY-C")


def test_arrays_cut_short_are_refused_though_few_images_are_wanted(root: Path) -> None:
    for name in ("fog.npy", "labels.npy"):
        _replace(name, lambda a: a[:10])(root / "TOY-C")
    with pytest.raises(UserError, match="does not repeat the same 2 labels"):
        shifted(_split().limit(2), "fog", 1, root=root, official="TOY-C")


@pytest.fixture
def files(tmp_path: Path) -> Split:
    """Three image files, and their published copies: severity s of image i is flat, 10 s + i."""
    for index in range(3):
        _flat(tmp_path / "clean" / "ab"[index % 2] / f"val_{index}.png", 200)
        for severity in range(1, 6):
            copy = tmp_path / "TOY-C" / "fog" / str(severity) / "wnid" / f"val_{index}.png"
            _flat(copy, 10 * severity + index)
    images, labels = labelled(open_archive(tmp_path / "clean"), ("a", "b"), Crop(32, 40))
    return Split("test", images, labels, (0.5,) * 3, (0.2,) * 3, 2)


def _flat(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(path)


def test_published_files_are_found_by_their_names(files: Split, tmp_path: Path) -> None:
    assert [Path(name).name for name in files.images.names] == [
        "val_0.png",
        "val_2.png",
        "val_1.png",
    ]
    out, source = shifted(files, "fog", 3, root=tmp_path, official="TOY-C")
    assert source == "official"
    assert out.images[:].flatten(1).float().mean(1).tolist() == [30, 32, 31]
    assert torch.equal(out.labels, files.labels)
    assert shifted(files, "contrast", 3, root=tmp_path, official="TOY-C")[1] == "generated"


def test_releases_of_published_files_have_identities_of_their_own(
    files: Split, tmp_path: Path
) -> None:
    folder = tmp_path / "TOY-C" / "fog"
    before = published_identity(folder, 1, files)
    assert re.fullmatch("official [0-9a-f]{12}", before)
    image = folder / "1" / "wnid" / "val_1.png"
    good = image.read_bytes()
    image.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert published_identity(folder, 1, files) != before, "as many bytes, other ones"
    assert published_identity(folder, 1, files.limit(2)) not in (before, "")
    image.write_bytes(good)
    assert published_identity(folder, 1, files) == before
    assert published_identity(folder, 2, files) != before


def test_published_files_of_another_size_are_not_enlarged(files: Split, tmp_path: Path) -> None:
    larger = replace(files, images=replace(files.images, crop=Crop(48, 56)))
    with pytest.raises(UserError, match="fog/3 have 32×32 pixels, but the network takes 48×48"):
        shifted(larger, "fog", 3, root=tmp_path, official="TOY-C")


def test_published_files_that_do_not_fit(files: Split, tmp_path: Path) -> None:
    folder = tmp_path / "TOY-C" / "fog" / "2"
    (folder / "other").mkdir()
    (folder / "wnid" / "val_1.png").rename(folder / "other" / "val_2.png")
    with pytest.raises(UserError, match=r"fog/2 lacks val_1\.png of the test split"):
        shifted(files, "fog", 2, root=tmp_path, official="TOY-C")
    with pytest.raises(UserError, match="fog/2 has files of the same name"):
        shifted(files.take(torch.tensor([0, 1])), "fog", 2, root=tmp_path, official="TOY-C")
    with pytest.raises(UserError, match="fog holds image files, but the test split is not a set"):
        shifted(_split(), "fog", 2, root=tmp_path, official="TOY-C")
