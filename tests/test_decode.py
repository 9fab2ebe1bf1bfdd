"""One decoder behind every door: the same pictures are taken, and the same refused."""

from __future__ import annotations

import io
import multiprocessing
import struct
import tarfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sigmabench.harness.core.archive import open_archive
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.corruptions import frost
from sigmabench.harness.corruptions.copies import shifted
from sigmabench.harness.data import histology
from sigmabench.harness.data.decode import (
    MODES,
    MOST_BYTES,
    MOST_PIXELS,
    Budget,
    UndecodableError,
    decoded,
    weight,
)
from sigmabench.harness.data.images import Crop, labelled
from sigmabench.harness.data.outside import ood_sets, ood_split
from sigmabench.harness.data.splits import Split

SIZE = 64
RNG = np.random.Generator(np.random.PCG64(5))
PIXELS = RNG.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(PIXELS).convert(mode)


def png(width: int, height: int, depth: int, colour: int, channels: int) -> bytes:
    """A black PNG, by its specification: Pillow writes no 16 bits in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(width * channels * depth // 8)) * height)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff16() -> bytes:
    """A black TIFF of 16 bits in colour, by its specification."""
    pixels = bytes(SIZE * SIZE * 6)
    bits = struct.pack("<3H", 16, 16, 16)
    entries = [
        (256, 4, 1, SIZE), (257, 4, 1, SIZE), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 14), (277, 3, 1, 3), (278, 4, 1, SIZE), (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    table = struct.pack("<H", len(entries))
    for entry in entries:
        table += struct.pack("<HHII", *entry)
    place = 14 + len(pixels)
    return struct.pack("<2sHI", b"II", 42, place) + bits + pixels + table + bytes(4)


def frames(kind: str) -> bytes:
    others = [Image.new("RGB", (SIZE, SIZE), colour) for colour in ("red", "blue")]
    return saved(picture(), kind, save_all=True, append_images=others)


TAKEN = {
    "RGB": saved(picture(), "PNG"),
    "gray": saved(picture("L"), "PNG"),
    "bits": saved(picture("1"), "PNG"),
    "palette": saved(picture("P"), "PNG"),
    "alpha": saved(picture("RGBA"), "PNG"),
    "gray and alpha": saved(picture("LA"), "PNG"),
    "CMYK": saved(picture("CMYK"), "JPEG"),
    "CMYK TIFF": saved(picture("CMYK"), "TIFF"),
    "LZW": saved(picture(), "TIFF", compression="tiff_lzw"),
    "BMP": saved(picture(), "BMP"),
    "WebP": saved(picture(), "WEBP"),
    "PPM": saved(picture(), "PPM"),
    "progressive": saved(picture(), "JPEG", progressive=True),
}
REFUSED = {
    "16 bits": (saved(Image.fromarray(np.full((SIZE, SIZE), 300, np.uint16)), "PNG"), "mode I;16"),
    "16 bits TIFF": (
        saved(Image.fromarray(np.full((SIZE, SIZE), 300, np.uint16)), "TIFF"),
        "mode I;16",
    ),
    "16 bits PGM": (b"P5 64 64 65535\n" + bytes(2 * SIZE * SIZE), "mode I "),
    "float": (saved(Image.fromarray(np.ones((SIZE, SIZE), np.float32)), "TIFF"), "mode F"),
    "48 bits PNG": (png(SIZE, SIZE, 16, 2, 3), "more than 8 bits"),
    "64 bits PNG": (png(SIZE, SIZE, 16, 6, 4), "more than 8 bits"),
    "16 bits and alpha": (png(SIZE, SIZE, 16, 4, 2), "more than 8 bits"),
    "48 bits TIFF": (tiff16(), "more than 8 bits"),
    "48 bits PPM": (b"P6 64 64 65535\n" + bytes(6 * SIZE * SIZE), "more than 8 bits"),
    "animated PNG": (frames("PNG"), "3 frames or pages"),
    "animated WebP": (frames("WEBP"), "3 frames or pages"),
    "pages": (frames("TIFF"), "3 frames or pages"),
    "truncated": (TAKEN["RGB"][:2000], "truncated|broken"),
    "no size": (png(0, 0, 8, 2, 3), "no image that Pillow knows"),
    "nothing": (b"", "no image that Pillow knows"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "no image that Pillow"),
    "too large": (b"P5 9946 9000 255\n", r"9946×9000 is 89,514,000 pixels"),
}


def by_folder(home: Path) -> torch.Tensor:
    return labelled(open_archive(home / "set"), ("ant", "bee"), Crop(SIZE, SIZE))[0][:]


def by_tar(home: Path) -> torch.Tensor:
    with tarfile.open(home / "set.tar", "w:") as archive:
        archive.add(home / "set", ".")
    return labelled(open_archive(home / "set.tar"), ("ant", "bee"), Crop(SIZE, SIZE))[0][:]


def like(images: object) -> Split:
    return Split("test", images, torch.tensor([0]), (0.5,) * 3, (0.5,) * 3, 2)  # type: ignore[arg-type]


def by_outside(home: Path) -> torch.Tensor:
    images = torch.zeros((1, 3, SIZE, SIZE), dtype=torch.uint8)
    found = ood_split(ood_sets([str(home / "set")])[0], like(images), None, None).images
    assert isinstance(found, torch.Tensor)
    return found


def by_published(home: Path) -> torch.Tensor:
    (home / "TOY-C" / "fog").mkdir(parents=True)
    (home / "TOY-C" / "fog" / "1").symlink_to(home / "set")
    images, _ = labelled(open_archive(home / "set"), ("ant", "bee"), Crop(SIZE, SIZE))
    split, origin = shifted(like(images), "fog", 1, root=home, official="TOY-C")
    assert origin == "official"
    return split.images[:]


def by_frost(home: Path) -> torch.Tensor:
    found = frost.photograph(home / "set" / "ant" / "0.png", 1, SIZE - 1, SIZE - 1)
    return torch.from_numpy(found.copy()).permute(2, 0, 1)[None]


DOORS = (by_folder, by_tar, by_outside, by_published, by_frost)


def put(home: Path, content: bytes) -> None:
    (home / "set" / "ant").mkdir(parents=True)
    (home / "set" / "ant" / "0.png").write_bytes(content)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken_is_what_torchvisions_loader_gives(
    tmp_path: Path, door: Callable[[Path], torch.Tensor], name: str
) -> None:
    put(tmp_path, TAKEN[name])
    with Image.open(io.BytesIO(TAKEN[name])) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(door(tmp_path)[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("door", [*DOORS, lambda home: histology._tile(home / "set/ant/0.png")])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_at_every_door(
    tmp_path: Path, door: Callable[[Path], torch.Tensor], name: str
) -> None:
    content, reason = REFUSED[name]
    put(tmp_path, content)
    with pytest.raises(UserError, match=rf"0\.png .*({reason}).*; "):
        door(tmp_path)


def test_the_modes_that_are_taken_have_8_bits_or_fewer() -> None:
    for mode in MODES:
        size = len(Image.new(mode, (8, 1)).tobytes())
        assert size in (1, *(8 * bands for bands in range(1, 5))), mode


def test_a_cameras_picture_with_others_behind_it_is_taken() -> None:
    stream = io.BytesIO(frames("MPO"))
    assert decoded(stream, lambda image: image.size) == (SIZE, SIZE)


def test_what_make_raises_is_a_reason() -> None:
    def fail(image: Image.Image) -> None:
        raise ValueError("it is blue")

    with pytest.raises(UndecodableError, match="ValueError: it is blue"):
        decoded(io.BytesIO(TAKEN["RGB"]), fail)


@pytest.mark.parametrize("share", [0.5, 0.3, 1.0, 3.0])
def test_decoders_together_hold_no_more_than_the_budget(share: float) -> None:
    budget = Budget.of_processes(multiprocessing.get_context("spawn"))
    now, most, lock = 0, 0, threading.Lock()

    def decode() -> None:
        nonlocal now, most
        with budget.hold(int(share * MOST_PIXELS)):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.005)
            with lock:
                now -= 1

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert now == 0
    assert most == max(1, int(1 / share))


@pytest.mark.parametrize("size", [(4, 8_257_541), (8_257_541, 4), (30, 2_900_000), (300, 290_000)])
def test_a_long_picture_is_refused_before_it_is_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PNG of 57 bytes took 1.3 GB: rows of 4 pixels, each with an address and weights."""
    monkeypatch.setattr(Image.Image, "convert", None)
    head = struct.pack(">IIBBBBB", *size, 1, 3, 0, 0, 0)
    png = chunked(b"IHDR", head) + chunked(b"PLTE", bytes(6)) + chunked(b"IDAT", b"")
    crop = Crop(4, 6) if 4 in size else Crop(224, 256)
    with pytest.raises(UndecodableError, match=r"from 1 to [0-9,]+ are taken"):
        decoded(io.BytesIO(b"\x89PNG\r\n\x1a\n" + png), crop)


def chunked(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_picture_holds_its_pixels_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    monkeypatch.setattr(Budget, "hold", lambda self, pixels: held.append(pixels) or self._turn)
    decoded(io.BytesIO(TAKEN["CMYK"]), lambda image: held.append(0))
    assert held == [weight(SIZE, SIZE), 0]
    decoded(io.BytesIO(TAKEN["CMYK"]), Crop(4, 6))
    assert held[-1] == weight(SIZE, SIZE) + weight(6, 6)
    assert MOST_PIXELS * 12 <= MOST_BYTES == 1 << 30
