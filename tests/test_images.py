"""Images in folders and tars: labels, decoding, what cannot be read."""

from __future__ import annotations

import csv
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2

from sigmabench.harness.core.archive import open_archive
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.corruptions.copies import Corrupted, shifted
from sigmabench.harness.corruptions.registered import corrupt
from sigmabench.harness.data.images import Crop, ImageFiles, labelled
from sigmabench.harness.data.splits import Split

CLASSES = ("ant", "bee", "cow")
CROP = Crop(24, 28)


def picture(seed: int, width: int = 40, height: int = 32) -> Image.Image:
    """Smooth colours, so that JPEG changes little."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two images per class, one of them larger, one gray, one with transparency."""
    home = tmp_path / "folders"
    for label, name in enumerate(CLASSES):
        (home / name).mkdir(parents=True)
        for i in range(2):
            image = picture(10 * label + i, 40 + 30 * i, 32)
            mode = {(1, 0): "L", (2, 1): "RGBA"}.get((label, i), "RGB")
            image.convert(mode).save(home / name / f"{i}.png")
    return home


def table(
    home: Path, rows: list[tuple[object, ...]], columns: tuple[str, str] = ("file", "label")
) -> Path:
    with (home / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([columns, *rows])
    return home


def read(path: Path) -> tuple[ImageFiles, torch.Tensor]:
    return labelled(open_archive(path), CLASSES, CROP)


def packed(home: Path, mode: str = "w:") -> Path:
    path = home.with_suffix(".tar")
    with tarfile.open(path, mode) as archive:
        archive.add(home, ".")
    return path


def test_folders_are_torchvisions(folders: Path) -> None:
    images, labels = read(folders)
    theirs = ImageFolder(
        str(folders),
        v2.Compose([v2.Resize(28), v2.CenterCrop(24), v2.PILToTensor()]),
    )
    expected = torch.stack([image for image, _ in theirs])
    assert labels.tolist() == theirs.targets == [0, 0, 1, 1, 2, 2]
    assert images.shape == (6, 3, 24, 24)
    assert images[:].dtype == images.dtype == torch.uint8
    assert int((images[:].int() - expected.int()).abs().max()) <= 1  # corners are rounded otherwise


def test_a_tar_is_as_good_as_its_folder(folders: Path) -> None:
    table(folders, [("cow/1.png", 2), ("ant/0.png", 0), ("ant/1.png", 1)])
    for path in (folders, packed(folders)):
        images, labels = read(path)
        assert images.names == ("cow/1.png", "ant/0.png", "ant/1.png")
        assert labels.tolist() == [2, 0, 1]
        alone = images.take([1])
        assert torch.equal(images[:][1], alone[:][0])


def test_a_table_counts_in_the_folder_of_all_images_alone(folders: Path) -> None:
    table(folders / "bee", [("1.png", 0)])
    for path in (folders, packed(folders)):
        assert read(path)[1].tolist() == [0, 0, 1, 1, 2, 2], "a stray one is no table"
    for name in ("ant", "cow"):
        for path in (folders / name).iterdir():
            path.unlink()
    images, labels = read(folders)
    assert (images.names, labels.tolist()) == (("bee/1.png",), [0])
    table(folders, [("bee/1.png", 1)])
    with pytest.raises(UserError, match=r"several tables \(bee/labels\.csv, labels\.csv\); keep"):
        read(folders)


def test_links_among_folders(folders: Path) -> None:
    (folders / "ant" / "loop").symlink_to(folders)
    (folders / "bee").rename(folders.parent / "elsewhere")
    (folders / "bee").symlink_to(folders.parent / "elsewhere")
    images, labels = read(folders)
    assert images.names == tuple(f"{name}/{i}.png" for name in CLASSES for i in range(2))
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_tar_with_links_holds_what_its_folder_does(folders: Path) -> None:
    (folders / "bee" / "hard.png").hardlink_to(folders / "ant" / "0.png")
    (folders / "cow" / "soft.png").symlink_to(Path("..", "bee", "hard.png"))
    path = packed(folders)
    with tarfile.open(path) as archive:
        assert {m.type for m in archive} >= {tarfile.LNKTYPE, tarfile.SYMTYPE}
    (images, labels), (packed_images, packed_labels) = read(folders), read(path)
    assert packed_images.names == images.names
    assert len(images) == 8
    assert packed_labels.tolist() == labels.tolist()
    assert torch.equal(packed_images[:], images[:])


@pytest.mark.parametrize("target", ["gone.png", "away.png", "../../../outside.png"])
def test_a_tar_with_links_that_lead_nowhere_is_refused(folders: Path, target: str) -> None:
    (folders / "ant" / "away.png").symlink_to(target)
    with pytest.raises(UserError, match=r"links to no file of its own \(ant/away\.png\); pack"):
        read(packed(folders))


def test_a_tar_with_sparse_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tar"
    member = tarfile.TarInfo("ant/0.png")
    member.pax_headers = {"GNU.sparse.map": "0,512", "GNU.sparse.size": "9999"}
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    with pytest.raises(UserError, match=r"sparse files \(ant/0\.png\)"):
        read(path)


def test_a_tar_that_is_cut_or_damaged_is_refused(folders: Path) -> None:
    path = packed(folders)
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        third = [m.offset for m in archive if m.isreg()][2]
    path.write_bytes(whole[:third])
    with pytest.raises(UserError, match=r"ends before its end \(after 2 files\)"):
        read(path)
    path.write_bytes(whole[:third] + b"?" + whole[third + 1 :])
    with pytest.raises(UserError, match=r"damaged or .* \(after 2 files\)"):
        read(path)


def test_a_tar_goes_to_other_processes(folders: Path) -> None:
    images, _ = read(packed(folders))
    expected = images[:]
    copy = pickle.loads(pickle.dumps(images))
    assert torch.equal(copy[:], expected)
    del copy
    assert torch.equal(images[:], expected), "each has a handle of its own"


@pytest.mark.parametrize(("field", "content"), [((124, 12), b"x"), ((124, 12), b"\xff" * 12)])
def test_a_tar_with_a_size_that_is_none_is_refused(
    folders: Path, field: tuple[int, int], content: bytes
) -> None:
    """What is no number made tarfile raise ValueError; below 0 it went round for ever."""
    path = packed(folders)
    whole = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        start = next(m.offset for m in archive if m.isreg())
    at, size = field
    whole[start + at : start + at + size] = content.ljust(size, b"\0")
    whole[start + 148 : start + 156] = b" " * 8
    checksum = sum(whole[start : start + 512])
    whole[start + 148 : start + 156] = b"%06o\0 " % checksum
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"folders\.tar (cannot be read as a tar|is damaged)"):
        read(path)


