"""Artefacts with the right hash and something wrong in them: one sentence, never other numbers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from divided_nets import SHAPE, settled
from forgery import Tensors, forged, header_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import moped
from sigmabench.harness.quantize import artefact as files
from sigmabench.harness.quantize import ptq
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import Calibration, observe_ranges
from sigmabench.harness.quantize.fold import FloatModel, fold
from sigmabench.harness.quantize.graph import Join
from sigmabench.harness.quantize.graph_check import MOST_PRODUCTS, _covers
from sigmabench.harness.quantize.ptq import Options, quantize


class Small(nn.Module):
    """A layer, both pools, a join of two, a residual sum, the head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.max_pool2d(torch.relu(self.stem(x)), 2)
        z = torch.relu(self.side(y) + y)
        both = nn.functional.silu(torch.cat([y, z], 1))
        return self.head(nn.functional.adaptive_avg_pool2d(both, 1).flatten(1))


@lru_cache
def small(format: str, **options: Any) -> Artefact:
    torch.manual_seed(0)
    module = Small().eval()
    model = fold(module, moped(module, 0.1), (2, 6, 6))
    ranges = observe_ranges(model, torch.randn(16, 2, 6, 6), "minmax")
    return quantize(model, format, ranges, Options(**options))


class Normed(nn.Module):
    """A group norm, a dilated and an uneven pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.side = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.stem(x)))
        y = nn.functional.max_pool2d(y, 2, 1, 1, dilation=3)
        y = self.side(nn.functional.adaptive_avg_pool2d(y, (3, 2)))
        return self.head(y.mean((2, 3)))


@lru_cache
def normed(format: str) -> Artefact:
    torch.manual_seed(0)
    module = Normed().eval()
    model = fold(module, moped(module, 0.1), (2, 6, 6))
    return quantize(
        model, format, observe_ranges(model, torch.randn(16, 2, 6, 6), "minmax"), Options()
    )


@lru_cache
def divided(format: str) -> Artefact:
    module, x = settled("gated", 4)
    model = fold(module, moped(module, 0.1), SHAPE)
    return quantize(model, format, observe_ranges(model, x, "minmax"))


@lru_cache
def stored(name: str) -> bytes:
    made = {
        "INT8": lambda: small("INT8"),
        "codebook": lambda: small("INT8_SIGMA2", sigma_grid="codebook", rounding="dithered"),
        "INT4": lambda: small("INT4_SIGMA2"),
        "BF16": lambda: small("BF16"),
        "FP32": lambda: small("FP32"),
        "DNN_INT8": lambda: small("DNN_INT8"),
        "divided": lambda: divided("INT8_SIGMA4"),
        "normed": lambda: normed("INT8_SIGMA4"),
    }
    return files.to_bytes(made[name]())


KINDS = ("INT8", "codebook", "INT4", "BF16", "FP32", "DNN_INT8", "divided", "normed")


def refused(data: bytes, *names: str) -> None:
    """One sentence with the names in it."""
    with pytest.raises(UserError) as caught:
        files.from_bytes(data, "model")
    assert str(caught.value).startswith("model ")
    assert "\n" not in str(caught.value)
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_changed_loads(kind: str) -> None:
    assert files.to_bytes(files.from_bytes(forged(stored(kind)), "model")) == stored(kind)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in JSON."""
    if at:
        yield at
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(one, (*at, key))


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """The same JSON with something else in one place."""
    value = copy.deepcopy(value)
    holder = value
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = new
    return value


def taken(value: Any, at: tuple[Any, ...]) -> Any:
    holder = value
    for key in at:
        holder = holder[key]
    return holder


#: Fields that say what was, not what is computed: any text will do.
TOLD = ("workload", "workload_version", "posterior", "observer", "weight")


