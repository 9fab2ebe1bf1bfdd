"""Against the package `imagecorruptions`, given the same draws.

Runs where SIGMABENCH_IMAGECORRUPTIONS names a Python that has it with libraries of its time
(`numpy<2`, `scikit-image<0.20`, `scipy<1.12`, `opencv-python-headless<5`, `setuptools<80`). It has
ImageNet-C's parameters alone. Its elastic transform, frost, pixelate and zoom blur are not those of
the original scripts; they have other oracles.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from corruption_cases import photographs

from sigmabench.harness.corruptions.context import stream_key
from sigmabench.harness.corruptions.registered import corrupt

EXACT = [
    "contrast",
    "fog",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "shot_noise",
    "speckle_noise",
]
NEAR = ["brightness", "defocus_blur", "saturate", "spatter"]
"""Whose values are sometimes so near a whole level that the last bit decides where it is cut."""


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", EXACT + NEAR)
def test_the_same_images(name: str, severity: int, tmp_path: Path) -> None:
    interpreter = os.environ.get("SIGMABENCH_IMAGECORRUPTIONS")
    if not interpreter:
        pytest.skip("SIGMABENCH_IMAGECORRUPTIONS names no Python with imagecorruptions")
    images = photographs(3, 3, 96, 96)
    given, made = tmp_path / "in.npz", tmp_path / "out.npz"
    key = f"{stream_key(2, name, severity):x}"
    pixels = images.permute(0, 2, 3, 1).numpy()
    np.savez(given, images=pixels, key=key, type=name, severity=severity)
    program = Path(__file__).with_name("corruption_oracle.py")
    subprocess.run([interpreter, str(program), str(given), str(made)], check=True)

    with np.load(made) as arrays:
        oracle = arrays["images"].astype(int)
    ours = corrupt(images, name, severity, seed=2).permute(0, 2, 3, 1).numpy()
    difference = np.abs(ours - oracle)
    if name in EXACT:
        assert difference.max() == 0
    else:
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.05
