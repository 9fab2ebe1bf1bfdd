"""Properties of every corruption type, whatever it draws."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption_cases import ice, photographs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.corruptions.context import stream, stream_key
from sigmabench.harness.corruptions.registered import CORRUPTIONS, corrupt

NAMES = [
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "pixelate",
    "saturate",
    "shot_noise",
    "spatter",
    "speckle_noise",
    "zoom_blur",
]
RANDOM = [
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "shot_noise",
    "spatter",
    "speckle_noise",
]

# Where the published parameters do not order the mean error: saturate goes down to gray, then up;
# the others trade one parameter for another (elastic, glass blur, frost) or water for mud.
RISING = {
    "saturate": [(1, 2), (3, 4, 5)],
    "spatter": [(1, 2, 3), (4, 5)],
    "glass_blur": [(1, 4), (3, 5)],
    "frost": [(1, 2)],
    "elastic_transform": [],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ice(tmp_path_factory.mktemp("data"))


def test_the_sixteen_types_are_registered() -> None:
    assert list(CORRUPTIONS)[:16] == NAMES
    assert [name for name in NAMES if CORRUPTIONS.get(name).random] == RANDOM


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 24, 40), (3, 66, 80), (1, 72, 65)])
@pytest.mark.parametrize("name", NAMES)
def test_every_shape_comes_back(name: str, shape: tuple[int, int, int], root: Path) -> None:
    images = photographs(3, *shape)
    for severity in range(1, 6):
        out = corrupt(images, name, severity, root=root)
        assert out.dtype == torch.uint8
        assert out.shape == images.shape
        assert out.is_contiguous()
        if not (name == "saturate" and shape[0] == 1):
            assert not torch.equal(out, images)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_images(name: str, root: Path) -> None:
    assert corrupt(photographs(2, 3, 8, 8), name, 5, root=root).shape == (2, 3, 8, 8)
    assert corrupt(photographs(2)[:0], name, 1, root=root).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("value", [0, 93, 255])
@pytest.mark.parametrize(
    "name", ["contrast", "defocus_blur", "gaussian_blur", "zoom_blur", "pixelate", "glass_blur"]
)
def test_what_moves_or_mixes_pixels_leaves_a_flat_image(name: str, value: int) -> None:
    images = torch.full((2, 3, 40, 32), value, dtype=torch.uint8)
    assert torch.equal(corrupt(images, name, 3), images)


@pytest.mark.parametrize("name", ["fog", "shot_noise", "speckle_noise", "saturate"])
def test_what_multiplies_leaves_black(name: str) -> None:
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert torch.equal(corrupt(images, name, 5), images)


@settings(max_examples=8)
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_an_image_knows_no_other(name: str, root: Path, data: st.DataObject) -> None:
    """However a split is cut up and ordered, an image with its index becomes the same."""
    severity = data.draw(st.integers(1, 5))
    count = data.draw(st.integers(1, 9))
    order = torch.tensor(data.draw(st.permutations(range(count))))
    cut = data.draw(st.integers(0, count))
    images = photographs(9)[:count]
    whole = corrupt(images, name, severity, seed=4, root=root)
    for part in (order[:cut], order[cut:]):
        out = corrupt(images[part], name, severity, seed=4, indices=part, root=root)
        assert torch.equal(out, whole[part])


@pytest.mark.parametrize("name", ["zoom_blur", "elastic_transform", "gaussian_noise", "spatter"])
def test_many_images_are_as_one(name: str) -> None:
    """More than are done at a time."""
    images = photographs(200)
    whole = corrupt(images, name, 3)
    for index in (0, 84, 85, 86, 199):
        one = torch.tensor([index])
        assert torch.equal(corrupt(images[one], name, 3, indices=one), whole[one])


def test_workers_do_not_matter(root: Path) -> None:
    images = photographs(6)
    with ThreadPoolExecutor(4) as pool:
        both = [
            list(pool.map(lambda name: corrupt(images, name, 4, root=root), NAMES))
            for _ in range(2)
        ]
    for first, second, name in zip(*both, NAMES, strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first, corrupt(images, name, 4, root=root))


@pytest.mark.parametrize("name", NAMES)
def test_the_seed(name: str, root: Path) -> None:
    images = photographs(4)
    outs = [corrupt(images, name, 3, seed=seed, root=root) for seed in (0, 0, 1, -1)]
    assert torch.equal(outs[0], outs[1])
    for other in outs[2:]:
        assert torch.equal(outs[0], other) == (name not in RANDOM)


@pytest.mark.parametrize("name", RANDOM)
def test_equal_images_differ_by_index(name: str, root: Path) -> None:
    images = photographs(1).expand(3, -1, -1, -1)
    first, second, third = corrupt(images, name, 3, root=root)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_the_stream_is_frozen() -> None:
    """A change of the streams needs a new `STREAM`: images made before must be made again."""
    assert stream_key(0, "fog", 1) == 0x946B2C5D7A875CB621B15BE66A2234E2
    draws = stream(stream_key(3, "gaussian_noise", 2), 7)
    np.testing.assert_array_equal(draws.randint(0, 1000, size=4), [64, 36, 838, 506])
    np.testing.assert_allclose(
        draws.normal(size=2), [0.4321130101301333, -1.2029989760509172], rtol=1e-14
    )


def test_streams_do_not_overlap() -> None:
    key = stream_key(0, "fog", 1)
    first, second = (stream(key, index).random_sample(50_000) for index in (0, 1))
    assert len(np.intersect1d(first, second)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_error_grows_with_severity(name: str, root: Path) -> None:
    _assert_rising(photographs(60), name, root)


@pytest.mark.parametrize("name", NAMES)
def test_the_error_grows_with_severity_on_cifar(name: str, data_root: Path, root: Path) -> None:
    path = data_root / "cifar10.npz"
    if not path.is_file():
        pytest.skip("the data root has no cifar10.npz")
    with np.load(path) as arrays:
        images = torch.from_numpy(arrays["train_images"][:200]).permute(0, 3, 1, 2)
    _assert_rising(images, name, root)


def _assert_rising(images: Tensor, name: str, root: Path) -> None:
    def error(severity: int) -> float:
        out = corrupt(images, name, severity, root=root)
        return float((out.double() - images.double()).abs().mean())

    for severities in RISING.get(name, [(1, 2, 3, 4, 5)]):
        errors = [error(severity) for severity in severities]
        assert errors == sorted(set(errors))
    assert error(1) > 0.2


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5])
def test_severity_out_of_range(severity: float) -> None:
    with pytest.raises(UserError, match="from 1 to 5"):
        corrupt(photographs(1), "fog", severity)  # type: ignore[arg-type]


def test_unknown_type() -> None:
    with pytest.raises(
        UserError, match=r"no corruption named 'gausian_blur'; did you mean gaussian_blur"
    ):
        corrupt(photographs(1), "gausian_blur", 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 32, 32), "float32"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"\(3, 32, 32\)"),
        (torch.zeros(2, 4, 32, 32, dtype=torch.uint8), "C = 1 or 3"),
        (torch.zeros(2, 3, 32, 7, dtype=torch.uint8), "32 × 7"),
    ],
)
def test_wrong_images(images: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        corrupt(images, "contrast", 1)


@pytest.mark.parametrize("indices", [[0], [0, -1], [0.0, 1.0], [[0, 1]]])
def test_wrong_indices(indices: list[float]) -> None:
    with pytest.raises(UserError, match="place in the split"):
        corrupt(photographs(2), "fog", 1, indices=torch.tensor(indices))
