from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption_cases import ice, photographs
from PIL import Image

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.corruptions import frost
from sigmabench.harness.corruptions.registered import corrupt


def test_the_data_root_comes_first_and_five_are_used(tmp_path: Path) -> None:
    found = frost.photographs(ice(tmp_path))
    assert [path.name for path in found] == [f"frost{n}.png" for n in range(5)]


def test_the_package_is_read_but_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / frost.PACKAGE
    ice(package)
    (package / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("SIGMABENCH_DATA", raising=False)
    assert frost.photographs(None)[0].parent == package / "frost"
    assert frost.PACKAGE not in sys.modules


def test_without_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frost, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --no-deps imagecorruptions.*SIGMABENCH_DATA"):
        corrupt(photographs(1), "frost", 1, root=tmp_path)


def test_a_damaged_photograph(tmp_path: Path) -> None:
    home = tmp_path / "frost"
    home.mkdir()
    (home / "frost1.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"frost1\.png is not a picture"):
        corrupt(photographs(1), "frost", 1, root=tmp_path)


def test_a_weighted_sum_with_a_piece_of_every_fifth_pixel(tmp_path: Path) -> None:
    """On black the ice alone is left: it is a window of a thinned photograph."""
    black = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    out = corrupt(black, "frost", 5, root=ice(tmp_path)).permute(0, 2, 3, 1).numpy()
    thinned = [np.asarray(Image.open(p))[2::5, 2::5] for p in frost.photographs(tmp_path)]
    windows = [
        np.lib.stride_tricks.sliding_window_view(t, (32, 32, 3))[:, :, 0].reshape(-1, 32, 32, 3)
        for t in thinned
    ]
    candidates = (np.concatenate(windows) * 0.45).astype(np.uint8)
    for image in out:
        assert (candidates == image).all(axis=(1, 2, 3)).sum() == 1


def test_gray_images_get_the_luminance_of_ice(tmp_path: Path) -> None:
    root = ice(tmp_path)
    black = torch.zeros(4, 3, 40, 40, dtype=torch.uint8)
    colour = corrupt(black, "frost", 3, root=root).double()
    gray = corrupt(black[:, :1], "frost", 3, root=root).double()
    luma = (colour * torch.tensor([0.2989, 0.5870, 0.1140])[:, None, None]).sum(1, keepdim=True)
    assert (gray - luma).abs().max() <= 2  # three values and one are cut to whole levels


@pytest.mark.parametrize("side", [64, 400])
def test_photographs_that_are_too_small_are_enlarged(tmp_path: Path, side: int) -> None:
    out = corrupt(photographs(3, 3, side, side), "frost", 2, root=ice(tmp_path))
    assert out.shape == (3, 3, side, side)