@pytest.mark.parametrize("kind", ["codebook", "divided", "normed"])
def test_no_field_of_the_header_may_have_another_type(kind: str) -> None:
    header = header_of(stored(kind))
    for at in paths(header):
        now = taken(header, at)
        if "args" in at or "kwargs" in at:  # any JSON; PyTorch is asked below
            continue
        wrong = [[1], {"a": 1}] if isinstance(now, (str, int, float)) else [7, "text", -1.5]
        if not isinstance(now, (str, type(None))):
            wrong.append("text")
        if not isinstance(now, bool) and at[-1] not in ("residual", "ceiling", "parameter", "out"):
            wrong.append(None)
        for new in wrong:
            changed = put(header, at, new)
            refused(forged(stored(kind), lambda h, to=changed: (h.clear(), h.update(to))))


@pytest.mark.parametrize("kind", ["codebook", "divided", "normed"])
def test_no_name_or_size_of_the_header_may_be_another(kind: str) -> None:
    """Every text becomes a name that is nowhere, every whole number one more, and less than 0."""
    header = header_of(stored(kind))
    for at in paths(header):
        now = taken(header, at)
        if at[0] == "saturation" or at[-1] in TOLD or isinstance(now, bool):
            continue
        wrong: list[Any] = ["nowhere"] if isinstance(now, str) else []
        if isinstance(now, (int, float)):
            wrong = [-1, 10**39] if "args" not in at else []  # beyond float32
            wrong += [now + 1] if isinstance(now, int) and "shape" in at else []
        for new in wrong:
            changed = put(header, at, new)
            print(at, new)  # which, where it is not refused
            refused(forged(stored(kind), lambda h, to=changed: (h.clear(), h.update(to))))


@pytest.mark.parametrize("kind", ["codebook", "divided", "normed"])
def test_no_object_may_have_more_fields(kind: str) -> None:
    header = header_of(stored(kind))
    for at in [(), *paths(header)]:
        if isinstance(taken(header, at), dict) and "args" not in at:
            changed = put(header, (*at, "surplus"), 1)
            refused(
                forged(stored(kind), lambda h, to=changed: (h.clear(), h.update(to))), "surplus"
            )


@pytest.mark.parametrize("kind", KINDS)
def test_no_tensor_may_be_missing_surplus_or_of_another_type_or_length(kind: str) -> None:
    data = stored(kind)
    for name, tensor in safetensors.torch.load(data).items():
        flat = tensor.reshape(-1)
        other = torch.float64 if tensor.is_floating_point() else torch.float32
        for new in (
            None, tensor.to(other), tensor.to(torch.float16), flat[:-1], flat[None],
            torch.cat([tensor, tensor]), tensor.reshape(-1)[0], tensor[:0],
        ):  # fmt: skip

            def change(tensors: Tensors, name: str = name, new: Any = new) -> None:
                tensors.pop(name)
                if new is not None:
                    tensors[name] = new.contiguous()

            refused(forged(data, tensors=change), f"the tensor {name} is")
    extra: Callable[[Tensors], object] = lambda t: t.update(more=torch.zeros(1))  # noqa: E731
    refused(forged(data, tensors=extra), "the tensor more is none of")


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_no_model_has_are_refused_by_the_name_of_the_layer(kind: str) -> None:
    data = stored(kind)
    layer = files.from_bytes(data, "model").graph.convs[0].name
    cases = {"mean": (np.nan, np.inf, -np.inf), "sigma": (np.nan, np.inf, -1.0), "codebook": ()}
    for name, values in cases.items():
        tensor = safetensors.torch.load(data).get(name)
        if tensor is None or not tensor.is_floating_point():
            continue
        for value in values or (np.nan, np.inf, -1.0):
            refused(forged(data, tensors=lambda t, n=name, v=value: put_first(t[n], v)), layer)
    for column, values in ((0, (np.nan, np.inf)), (1, (np.nan, np.inf, -0.1))):
        for value in values:
            refused(
                forged(data, tensors=lambda t, c=column, v=value: put_at(t, "bias", c, v)), layer
            )
    if "scale" not in safetensors.torch.load(data):
        return
    columns = safetensors.torch.load(data)["scale"].shape[1]
    for column in range(columns):
        for value in (np.nan, np.inf, -0.1, *((0.0,) if column == 0 else ())):
            refused(
                forged(data, tensors=lambda t, c=column, v=value: put_at(t, "scale", c, v)), layer
            )


