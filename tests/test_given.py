"""Images, labels and paths as people have them give what tensors and paths give."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy import RESIDUAL_SHAPE

from sigmabench.harness import api as sb
from sigmabench.harness.core.errors import DeclarationError, UserError
from sigmabench.harness.data.root import data_root
from sigmabench.harness.posterior.convert import convert
from sigmabench.harness.quantize.calibrate import Calibration
from sigmabench.harness.quantize.fold import FloatModel
from sigmabench.harness.workload.workload import WORKLOADS


@pytest.fixture(scope="module")
def model(residual: nn.Module, posterior: sb.Posterior) -> FloatModel:
    return sb.fold(residual, posterior, RESIDUAL_SHAPE)


@pytest.fixture(scope="module")
def ranges(model: FloatModel, images: Tensor) -> Calibration:
    return sb.calibrate(model, images)


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


GIVEN: dict[str, Callable[[Tensor], Any]] = {
    "an array": lambda x: x.numpy(),
    "a read-only array": lambda x: read_only(x.numpy()),
    "a view backwards": lambda x: x.numpy()[::-1].copy()[::-1],
    "channels last in memory": lambda x: x.to(memory_format=torch.channels_last),
    "with a gradient": lambda x: x.clone().requires_grad_(),
    "of a computation": lambda x: x.clone().requires_grad_() * 1,
}


PAIRS = (("INT8", "native"), ("INT8", "reference"), ("FP32", "float"), ("FP32", "drawn"))


@pytest.mark.parametrize("kind", GIVEN)
def test_images_of_each_kind_give_the_same(
    kind: str, model: FloatModel, images: Tensor, ranges: Calibration
) -> None:
    given, few = GIVEN[kind](images), GIVEN[kind](images[:3])
    assert sb.calibrate(model, given) == ranges
    for format, backend in PAIRS:
        predictor = sb.BACKENDS.get(backend).load(sb.quantize(model, format, ranges), threads=1)
        expected = predictor.logits(images[:3], 1, range(2))
        assert torch.equal(predictor.logits(few, 1, range(2)), expected)
        assert torch.equal(
            sb.predict(predictor, few, mc=2).probs, sb.predict(predictor, images[:3], mc=2).probs
        )
    rule = sb.StoppingRule(6)
    found, wanted = (sb.predict_adaptive(predictor, x, rule) for x in (few, images[:3]))
    assert torch.equal(found.probs, wanted.probs)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([[1.0]], r"takes float32 images of shape \[N, 3, 12, 12\], not torch.float64"),
        (np.zeros((2, 3, 12, 12)), "not torch.float64 of shape"),
        (np.zeros((2, 12, 12, 3), np.float32), r"not torch.float32 of shape \[2, 12, 12, 3\]"),
        (np.array(["a"]), "The images are a ndarray <U1; give a torch.Tensor or a NumPy array, fl"),
        (np.array([None]), "The images are a ndarray object; give a torch.Tensor"),
        ("cat.png", "The images are a str; give a torch.Tensor or a NumPy array"),
        (None, "The images are a NoneType; give"),
        ([[1.0], [1.0, 2.0]], "The images are a list; give"),
        (torch.zeros(2, 3, 12, 12, device="meta"), "torch.float32 on the meta device; give"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(
    given: Any, says: str, model: FloatModel, ranges: Calibration
) -> None:
    predictor = sb.BACKENDS.get("reference").load(sb.quantize(model, "INT8", ranges), threads=1)
    calls: list[Callable[[], object]] = [
        lambda: sb.calibrate(model, given),
        lambda: sb.predict(predictor, given, mc=1),
        lambda: sb.predict_adaptive(predictor, given, sb.StoppingRule(6)),
        lambda: predictor.logits(given, 0, range(1)),
    ]
    for call in calls:
        with pytest.raises(UserError, match=says) as error:
            call()
        assert str(error.value).count("\n") == 0


LABELS = [0, 3, 1, 2, 0, 1]
AS_LABELS: dict[str, Any] = {
    "a list": LABELS,
    "a tuple": tuple(LABELS),
    "an array": np.array(LABELS),
    "bytes": np.array(LABELS, np.uint8),
    "int32": torch.tensor(LABELS, dtype=torch.int32),
}


def split(labels: Any, images: Any = None, **more: Any) -> sb.Split:
    pixels = np.arange(6 * 12, dtype=np.uint8).reshape(6, 3, 2, 2)
    given = pixels if images is None else images
    return sb.Split("test", given, labels, (0.5,) * 3, (0.25,) * 3, 4, **more)


@pytest.mark.parametrize("kind", AS_LABELS)
def test_labels_of_each_kind_are_the_same(kind: str) -> None:
    expected = split(torch.tensor(LABELS))
    found = split(AS_LABELS[kind], sources=AS_LABELS[kind])
    assert found.labels.dtype is torch.int64
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.batch(slice(None)), expected.batch(slice(None)))
    assert replace(found, sources=None).digest() == expected.digest()
    assert found.take(slice(2)).sources.tolist() == LABELS[:2]


def test_labels_of_each_kind_are_held_out_alike() -> None:
    many = LABELS * 4
    kept, held = sb.hold_out(torch.tensor(many), 8, 1)
    for given in (many, np.array(many, np.uint8), torch.tensor(many, dtype=torch.int32)):
        assert [index.tolist() for index in sb.hold_out(given, 8, 1)] == [
            kept.tolist(),
            held.tolist(),
        ]


@pytest.mark.parametrize("kind", AS_LABELS)
def test_scores_of_each_kind_of_labels_are_the_same(
    kind: str, model: FloatModel, images: Tensor, ranges: Calibration
) -> None:
    artefact = sb.quantize(model, "INT8", ranges)
    predictor = sb.BACKENDS.get("native").load(artefact, threads=1)
    summary = sb.predict(predictor, images[:6], mc=2)
    assert sb.score(summary, AS_LABELS[kind]) == sb.score(summary, torch.tensor(LABELS))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0.5] * 6, r"test split's labels are torch.float64 of shape \[6\]; give integers of sh"),
        ([True] * 6, "labels are torch.bool"),
        (["cat"] * 6, "The test split's labels are a list; give one integer for each image"),
        ([[1], [1, 2]], "labels are a list; give one integer"),
        (None, "labels are a NoneType; give"),
    ],
)
def test_what_is_no_label_is_refused_in_a_sentence(labels: Any, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        split(labels)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ("photos", "The test split's images are a str; give uint8 of shape"),
        (None, "images are a NoneType"),
        (np.zeros((6, 3, 2, 2), np.uint16), "images are torch.uint16 of shape"),
        (torch.zeros(6, 3, 2, 2, device="meta", dtype=torch.uint8), "uint8 on the meta device"),
    ],
)
def test_what_is_no_split_of_images_is_refused(images: Any, says: str) -> None:
    with pytest.raises(DeclarationError, match=re.escape(says)):
        sb.Split("test", images, LABELS, (0.5,) * 3, (0.25,) * 3, 4)


def test_paths_may_be_strings(
    tmp_path: Path, posterior: sb.Posterior, model: FloatModel, images: Tensor
) -> None:
    here = str(tmp_path)
    digits = WORKLOADS.get("lenet-digits")
    sb.save_posterior(posterior, f"{here}/a/posterior.safetensors")
    found, _ = sb.load_posterior(f"{here}/a/posterior.safetensors")
    assert found.content_hash() == posterior.content_hash()
    sb.save_artefact(sb.quantize(model, "FP32", None), f"{here}/b/model.safetensors")
    assert sb.load_artefact(f"{here}/b/model.safetensors").header.format == "FP32"
    convert(f"{here}/a/posterior.safetensors", f"{here}/state.pt")
    assert data_root(here) == tmp_path

    own = replace(digits, name="own", posterior=str(digits.posterior), twin=str(digits.posterior))
    assert own.load_posterior()[0].content_hash() == own.load_twin()[0].content_hash()
    assert own.load_posterior(str(digits.posterior), data=here)
    short = replace(own.recipe(), epochs=1)
    trained = sb.train(own, short, out=f"{here}/c.safetensors", data=here, progress=False)
    assert trained.path == tmp_path / "c.safetensors"
