"""Who works on a pass is nobody's business but the clock's: results, draws, memory and profiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from native_nets import artefact, images, lenet, residual_net

from sigmabench.harness import native
from sigmabench.harness.backends.native import build
from sigmabench.harness.backends.shipped import NATIVE as BACKEND
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.quantize.graph import Activation, Conv, Graph, Pool

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason="nothing is compiled")

NETS = {"lenet": lenet(4), "residual": residual_net(8)}


def wide_net():
    """Maps so large that its first layers take a few images at a time; products of matrices too."""
    convs = (
        Conv("a", "x", (64, 3, 3, 3), "a.weight", padding=(1, 1), relu=True),
        Conv("b", "a", (64, 64, 1, 1), "b.weight", relu=True, residual="a"),
        Conv("c", "b", (32, 64, 1, 1), "c.weight"),
    )
    shapes = {"x": (3, 48, 48), "a": (64, 48, 48), "b": (64, 48, 48), "c": (32, 48, 48)}
    activations = {name: Activation(shape, 0.3, name in "xc") for name, shape in shapes.items()}
    activations |= {"p": Activation((32, 1, 1), 0.3), "y": Activation((5, 1, 1))}
    pool = Pool("p", "c", "avg", (48, 48), (48, 48))
    fc = Conv("y", "p", (5, 32, 1, 1), "y.weight")
    return artefact(Graph("x", "y", (*convs, pool, fc), activations), 4)


@pytest.mark.parametrize("engine", ["auto", "onednn", "portable"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_logits_do_not_depend_on_who_works_on_a_pass(net, batch, engine) -> None:
    model = NETS[net]
    x = images(model, batch).numpy()
    expected = build(model, 1, engine).logits(x, 7, 3, 5)
    for threads, team in ((2, 1), (2, 2), (4, 2), (4, 4), (3, 0)):
        found = build(model, threads, engine, team=team).logits(x, 7, 3, 5)
        np.testing.assert_array_equal(found, expected)


def test_a_few_images_at_a_time_are_what_each_is_alone() -> None:
    model = wide_net()
    x = images(model, 12).numpy()
    alone = build(model, 1)
    expected = np.concatenate([alone.logits(x[n : n + 1], 1, 0, 2) for n in range(12)], axis=1)
    for threads, team in ((1, 1), (2, 1), (2, 2)):
        program = build(model, threads, team=team)
        np.testing.assert_array_equal(program.logits(x, 1, 0, 2), expected)
    whole = 12 * 2 * 64 * 48 * 48  # two maps of the batch
    assert build(model, 1).memory()["activations"] == 0
    program = build(model, 1)
    program.logits(x, 1, 0, 1)
    assert program.memory()["activations"] < whole / 2


def shrinking_net(bits):
    """Large maps of many sizes, so that one thread's part of a map lies where another's part of a
    larger one lay before."""
    nodes = (
        Conv("a", "x", (16, 3, 3, 3), "a.weight", padding=(1, 1), relu=True),
        Pool("p", "a", "max", (2, 2), (2, 2)),
        Conv("b", "p", (48, 16, 3, 3), "b.weight", padding=(1, 1), relu=True),
        Conv("c", "b", (8, 48, 1, 1), "c.weight", relu=True),
        Conv("d", "c", (8, 8, 3, 3), "d.weight", padding=(1, 1), relu=True, residual="c"),
        Conv("e", "d", (24, 8, 3, 3), "e.weight", stride=(2, 2), padding=(1, 1), relu=True),
        Pool("q", "e", "avg", (16, 16), (16, 16)),
        Conv("y", "q", (5, 24, 1, 1), "y.weight"),
    )
    shapes = {"x": (3, 64, 64), "a": (16, 64, 64), "p": (16, 32, 32), "b": (48, 32, 32)}
    shapes |= {"c": (8, 32, 32), "d": (8, 32, 32), "e": (24, 16, 16), "q": (24, 1, 1)}
    activations = {name: Activation(shape, 0.3, name == "x") for name, shape in shapes.items()}
    activations["y"] = Activation((5, 1, 1))
    return artefact(Graph("x", "y", nodes, activations), bits)


@pytest.mark.parametrize("bits", [0, 2])
def test_threads_that_run_ahead_touch_nothing_of_the_others(bits) -> None:
    model = shrinking_net(bits)
    x = images(model, 128).numpy()
    alone = build(model, 1)
    expected = np.concatenate([alone.logits(x[n : n + 1], 1, 0, 1) for n in range(128)], axis=1)
    whole = 128 * 64 * 64 * 16  # the largest map of the batch
    for threads, team in ((1, 1), (2, 2), (4, 4), (4, 2)):
        program = build(model, threads, team=team)
        for _ in range(5):
            np.testing.assert_array_equal(program.logits(x, 1, 0, 1), expected)
        assert program.memory()["activations"] < whole * (threads // team)  # a few at a time


@pytest.mark.parametrize("size", [4, 7])
def test_the_kind_of_kernel_depends_neither_on_the_batch_nor_on_the_team(size) -> None:
    """Fewer pixels than an AMX panel in a piece, or in an image; kernels of two kinds may round
    apart."""
    convs = (
        Conv("a", "x", (64, 64, 1, 1), "a.weight", relu=True),
        Conv("b", "a", (64, 64, 1, 1), "b.weight", residual="a"),
    )
    activations = {name: Activation((64, size, size), 0.3, name != "a") for name in "xab"}
    activations["y"] = Activation((5, 1, 1))
    fc = Conv("y", "b", (5, 64, size, size), "y.weight")
    model = artefact(Graph("x", "y", (*convs, fc), activations), 8)
    x = images(model, 6).numpy()
    expected = build(model, 1).logits(x, 7, 0, 20)
    for threads, team in ((1, 1), (2, 2), (4, 4)):
        program = build(model, threads, team=team)
        np.testing.assert_array_equal(program.logits(x, 7, 0, 20), expected)
        for n in range(6):
            alone = program.logits(x[n : n + 1], 7, 0, 20)
            np.testing.assert_array_equal(alone[:, 0], expected[:, n])


def test_every_thread_that_shares_a_pass_counts_its_draws() -> None:
    model = lenet(4)
    x = images(model, 3).numpy()
    for threads, team in ((2, 2), (4, 2), (4, 0)):
        program = build(model, threads, team=team)
        program.logits(x, 0, 0, 3)
        assert program.draws == 3 * model.sampled_weights


@pytest.mark.parametrize(("threads", "team"), [(2, 3), (4, 3), (2, -1)])
def test_a_team_that_leaves_threads_over_is_refused(threads, team) -> None:
    with pytest.raises(ValueError, match="divides"):
        build(lenet(4), threads, team=team)


def test_memory_is_the_posterior_once_and_a_scratch_a_team() -> None:
    model = residual_net(8)
    x = images(model, 2).numpy()
    program = build(model, 2, team=1)
    program.logits(x, 0, 0, 4)
    one = program.memory()
    assert one["teams"] == 2
    assert one["mean"] == one["std"] >= model.weights
    assert one["largest"] <= one["weights"] <= 2 * one["largest"]
    assert one["live"] <= one["activations"] // 2
    program.logits(images(model, 4).numpy(), 0, 0, 4)  # another plan, the same posterior
    assert program.memory()["mean"] == one["mean"]


def test_a_profile_accounts_for_the_time() -> None:
    model = residual_net(8)
    x = images(model, 4).numpy()
    program = build(model, 2, team=2)
    expected = program.logits(x, 3, 0, 4)
    found = program.profile(x, 3, 0, 4)
    names = [node.name for node in model.graph.nodes]
    assert [step["name"] for step in found["steps"]] == [*names, model.graph.input]
    kinds = ("sampling_ns", "compute_ns", "rest_ns", "waiting_ns")
    spent = sum(step[kind] for step in found["steps"] for kind in kinds)
    assert 0 < spent <= 2 * found["wall_ns"]
    convs = {conv.name for conv in model.graph.convs}
    for step in found["steps"]:
        assert (step["sampling_ns"] > 0) >= (step["name"] in convs)
    np.testing.assert_array_equal(program.logits(x, 3, 0, 4), expected)


def test_more_passes_side_by_side_than_memory_holds_are_refused() -> None:
    conv = Conv("c", "x", (512, 1, 1, 1), "c.weight", relu=True)
    pool, fc = Pool("p", "c", "max", (64, 64), (64, 64)), Conv("y", "p", (3, 512, 1, 1), "y.weight")
    activations = {
        "x": Activation((1, 64, 64), 0.02),
        "c": Activation((512, 64, 64), 0.3, False),
        "p": Activation((512, 1, 1), 0.3, False),
        "y": Activation((3, 1, 1)),
    }
    model = artefact(Graph("x", "y", (conv, pool, fc), activations), 4)
    x = torch.zeros(40_009, 1, 64, 64)  # 84 GB that cross from `c` to `p`
    with pytest.raises(UserError, match=r"side by side, needs about .* GiB of memory"):
        BACKEND.load(model, 2, team=1).logits(x, 0, range(2))