def put_first(tensor: torch.Tensor, value: float) -> None:
    tensor.reshape(-1)[0] = value


def put_at(tensors: Tensors, name: str, column: int, value: float) -> None:
    tensors[name][0, column] = value


def test_all_weight_scales_zero_are_refused() -> None:
    refused(forged(stored("INT8"), tensors=lambda t: t["scale"].zero_()), "a weight scale of layer")


def test_steps_and_means_of_4_bits_out_of_range_are_refused() -> None:
    for step in (0, 19):
        refused(
            forged(stored("INT4"), tensors=lambda t, s=step: t["step"].fill_(s)), "step of a mean"
        )
    refused(forged(stored("INT4"), tensors=lambda t: t["mean"].fill_(0x88)), "a mean of -8")
    refused(forged(stored("INT8"), tensors=lambda t: t["mean"].fill_(-128)), "a mean of layer")


def test_truth_values_are_0_or_1() -> None:
    shape = {"constants": {"c": {"shape": [1], "type": "bool"}}}
    data = forged(
        stored("INT8"),
        lambda h: h.update(shape),
        lambda t: t.update(index=torch.tensor([2])),
    )
    refused(data, "the constant c holds what bool does not")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (lambda t: t.replace('"format":', '"format":"INT8","format":', 1), "'format' twice"),
        (lambda t: t.replace('"scale":', '"scale":1e999,"x":', 1), "1e999"),
        (lambda t: t.replace('"scale":', '"scale":NaN,"x":', 1), "NaN"),
        (
            lambda t: t.replace('"nodes":', '"nodes":' + "[" * 10**5 + "]" * 10**5 + ',"n":', 1),
            "deep",
        ),
    ],
)
def test_json_that_can_be_read_in_two_ways_is_refused(
    text: Callable[[str], str], says: str
) -> None:
    refused(forged(stored("INT8"), text=text), says)


@pytest.mark.parametrize("field", ["schema", "noise_stream"])
@pytest.mark.parametrize("value", ["1", None, 0, -1, 1.0, True, [1]])
def test_versions_are_whole_numbers(field: str, value: Any) -> None:
    refused(forged(stored("INT8"), lambda h: h.update({field: value})), "schema or noise_stream")


def test_what_is_no_artefact_is_told_in_one_sentence() -> None:
    """The first was found by fuzzing: brackets, a hundred thousand deep."""
    one = '{"mean":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"__metadata__":{"%s":%s}}'
    for metadata in (json.dumps("[" * 10**5), '"3"', '"null"', '"{}"', '"[]"', '"\\ud800"'):
        header = (one % (files.KEY, metadata)).encode()
        refused(len(header).to_bytes(8, "little") + header + b"\0")
    for data in (b"", b"\xff" * 8, b"\xff" * 100, (2**40).to_bytes(8, "little") + b"{}"):
        refused(data)


def test_a_type_that_no_format_has_is_refused() -> None:
    """Found by fuzzing: σ as float8, which numpy does not know."""
    half = {"sigma": torch.float8_e4m3fn}
    data = forged(
        stored("INT8"), tensors=lambda t: t.update({n: t[n].to(d) for n, d in half.items()})
    )
    refused(data, "the tensor sigma is F8_E4M3")


def test_a_tensor_that_stands_twice_is_refused() -> None:
    data = stored("INT8")
    length = int.from_bytes(data[:8], "little")
    outer, numbers = data[8 : 8 + length].rstrip(), data[8 + length :]
    mean = json.dumps(json.loads(outer)["mean"])
    twice = outer[:-1] + f',"mean":{mean}}}'.encode()
    twice += b" " * (-len(twice) % 8)
    refused(len(twice).to_bytes(8, "little") + twice + numbers, "'mean' twice")


