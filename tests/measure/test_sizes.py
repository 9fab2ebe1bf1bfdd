"""Bytes moved and operations counted, on hand-made models, by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sigmabench.harness.backends.base import Traffic
from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.measure.operations import finding, multiply_adds, operations, told
from sigmabench.harness.measure.traffic import bandwidth
from sigmabench.harness.quantize.graph import Activation, Conv, Graph, Operation, Pool, Segment


class Moves:
    """A predictor whose activations grow with the batch."""

    def traffic(self, batch: int) -> Traffic:
        return Traffic(mean=100, std=50, sampled=200, activations=10 * batch)


def moved(format: str, mc: int | None, rounds: list[tuple[tuple[int, int], ...]]):
    artefact = SimpleNamespace(format=FORMATS.get(format), weights=70)
    return bandwidth(artefact, Moves(), 8, mc, rounds, queries_per_second=5e8, copy=600.0)


def test_bandwidth_of_fixed_passes() -> None:
    found = moved("INT8", 5, [((8, 5),)] * 3)
    assert (found.mean_bytes, found.std_bytes, found.sampled_bytes) == (100, 50, 200)
    assert (found.activation_bytes, found.pass_bytes) == (80, 430)
    # 5 passes of 430 bytes per query, 4·10⁹ / 8 queries per second.
    assert found.achieved_gb_per_s == pytest.approx(5 * 430 * 0.5, rel=1e-12)
    assert found.copy_gb_per_s == 600
    assert found.share_of_copy == pytest.approx(5 * 430 * 0.5 / 600)
    assert found.weight_traffic_ratio == pytest.approx(16 * 70 / 350)
    assert found.paper_ratio == 20.0


def test_bandwidth_of_adaptive_passes_counts_the_images_that_were_left() -> None:
    found = moved("INT8", None, [((8, 2), (3, 4)), ((8, 2),)])
    query = (2 * 430 + 4 * 380 + 2 * 430) / 2
    assert found.achieved_gb_per_s == pytest.approx(query * 0.5)
    assert found.pass_bytes == 430
    assert found.paper_ratio is None


def test_ratios_are_of_what_draws_and_of_what_is_quantized() -> None:
    one = [((8, 1),)]
    assert moved("FP32", 4, one).paper_ratio is None
    assert moved("FP32", 4, one).weight_traffic_ratio == pytest.approx(3.2)
    assert moved("DNN_INT8", 1, one).weight_traffic_ratio is None
    assert moved("DNN_INT8", 1, one).paper_ratio == 4.0


CONV = Conv("conv", "x", (4, 3, 3, 3), "conv.weight", stride=(2, 2), padding=(1, 1))
POINT = Conv("point", "conv", (5, 4, 1, 1), "point.weight", bayesian=False)
COPY = Conv("copy", "point", (5, 5, 1, 1), "copied", bayesian=False, fixed=True)
POOL = Pool("pool", "copy", "max", (2, 2), (2, 2))
SIZES = {
    "x": (3, 8, 6),
    "conv": (4, 4, 3),
    "point": (5, 4, 3),
    "copy": (5, 4, 3),
    "pool": (5, 2, 1),
}
STEPS = (
    Segment("pool", "image", "x", 4, (5, 2, 1)),
    Operation("flat", "aten.flatten.using_ints", [{"value": "pool"}, 1], (10,)),
    Operation("gelu", "aten.gelu.default", [{"value": "flat"}], (10,)),
    Operation(
        "logits",
        "aten.linear.default",
        [{"value": "gelu"}, {"constant": "head.weight"}, {"constant": "head.bias"}],
        (2,),
        multiply_adds=20,
    ),
)
GRAPH = Graph(
    "image",
    "logits",
    (CONV, POINT, COPY, POOL),
    {name: Activation(shape) for name, shape in SIZES.items()},
    STEPS,
)


def test_operations_of_a_divided_network() -> None:
    assert multiply_adds(GRAPH, CONV) == 4 * 3 * 9 * 12
    found = operations(GRAPH)
    assert found is not None
    # Copied channels are no operation of the module, and a reshape computes nothing.
    assert (found.segments, found.inside, found.total) == (1, 3, 5)
    assert found.inside_multiply_adds == 4 * 3 * 9 * 12 + 5 * 4 * 12
    assert found.total_multiply_adds == 4 * 3 * 9 * 12 + 5 * 4 * 12 + 20
    assert found.float_layers == ("head.weight",)
    assert operations(replace(GRAPH, steps=())) is None


def test_what_is_told_of_them() -> None:
    found = operations(GRAPH)
    assert found is not None
    text = "3 of 5 operations (98.7 % of multiply–adds) in int8; the rest stays float32"
    assert told(found, FORMATS.get("INT8")) == f"{text}, layers among it: head.weight"
    assert told(replace(found, float_layers=()), FORMATS.get("INT8")) == text
    two = replace(found, float_layers=("a", "b"), total=9, inside_multiply_adds=1536)
    expected = "3 of 9 operations (98.7 % of multiply–adds) in bf16; the rest stays float32"
    assert told(two, FORMATS.get("BF16")).startswith(expected)
    assert told(two, FORMATS.get("BF16")).endswith(", layers among it: a, b")


@pytest.mark.parametrize(
    ("inside", "share"),
    [(10**6, "100 %"), (10**6 - 1, "99.9 %"), (5, "0.0 %"), (123_456, "12.3 %")],
)
def test_all_but_one_is_not_all(inside: int, share: str) -> None:
    found = operations(GRAPH)
    assert found is not None
    found = replace(found, inside_multiply_adds=inside, total_multiply_adds=10**6)
    assert f"({share} of multiply–adds)" in told(found, FORMATS.get("INT8"))


def test_finding_names_the_layers_that_never_move() -> None:
    still = "layers without a σ, the same in every pass: "
    line = told(operations(GRAPH), FORMATS.get("INT8"))  # type: ignore[arg-type]
    assert finding(GRAPH, FORMATS.get("INT8")) == (line, still + "point.weight, head.weight")
    assert finding(GRAPH, FORMATS.get("FP32")) == (still + "point.weight, head.weight",)
    assert finding(GRAPH, FORMATS.get("DNN_INT8")) == (line,)
    assert finding(replace(GRAPH, steps=()), FORMATS.get("INT8")) == ()
    all_drawn = replace(
        GRAPH, nodes=(CONV, replace(POINT, bayesian=True), COPY, POOL), steps=STEPS[:3]
    )
    assert finding(all_drawn, FORMATS.get("FP32")) == ()


@pytest.mark.parametrize(("count", "more"), [(2, ""), (3, " and 1 more"), (5, " and 3 more")])
def test_finding_names_three_layers_and_counts_the_rest(count: int, more: str) -> None:
    points = tuple(replace(POINT, name=f"p{k}", weight=f"w{k}") for k in range(count))
    sizes = {**GRAPH.activations, **{one.name: Activation((5, 4, 3)) for one in points}}
    graph = replace(GRAPH, nodes=points, activations=sizes)
    names = [*(one.weight for one in points), "head.weight"][:3]
    expected = f"layers without a σ, the same in every pass: {', '.join(names)}{more}"
    assert finding(graph, FORMATS.get("FP32")) == (expected,)
