"""Images that are not finite: every backend refuses them alike, by the number of the first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from divided_nets import SHAPE, settled
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends import drawn, float_program
from sigmabench.harness.backends import float as float_backend
from sigmabench.harness.backends.base import BACKENDS, Predictor
from sigmabench.harness.core.errors import NotFiniteImageError, UserError
from sigmabench.harness.posterior import moped
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import observe_ranges
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.ptq import quantize

PAIRS = (("float", "FP32"), ("float", "BF16"), ("native", "INT8"), ("reference", "INT8"),
         ("drawn", "INT8"), ("drawn", "FP32"))  # fmt: skip


@pytest.fixture(scope="module")
def made(residual, posterior, images) -> Callable[[str], Artefact]:
    model = fold(residual, posterior, RESIDUAL_SHAPE)
    ranges = observe_ranges(model, images, "minmax")
    return lambda format: quantize(model, format, ranges)


@pytest.fixture(scope="module")
def divided() -> Callable[[str], Artefact]:
    module, x = settled("gated", 4)
    model = fold(module, moped(module, 0.1), SHAPE)
    ranges = observe_ranges(model, x, "minmax")
    return lambda format: quantize(model, format, ranges)


def loaded(backend: str, artefact: Artefact, threads: int = 1) -> Predictor:
    found = BACKENDS.get(backend)
    if found.unavailable():
        pytest.skip(str(found.unavailable()))
    return found.load(artefact, threads)


@pytest.mark.parametrize("network", ["made", "divided"])
@pytest.mark.parametrize(("backend", "format"), PAIRS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_backend_names_the_first(network, backend, format, threads, request) -> None:
    predictor = loaded(backend, request.getfixturevalue(network)(format), threads)
    shape = RESIDUAL_SHAPE if network == "made" else SHAPE
    x = torch.randn(5, *shape)
    expected = predictor.logits(x, 0, range(2))
    for value in (np.nan, np.inf, -np.inf):
        for first, last in ((0, 0), (2, 4), (4, 4)):
            bad = x.clone()
            bad[first, 1, 3, 3] = bad[last, 2, 11, 11] = value
            with pytest.raises(NotFiniteImageError, match=rf"^Image {first} \(counted from 0\)"):
                predictor.logits(bad, 0, range(2))
    assert torch.equal(predictor.logits(x, 0, range(2)), expected), "and computes on"
    if network == "made":  # the other squares it
        x[0, 0, 0, 0] = torch.finfo(torch.float32).max
        predictor.logits(x, 0, range(1))


@pytest.mark.parametrize("place", [(0, 0, 0), (2, 11, 11), (1, 5, 7), (0, 11, 0)])
@pytest.mark.parametrize(("backend", "format"), PAIRS)
def test_every_pixel_is_looked_at(backend, format, place, made) -> None:
    predictor = loaded(backend, made(format))
    bad = torch.randn(1, *RESIDUAL_SHAPE)
    bad[(0, *place)] = np.nan
    with pytest.raises(NotFiniteImageError):
        predictor.logits(bad, 0, range(1))


@pytest.mark.parametrize("format", ["FP32", "INT8"])
def test_pytorch_s_arithmetic_refuses_them_too(format, made, monkeypatch) -> None:
    """Where nothing is compiled."""
    monkeypatch.setattr(float_backend, "load_program", lambda *_: None)
    monkeypatch.setattr(drawn, "load_program", lambda *_: None)
    monkeypatch.setattr(float_program, "noise_source", lambda: "normal-torch")
    bad = torch.randn(3, *RESIDUAL_SHAPE)
    bad[1, 0, 0, 0] = np.inf
    for backend in ("float", "drawn") if format == "FP32" else ("reference",):
        with pytest.raises(NotFiniteImageError, match=r"^Image 1 "):
            loaded(backend, made(format)).logits(bad, 0, range(1))


@pytest.mark.parametrize(("backend", "format"), PAIRS)
def test_what_a_segment_reads_is_finite_too(backend, format) -> None:
    """Of finite images, floats between segments may overflow."""
    module, x = settled("gated", 4)
    model = fold(module, moped(module, 0.1), SHAPE)
    artefact = quantize(model, format, observe_ranges(model, x, "minmax"))
    predictor = loaded(backend, artefact)
    huge = {name: part for name, part in predictor.parts.items() if name == "first"}

    class Overflowing:
        threads = 1

        def logits(self, maps, seed, passes):
            return huge["first"].logits(maps, seed, passes) + np.inf

    predictor.parts["first"] = Overflowing()
    with pytest.raises(UserError, match="before second make of image 0 is not finite"):
        predictor.logits(x, 0, range(1))