@pytest.mark.parametrize(
    ("field", "value"),
    [("sigma_grid", "cubic"), ("rounding", "up"), ("range", "wide"), ("granularity", "row"),
     ("sigma_offset", "half"), ("calibration", "none"), ("format", "INT9")],
)  # fmt: skip
def test_choices_that_there_are_not_are_refused(field: str, value: str) -> None:
    refused(forged(stored("INT8"), lambda h: h.update({field: value})), field)


def test_float_formats_have_no_grid() -> None:
    refused(forged(stored("FP32"), lambda h: h.update(rounding="dithered")), "rounding")
    refused(forged(stored("codebook"), lambda h: h.update(granularity="-")), "granularity")


def node(header: dict[str, Any], field: str) -> dict[str, Any]:
    """The first node of a graph that has a field."""
    return next(one for one in header["graph"]["nodes"] if field in one)


@pytest.mark.parametrize(
    ("field", "changes", "says"),
    [
        ("dilation", {"dilation": [8, 1]}, "does not fit its input"),
        ("dilation", {"dilation": [0, 1]}, "out of range"),
        ("dilation", {"dilation": [1 << 21, 1]}, "out of range"),
        ("dilation", {"kind": "avg"}, "only a maximum can be"),
        ("dilation", {"dilation": [7, 3]}, "has nothing but padding"),
        ("dilation", {"out": [5, 5]}, "a window of its own"),
        ("out", {"out": [3, 3]}, "makes (4, 3, 3)"),
        ("out", {"out": [0, 2]}, "out of range"),
        ("out", {"out": [1 << 21, 2]}, "out of range"),
        ("out", {"kernel": [2, 1]}, "a window of its own"),
        ("out", {"kind": "max"}, "a window of its own"),
        ("out", {"ceil": True}, "a window of its own"),
        ("eps", {"groups": 3}, "divides 4 channels by 3"),
        ("eps", {"groups": 0}, "divides 4 channels by 0"),
        ("eps", {"eps": 0.0}, "the eps 0.0"),
        ("eps", {"eps": -1e-5}, "the eps -1e-05"),
        ("eps", {"eps": 1e-40}, "the eps 1e-40"),
        ("eps", {"eps": 1e39}, "the eps 1e+39"),
    ],
)
def test_norms_and_pools_that_cannot_be_computed_are_refused(
    field: str, changes: dict[str, Any], says: str
) -> None:
    refused(forged(stored("normed"), lambda h: node(h, field).update(changes)), says)


def test_a_norm_keeps_its_inputs_shape_and_is_signed() -> None:
    made = node(header_of(stored("normed")), "eps")["name"]

    def change(**fields: Any) -> bytes:
        return forged(stored("normed"), lambda h: h["graph"]["activations"][made].update(fields))

    refused(change(signed=False), "has mean 0, and is unsigned")
    refused(change(shape=[4, 6, 5]), "makes (4, 6, 6), not (4, 6, 5)")


def test_windows_that_reach_the_map_are_those_of_brute_force() -> None:
    for kernel, stride, dilation, length in product(range(1, 6), (1, 2), range(1, 7), range(1, 9)):
        for padding in range(kernel // 2 + 1):
            reach = (kernel - 1) * dilation + 1
            if length + 2 * padding < reach:
                continue
            firsts = range(-padding, length + padding - reach + 1, stride)
            taps = [{first + k * dilation for k in range(kernel)} for first in firsts]
            expected = all(any(0 <= at < length for at in window) for window in taps)
            assert _covers(kernel, stride, padding, dilation, length) == expected


def step(header: dict[str, Any], target: str) -> dict[str, Any]:
    return next(one for one in header["graph"]["steps"] if target in one.get("target", ""))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: step(h, "mul").update(args=[]), "PyTorch cannot compute"),
        (lambda h: step(h, "mul").update(shape=[1, 3, 32, 31]), "makes (1, 3, 32, 32)"),
        (lambda h: step(h, "mul").update(multiply_adds=7), "0 multiplications"),
        (lambda h: step(h, "amax").update(args=[{"value": "input"}, [9]]), "cannot compute"),
        (lambda h: step(h, "square").update(
            target="aten.reshape.default", args=[{"value": "input"}, [1, 5, 7]]), "cannot compute"),
        (lambda h: step(h, "square").update(
            target="aten.dropout.default", args=[{"value": "second"}, 0.5, True]), "draw numbers"),
        (lambda h: h["graph"]["steps"][0].update(shape=[1, 3, 16, 64]), "makes"),
        (lambda h: h["graph"]["steps"][0].update(tokens=True), "as a map"),
        (lambda h: h["graph"]["steps"][-1].update(nodes=0), "nodes"),
        (lambda h: h.update(constants={"c": {"shape": [0]}}), "constant"),
    ],
)  # fmt: skip
def test_steps_that_do_not_fit_are_refused(change: Callable[[dict], None], says: str) -> None:
    refused(forged(stored("divided"), change), says)


