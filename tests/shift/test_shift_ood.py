from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.outside import OodSet, available, load_ood, ood_sets, ood_split
from sigmabench.harness.data.splits import Split

RNG = np.random.Generator(np.random.PCG64(1))
LIKE = Split(
    "test",
    torch.zeros((2, 3, 16, 16), dtype=torch.uint8),
    torch.tensor([0, 1]),
    (0.5,) * 3,
    (0.2,) * 3,
    10,
)


def folder(path: Path, sizes: list[tuple[int, int]]) -> Path:
    (path / "deep").mkdir(parents=True)
    for i, (width, height) in enumerate(sizes):
        pixels = np.full((height, width, 3), 10 * i, np.uint8)
        Image.fromarray(pixels).save(path / ("deep" if i % 2 else ".") / f"{i}.png")
    return path


def test_a_folder_is_read_in_order_and_brought_to_size(tmp_path: Path) -> None:
    (one,) = ood_sets([str(folder(tmp_path / "pictures", [(40, 30), (20, 50), (30, 30)]))])
    assert one.name == "pictures"
    split = ood_split(one, LIKE, None, None)
    assert split.images.shape == (3, 3, 16, 16)
    # "0.png", "2.png" come before "deep/1.png"
    assert [int(image.max()) for image in split.images] == [0, 20, 10]
    assert len(ood_split(one, LIKE, None, 2)) == 2


def test_a_small_picture_does_not_blur_the_others(tmp_path: Path) -> None:
    one = ood_sets([str(folder(tmp_path / "a", [(16, 16)]))])[0]
    pixels = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a" / "0.png")
    Image.fromarray(pixels[:4, :4]).save(tmp_path / "a" / "1.png")
    found = ood_split(one, LIKE, None, None).images
    np.testing.assert_array_equal(found[0].permute(1, 2, 0).numpy(), pixels)


def test_gray_arrays_get_three_channels_and_the_other_way_round(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (5, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "gray.npz", images=images)
    (one,) = ood_sets([str(tmp_path / "gray.npz")])
    found = ood_split(one, LIKE, None, None).images.numpy()
    for channel in range(3):
        np.testing.assert_array_equal(found[:, channel], images)
    gray = Split("test", LIKE.images[:, :1], LIKE.labels, (0.5,), (0.2,), 10)
    np.testing.assert_array_equal(ood_split(one, gray, None, None).images.numpy()[:, 0], images)


def test_other_sizes_are_resized_as_pillow_does(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (2, 9, 21, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    found = ood_split(ood_sets([str(tmp_path / "a.npz")])[0], LIKE, None, None).images
    for image, resized in zip(images, found, strict=True):
        expected = Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(resized.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_known_sets_that_are_not_there_are_skipped_with_a_line(tmp_path: Path) -> None:
    kept, lines = available(ood_sets(["svhn", "cifar100"]), tmp_path, 10)
    assert kept == ()
    assert len(lines) == 2
    assert lines[0].startswith("svhn is skipped: SVHN is not in")


def test_mnist_is_a_known_set(data_root: Path) -> None:
    images = load_ood(OodSet("mnist"), data_root, 7)
    assert images.shape == (7, 1, 28, 28)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean cifar100"):
        ood_sets(["cifar-100"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="There is no picture"):
        available(ood_sets([str(tmp_path / "empty")]), None, None)
    bad = folder(tmp_path / "bad", [(8, 8)])
    (bad / "1.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"1\.png is not a picture"):
        available(ood_sets([str(bad)]), None, None)
    other = folder(tmp_path / "x" / "bad", [(8, 8)])
    with pytest.raises(UserError, match="Two sets of --ood are called 'bad'"):
        ood_sets([str(bad), str(other)])


def test_sets_of_one_name_and_other_files_are_told_apart(tmp_path: Path) -> None:
    one = ood_sets([str(folder(tmp_path / "a" / "p", [(8, 8)]))])[0]
    two = ood_sets([str(folder(tmp_path / "b" / "p", [(9, 9)]))])[0]
    assert one.name == two.name
    assert one.identity != two.identity


def test_images_from_outside_have_no_files_that_were_left_out(tmp_path: Path) -> None:
    (one,) = ood_sets([str(folder(tmp_path / "pictures", [(16, 16)]))])
    assert ood_split(one, replace(LIKE, skipped=("gone.png",)), None, None).skipped == ()


def test_a_link_to_nothing_and_an_empty_array_are_named(tmp_path: Path) -> None:
    (one,) = ood_sets([str(folder(tmp_path / "pictures", [(40, 40)]))])
    (tmp_path / "pictures" / "1.png").symlink_to("gone")
    for read in (
        lambda: available((one,), None, None),
        lambda: ood_split(one, LIKE, None, None),
        lambda: one.identity,
    ):
        with pytest.raises(UserError, match=r"1\.png is not a picture .*No such file.*; remove it"):
            read()
    np.savez(tmp_path / "none.npz", images=np.zeros((0, 16, 16, 3), np.uint8))
    with pytest.raises(UserError, match=r"none\.npz is uint8 .*; give at least one"):
        available(ood_sets([str(tmp_path / "none.npz")]), None, None)


@pytest.mark.parametrize("word", ["x" * 5000, "a\0b", "a/" * 3000])
def test_a_word_that_can_be_no_path_is_no_known_set(word: str) -> None:
    with pytest.raises(UserError, match="There is no ood named"):
        ood_sets([word])
