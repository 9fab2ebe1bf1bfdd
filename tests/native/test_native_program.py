"""Whole passes: equality with the reference, over threads, batch splits and instruction sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from native_nets import images, lenet, one_pool, residual_net

from sigmabench.harness import native
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.native import build
from sigmabench.harness.backends.reference import ReferencePredictor
from sigmabench.harness.backends.shipped import NATIVE as BACKEND
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.graph import Pool

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

NETS = {"lenet": lenet, "residual": residual_net}


@pytest.mark.parametrize("bits", [0, 1, 3, 4, 8])
@pytest.mark.parametrize("net", NETS)
def test_logits_are_the_references(net: str, bits: int) -> None:
    """Weights and sums are equal by definition. Requantization is, too, in plain loops; oneDNN may
    contract or reorder its float32 operations, which a logit may show in its last bits. A single
    activation rounded otherwise would be far beyond that."""
    artefact = NETS[net](bits)
    x = images(artefact, 3)
    expected = ReferencePredictor(artefact).logits(x, 11, range(2, 4)).numpy()
    plain = build(artefact, 1, "portable").logits(x.numpy(), 11, 2, 2)
    np.testing.assert_array_equal(plain, expected)
    logits = build(artefact, 1).logits(x.numpy(), 11, 2, 2)
    few_ulp = 4 * np.spacing(np.abs(expected).max())
    np.testing.assert_allclose(logits, expected, rtol=0, atol=few_ulp)


@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("channels", [1, 3, 6, 16, 20])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_input_and_pools_are_the_references(kind: str, channels: int, signed: bool) -> None:
    """Ties of the rounding, saturation, and every overlap of window and border."""
    rng = np.random.default_rng(channels)
    for kernel, stride, padding in [
        ((2, 2), (2, 2), (0, 0)),
        ((3, 3), (2, 2), (1, 1)),
        ((3, 2), (1, 3), (1, 0)),
        ((7, 5), (1, 1), (0, 0)),
        ((2, 3), (3, 1), (1, 1)),
    ]:
        pool = Pool("p", "x", kind, kernel, stride, padding)  # type: ignore[arg-type]
        artefact = one_pool(pool, (channels, 7, 5), signed)
        halves = rng.integers(-600, 600, (3, channels, 7, 5))
        x = torch.from_numpy((halves * 0.5 * np.float32(0.02)).astype(np.float32))
        expected = ReferencePredictor(artefact).logits(x, 1, range(2)).numpy()
        logits = build(artefact, 1).logits(x.numpy(), 1, 0, 2)
        np.testing.assert_allclose(
            logits, expected, rtol=0, atol=4 * np.spacing(np.abs(expected).max())
        )


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(net, marks=[pytest.mark.thorough] * (place > 0))
        for place, net in enumerate(NETS)
    ],
)
def test_threads_and_batch_splits_do_not_matter(net: str) -> None:
    artefact = NETS[net](4)
    x = images(artefact, 7).numpy()
    whole = build(artefact, 1).logits(x, 3, 0, 5)
    for threads in (1, 2, 3, 8):
        program = build(artefact, threads)
        np.testing.assert_array_equal(program.logits(x, 3, 0, 5), whole)
        one = [program.logits(x, 3, mc, 1) for mc in range(5)]  # sliced where threads allow
        np.testing.assert_array_equal(np.concatenate(one), whole)
        for size in (1, 2, 3):
            parts = [program.logits(x[k : k + size], 3, 0, 5) for k in range(0, 7, size)]
            np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_plans_are_reused_and_replaced() -> None:
    """More batch sizes than plans are kept for, twice over."""
    artefact = lenet(2)
    program = build(artefact, 2)
    x = images(artefact, 12).numpy()
    first = [program.logits(x[:n], 1, 0, 2) for n in range(1, 13)]
    again = [program.logits(x[:n], 1, 0, 2) for n in range(1, 13)]
    for n, (a, b) in enumerate(zip(first, again, strict=True), 1):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, first[-1][:, :n])


def test_calls_from_several_threads_do_not_mix() -> None:
    artefact = lenet(4)
    program = build(artefact, 2)
    x = images(artefact, 3).numpy()
    expected = [program.logits(x, seed, 0, 3) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: program.logits(x, seed, 0, 3), range(8)))
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


def test_waiting_for_a_program_lets_other_threads_run() -> None:
    """Every call waits for the one before it; none of them may hold the interpreter meanwhile."""
    artefact = lenet(4)
    program = build(artefact, 1)
    x = images(artefact, 4).numpy()
    weights = program.sample("c1", 0, 0)
    waiting: list[Callable[[], Any]] = [
        lambda: program.sample("c2", 0, 0),
        lambda: program.packed("c2", 0, 0),
        lambda: program.sample_bias("c2", 0, 0),
        lambda: program.accumulators("c1", np.zeros((1, 1, 28, 28), np.int8), weights),
        lambda: program.describe(1),
        lambda: program.traffic(1),
        lambda: program.memory(),
    ]
    with ThreadPoolExecutor(len(waiting) + 1) as pool:
        call = pool.submit(program.logits, x, 1, 0, 20_000)
        while not call.running():
            time.sleep(0.001)
        time.sleep(0.05)
        others = [pool.submit(work) for work in waiting]
        time.sleep(0.05)  # one that held the interpreter would keep it until the call is over
        assert not call.done()
        assert not any(other.done() for other in others)


def test_every_pass_counts_its_draws_once() -> None:
    artefact = lenet(4)
    x = images(artefact, 6)
    for threads in (1, 3):
        predictor = BACKEND.load(artefact, threads)
        assert predictor.draws == 0
        predictor.logits(x, 0, range(4))
        predictor.logits(x, 0, range(1))
        predictor.sample("f1", 0, 0)
        assert predictor.draws == 5 * artefact.sampled_weights
    twin = BACKEND.load(lenet(0), 1)
    twin.logits(x, 0, range(2))
    assert twin.draws == 0


def test_a_deterministic_twin_repeats_itself() -> None:
    artefact = residual_net(0)
    logits = build(artefact, 2).logits(images(artefact, 3).numpy(), 5, 0, 3)
    assert (logits == logits[0]).all()
    assert np.abs(logits).max() > 0


def test_predictor_says_what_runs() -> None:
    artefact = lenet(4)
    predictor = BACKEND.load(artefact, 1)
    predictor.logits(images(artefact, 4), 0, range(1))
    assert list(predictor.kernels) == [conv.name for conv in artefact.graph.convs]
    assert any(predictor.isa in kernel for kernel in predictor.kernels.values())
    assert BACKENDS.get("native").unavailable() is None
    traffic = predictor.traffic(4)
    assert traffic.mean >= artefact.weights
    assert artefact.weights // 2 <= traffic.std <= traffic.mean // 2
    assert traffic.sampled >= 2 * artefact.weights
    more = predictor.traffic(8)
    assert more.activations == 2 * traffic.activations
    assert BACKEND.load(lenet(0), 1).traffic(4).std == 0


def test_oneopenmp_pool_and_its_setting_are_left_alone() -> None:
    before = torch.get_num_threads()
    artefact = lenet(8)
    BACKEND.load(artefact, 2).logits(images(artefact, 2), 0, range(3))
    assert torch.get_num_threads() == before
    loaded = {
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "libgomp" in line and "scikit_learn" not in line  # which brings its own
    }
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": np.zeros((0, 1, 28, 28), np.float32)}, ValueError, "no images"),
        ({"x": np.zeros((1, 1, 28, 28), np.float64)}, TypeError, "float32"),
        ({"x": np.zeros((1, 1, 28, 27), np.float32)}, ValueError, "shape"),
        ({"x": np.zeros((1, 28, 28), np.float32)}, ValueError, "shape"),
        ({"x": np.zeros((4, 1, 28, 28), np.float32)[::2]}, ValueError, "contiguous"),
        ({"first": 2**32}, ValueError, "2\\^32"),
        ({"first": 2**32 - 1, "count": 2}, ValueError, "2\\^32"),
        ({"first": -1}, ValueError, "2\\^32"),
        ({"count": 0}, ValueError, "pass"),
    ],
)
def test_bad_calls_are_refused(arguments: dict[str, Any], error: type, message: str) -> None:
    call = {"x": np.zeros((1, 1, 28, 28), np.float32), "seed": 0, "first": 0, "count": 1}
    with pytest.raises(error, match=message):
        build(lenet(4), 1).logits(**(call | arguments))


def test_the_last_pass_there_is_can_be_drawn() -> None:
    artefact = lenet(4)
    x = images(artefact, 1)
    expected = ReferencePredictor(artefact).sample("c2", 2**64 - 1, 2**32 - 1)
    program = build(artefact, 1)
    np.testing.assert_array_equal(program.sample("c2", 2**64 - 1, 2**32 - 1), expected)
    assert np.isfinite(program.logits(x.numpy(), 2**64 - 1, 2**32 - 1, 1)).all()


def test_inconsistent_networks_are_refused() -> None:
    artefact = lenet(4)
    artefact.layers["f1"].sigma_q[0, 0, 0, 0] = 16
    with pytest.raises(ValueError, match="f1: its sigma has values beyond its bits"):
        build(artefact, 1)
    with pytest.raises(ValueError, match="engine must be"):
        build(lenet(4), 1, engine="quantum")
    with pytest.raises(ValueError, match="isa must be"):
        build(lenet(4), 1, isa="sse2")
    with pytest.raises(IndexError, match="no layer named nope"):
        build(lenet(4), 1).sample("nope", 0, 0)


def test_float_formats_are_refused() -> None:
    artefact = lenet(8)
    header = artefact.header.__class__(**{**artefact.header.__dict__, "format": "FP32"})
    with pytest.raises(UserError, match="native backend computes int8 formats, not FP32"):
        BACKEND.load(Artefact(header, artefact.layers), 1)


def test_what_is_not_finite_is_refused_by_the_number_of_the_first_image() -> None:
    artefact = lenet(4)
    x = images(artefact, 3)
    x[1] = torch.nan
    x[2] = torch.inf
    with pytest.raises(ValueError, match=r"^1$"):
        build(artefact, 1).logits(x.numpy(), 0, 0, 1)