def test_two_segments_of_one_name_are_refused() -> None:
    """The first would be looked at by nobody."""

    def change(header: dict[str, Any]) -> None:
        graph = header["graph"]
        next(one for one in graph["steps"] if one["name"] == "second")["name"] = "head"
        next(one for one in graph["nodes"] if one["name"] == "second")["input"] = ""

    refused(forged(stored("divided"), change), "two steps make the same value")


def same(artefact: Artefact) -> bool:
    """Whether every backend that takes an artefact computes the same logits, bit for bit."""
    graph = artefact.graph
    x = torch.randn(2, *graph.activations[graph.input].shape, generator=torch.Generator())
    found = []
    for name in ("reference", "native", "drawn"):
        backend = BACKENDS.get(name)
        if name == "native" and not artefact.header.compiled_sampler:
            continue
        if backend.unavailable() is None:
            found.append(backend.load(artefact, 1).logits(x, 0, range(2)))
    return all(torch.equal(found[0], one) for one in found[1:])


numbers = st.integers(-2, 8) | st.floats(allow_nan=False, width=32) | st.booleans() | st.none()
anything = st.recursive(
    numbers | st.sampled_from(["", "input", "stem", "side", "conv", "max", "codebook", "relu"]),
    lambda one: (
        st.lists(one, max_size=4) | st.dictionaries(st.sampled_from(["name", "value"]), one)
    ),
    max_leaves=4,
)


@settings(max_examples=150)
@given(data=st.data(), kind=st.sampled_from(["INT8", "codebook", "divided"]))
def test_a_changed_header_is_refused_or_computed_alike_by_every_backend(
    data: st.DataObject, kind: str
) -> None:
    header = header_of(stored(kind))
    at = data.draw(st.sampled_from(list(paths(header))))
    others = [one for one in paths(header) if type(taken(header, one)) is type(taken(header, at))]
    new = data.draw(anything | st.sampled_from([taken(header, one) for one in others]))
    changed = put(header, at, new)
    whole = forged(stored(kind), lambda h: (h.clear(), h.update(changed)))
    try:
        artefact = files.from_bytes(whole, "model")
    except UserError as refusal:
        said = str(refusal)
    else:
        said = "" if same(artefact) else "other numbers\n"
    assert "\n" not in said