def test_links_to_nothing_are_left_out_and_named(folders: Path) -> None:
    (folders / "bee" / "0.png").unlink()
    (folders / "bee" / "0.png").symlink_to("gone.png")
    images, labels = read(folders)
    split = Split("test", images, labels, (0.5,) * 3, (0.5,) * 3, 3)
    assert len(split.digest()) == 64
    assert split.readable().skipped == ("bee/0.png",)
    (folders / "cow" / "0.png").unlink()  # gone since it was listed
    assert split.readable().skipped == ("bee/0.png", "cow/0.png")
    with pytest.raises(UserError, match=r"cow/0\.png cannot be read \(FileNotFoundError"):
        images[4:5]


def test_suffixes_are_torchvisions(folders: Path) -> None:
    for suffix in IMG_EXTENSIONS:
        (folders / "ant" / f"odd{suffix.upper()}").touch()
    assert len(read(folders)[0]) == 6 + len(IMG_EXTENSIONS)


def test_squashed_images_are_timms() -> None:
    for squash, mode in ((True, "squash"), (False, "center")):
        theirs = create_transform(
            (3, 24, 24),
            interpolation="bicubic",
            crop_pct=24 / 28,
            crop_mode=mode,
            normalize=False,
        )
        image = picture(0, 40, 20)
        expected = np.asarray(theirs(image)).astype(int)
        found = Crop(24, 28, "bicubic", squash)(image)
        assert np.abs(found - expected).max() <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 70), st.integers(8, 70), st.integers(4, 20), st.integers(0, 12))
def test_every_shape_is_cut_to_the_crop(width: int, height: int, size: int, more: int) -> None:
    assert Crop(size, size + more)(picture(0, width, height)).shape == (3, size, size)


def test_a_stripe_that_would_be_scaled_to_more_than_fits_is_refused(folders: Path) -> None:
    Image.new("RGB", (200_000, 1)).save(folders / "ant" / "0.png")
    images, _ = read(folders)
    with pytest.raises(UserError, match=r"ant/0\.png .*28×5600000 is 156,800,000 pixels; from 1"):
        images[:1]


def test_indexing_is_that_of_a_tensor(folders: Path) -> None:
    images, _ = read(folders)
    whole = images[:]
    for index in (slice(1, 4), slice(4, 99), slice(2, 2), torch.tensor([5, 0, 0])):
        for found in (images[index], images.take(index)[:]):
            assert found.dtype == images.dtype == torch.uint8
            assert torch.equal(found, whole[index])


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    home = tmp_path / "ant"
    home.mkdir()
    for i in range(60):
        picture(i, 64, 64).save(home / f"{i:03}.jpg")
    images = labelled(open_archive(tmp_path), CLASSES, Crop(64, 64))[0]
    split = Split("test", images, torch.zeros(60, dtype=torch.int64), (0.5,) * 3, (0.5,) * 3, 3)

    def peak(count: int) -> int:
        part = split.limit(count)
        tracemalloc.start()
        for start in range(0, count, 10):
            part.images[slice(start, start + 10)]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(60) < 1.3 * peak(10)


