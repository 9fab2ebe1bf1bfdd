from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.report.draw import check_file, write
from sigmabench.harness.studies.shift.contact_sheet import contact_sheet

TYPES = ["contrast", "gaussian_noise", "elastic_transform"]
STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def _images(count: int, channels: int = 3) -> torch.Tensor:
    # One colour a place, so that pieces of the picture are found again.
    ramp = torch.arange(0, 256, 8, dtype=torch.uint8)
    return ramp.expand(count, channels, 32, 32).clone()


@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_file_every_time(kind: str, channels: int, tmp_path: Path) -> None:
    paths = [tmp_path / name / f"sheet.{kind}" for name in "ab"]
    for path in paths:
        write(contact_sheet(_images(2, channels), TYPES, 0), path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith(STARTS[kind])
    assert [p.name for p in (tmp_path / "a").iterdir()] == [f"sheet.{kind}"]


def test_the_seed_shows() -> None:
    one, other = (contact_sheet(_images(1), ["gaussian_noise"], seed) for seed in (0, 1))
    assert one != other


def test_names_are_whole(tmp_path: Path) -> None:
    """Nothing touches the edge of the picture: no name is cut off."""
    write(contact_sheet(_images(1), ["elastic_transform"] * 3, 0), tmp_path / "sheet.png")
    pixels = matplotlib.image.imread(tmp_path / "sheet.png")[..., :3]
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    assert all(np.all(edge == 1) for edge in edges)


def test_a_row_goes_from_clean_to_gray(tmp_path: Path) -> None:
    """Contrast flattens the ramp, so the spread along a line falls from cell to cell."""
    write(contact_sheet(_images(1), ["contrast"], 0), tmp_path / "sheet.png")
    pixels = matplotlib.image.imread(tmp_path / "sheet.png")[..., 0]
    line = pixels[int(pixels.shape[0] * 0.75)]
    inside = np.flatnonzero(line < 1)
    cells = np.split(line[inside], np.flatnonzero(np.diff(inside) > 1) + 1)
    spreads = [float(np.ptp(cell)) for cell in cells[-5:]]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] > 2 * spreads[-1]


def test_wrong_requests() -> None:
    with pytest.raises(UserError, match=r"\.png, \.svg or \.pdf"):
        check_file(Path("sheet.jpg"))
    with pytest.raises(UserError, match="at least one image"):
        contact_sheet(_images(1), [], 0)
    with pytest.raises(UserError, match="did you mean contrast"):
        contact_sheet(_images(1), ["contrst"], 0)