def wide(products: int) -> tuple[FloatModel, Calibration]:
    """A linear layer that reads so many numbers."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(products, 2)).eval()
    model = fold(module, moped(module, 0.1), (1, products, 1))
    return model, observe_ranges(model, torch.ones(1, 1, products, 1), "minmax")


def test_sums_that_int32_cannot_hold_are_refused_at_quantization_and_load(monkeypatch) -> None:
    """The most that fit are computed in `test_native_checks`."""
    assert MOST_PRODUCTS * 255 * 127 < 2**31 <= (MOST_PRODUCTS + 1) * 255 * 127
    says = r"the layer 1 sums 66312 products, and more than 66311 can exceed int32; "
    model, ranges = wide(MOST_PRODUCTS + 1)
    files.from_bytes(files.to_bytes(quantize(model, "FP32")), "model")
    for format in ("INT8", "DNN_INT8", "INT4"):
        with pytest.raises(UserError, match=f"For {format}, {says}use a float format"):
            quantize(model, format, ranges)
    monkeypatch.setattr(ptq, "overflow", lambda convs: None)
    with pytest.raises(UserError, match=says):
        files.from_bytes(files.to_bytes(quantize(model, "INT8", ranges)), "model")


def test_the_widest_layer_that_fits_is_quantized() -> None:
    model, ranges = wide(MOST_PRODUCTS)
    files.from_bytes(files.to_bytes(quantize(model, "INT8_SIGMA1", ranges)), "model")


def test_a_function_that_is_not_known_is_refused() -> None:
    artefact = small("INT8")
    nodes = tuple(
        replace(node, function="sine") if isinstance(node, Join) else node
        for node in artefact.graph.nodes
    )
    changed = replace(artefact.header, graph=replace(artefact.graph, nodes=nodes))
    refused(files.to_bytes(replace(artefact, header=changed)), "sine")


def swapped(artefact: Artefact, name: str, **changed: Any) -> Artefact:
    """One layer with other numbers."""
    return replace(
        artefact,
        layers={**artefact.layers, name: replace(artefact.layers[name], **changed)},
    )


STEM = small("INT8").layers["stem"]
OBJECTS: dict[str, tuple[Callable[[], Artefact], str]] = {
    "a NaN σ scale": (
        lambda: swapped(small("INT8"), "stem", sigma_scale=np.full(4, np.nan, np.float32)),
        "a σ scale of layer stem is not from 0",
    ),
    "a negative bias σ": (
        lambda: swapped(small("INT8"), "stem", bias_std=-STEM.bias_std),
        "a bias σ of layer stem is not from 0",
    ),
    "int16 means": (
        lambda: swapped(small("INT8"), "stem", mean=STEM.mean.astype(np.int16)),
        "mean of layer stem is of another type or shape",
    ),
    "σ of another shape": (
        lambda: swapped(small("INT8"), "stem", sigma_q=STEM.sigma_q[:1]),
        "sigma_q of layer stem is of another type or shape",
    ),
    "no σ": (
        lambda: swapped(small("INT8"), "stem", sigma_q=None),
        "sigma_q of layer stem is of another type or shape",
    ),
    "σ beyond its bits": (
        lambda: swapped(small("INT8_SIGMA2"), "stem", sigma_q=np.full_like(STEM.sigma_q, 4)),
        "a σ_q of layer stem has more than 2 bits",
    ),
    "a layer too few": (
        lambda: replace(small("INT8"), layers={"stem": STEM}),
        "its layers are not those of its graph",
    ),
    "no such format": (
        lambda: replace(small("INT8"), header=replace(small("INT8").header, format="INT3")),
        "there is no format INT3",
    ),
}


@pytest.mark.parametrize("backend", ["reference", "native", "drawn"])
@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_is_looked_at_as_a_file_is(kind: str, backend: str) -> None:
    make, says = OBJECTS[kind]
    with pytest.raises(UserError, match=f"^The artefact cannot be computed: {says}"):
        BACKENDS.get(backend).load(make(), threads=1)


def test_a_float_object_is_looked_at_too() -> None:
    wrong = swapped(small("FP32"), "stem", std=-small("FP32").layers["stem"].std)
    for backend in ("float", "drawn"):
        with pytest.raises(UserError, match="a σ of layer stem is not from 0"):
            BACKENDS.get(backend).load(wrong, threads=1)


@pytest.mark.parametrize(("format", "name"), [("INT8_SIGMA1", "sigma"), ("INT4", "mean")])
def test_padding_of_packed_numbers_is_zero(format: str, name: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 1)).eval()
    model = fold(module, moped(module, 0.1), (1, 3, 1))
    ranges = observe_ranges(model, torch.randn(4, 1, 3, 1), "minmax")
    data = files.to_bytes(quantize(model, format, ranges))

    def pad(tensors: Tensors) -> None:
        tensors[name][-1] |= 0x80

    files.from_bytes(forged(data), "model")
    refused(forged(data, tensors=pad), f"the last byte of {name} of layer 1 is not padded")