def test_what_cannot_be_read_is_left_out_and_named(folders: Path) -> None:
    whole = (folders / "bee" / "0.png").read_bytes()
    (folders / "bee" / "0.png").write_bytes(whole[: len(whole) // 2])
    (folders / "cow" / "1.png").write_text("no image")
    images, labels = read(folders)
    split = Split("test", images, labels, (0.5,) * 3, (0.5,) * 3, 3)
    tried: list[int] = []
    kept = split.readable(tried.append)
    assert kept.skipped == ("bee/0.png", "cow/1.png")
    assert kept.labels.tolist() == [0, 0, 1, 2]
    assert sum(tried) == 6
    assert len(kept.images[:]) == 4
    assert kept.readable() is kept
    with pytest.raises(UserError, match=r"bee/0\.png cannot be read \(.*\); repair or remove it"):
        split.images[2:3]
    with pytest.raises(UserError, match=r"1\.png cannot be read \(no image that Pillow knows .*\)"):
        split.images[5:6]
    with pytest.raises(UserError, match="split has 1 image, none of which can be read, such as"):
        split.take(torch.tensor([5])).readable()


def test_corrupted_copies_are_made_with_the_images(folders: Path) -> None:
    images, labels = read(folders)
    split = Split("test", images, labels, (0.5,) * 3, (0.5,) * 3, 3)
    made, origin = shifted(split, "gaussian_noise", 3, seed=7)
    assert origin == "generated"
    assert isinstance(made.images, Corrupted)
    whole = corrupt(images[:], "gaussian_noise", 3, seed=7)
    for index in (slice(0, 6), slice(2, 4), torch.tensor([5, 1])):
        assert torch.equal(made.images[index], whole[index])
        assert torch.equal(made.take(index).images[:], whole[index])
    (folders / "ant" / "1.png").write_text("no image")
    assert made.readable().skipped == ("ant/1.png",)


def test_limits_decode_nothing(folders: Path) -> None:
    (folders / "ant" / "0.png").write_text("no image")
    images, labels = read(folders)
    split = Split("test", images, labels, (0.5,) * 3, (0.5,) * 3, 3)
    assert len(split.limit(3)) == 3
    assert split.take(slice(1, None)).readable().skipped == ()


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([("ant/0.png", 0), ("ant/9.png", 0)], ("file", "label"), r"not there \(ant/9.png\)"),
        (
            [("ant/0.png", 3), ("ant/1.png", -1)],
            ("file", "label"),
            r"0 to 2 \(3 of ant/0.png and 1",
        ),
        ([("ant/0.png", "two")], ("file", "label"), r"not whole numbers.*two of ant/0.png"),
        ([("ant/0.png", 0)] * 2, ("file", "label"), r"twice \(ant/0.png\)"),
        ([("ant/0.png", 0)], ("name", "label"), "has no column 'file'"),
        ([("ant/0.png", 0)], ("file", "class"), "has no column 'label'"),
        ([], ("file", "label"), "has no rows"),
        ([("ant/0.png",)], ("file", "label"), r"without a file or a label \(row 1\)"),
        ([("ant/0.png", 0), ("", 1)], ("file", "label"), r"without a file or a label \(row 2\)"),
        ([("ant/0.png", "0_1")], ("file", "label"), "not whole numbers.*0_1 of ant/0.png"),
        ([("ant/0.png", "٢")], ("file", "label"), "not whole numbers.*٢ of ant/0.png"),
        ([("ant/0.png", "9" * 5000)], ("file", "label"), "not whole numbers"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    folders: Path, rows: list[tuple[object, ...]], columns: tuple[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(table(folders, rows, columns))


def test_places_without_images_are_refused(tmp_path: Path, folders: Path) -> None:
    with pytest.raises(UserError, match="There is no folder or tar"):
        read(tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="holds no images"):
        read(empty)
    (folders / "ant" / "0.png").rename(folders / "0.png")
    with pytest.raises(
        UserError, match=r"not named after a class \(the top\); .* ant, bee and so on"
    ):
        read(folders)
    with pytest.raises(UserError, match=r"cannot be read as a tar.*uncompressed"):
        read(packed(folders, "w:gz"))
    binary = tmp_path / "binary"
    binary.mkdir()
    (binary / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"labels\.csv cannot be read"):
        read(binary)
