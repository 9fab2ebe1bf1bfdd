"""The compiled sampler, every path of it, against the definition written once more in Python."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_nets import lenet, one_linear
from native_oracle import Noise, aes_round, ars, sample

from sigmabench.harness import native
from sigmabench.harness.backends.native import build
from sigmabench.harness.quantize.noise import SCALE, alias_tables

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

PATHS = native.load().sampler_paths() if native.unavailable() is None else []


def test_oracle_gives_the_aes_instructions_known_answers() -> None:
    # Gueron, "Intel Advanced Encryption Standard (AES) New Instructions Set", 2010.
    state = bytes.fromhex("7b5b54657374566563746f725d53475d")[::-1]
    key = bytes.fromhex("48692853686179295b477565726f6e5d")[::-1]
    assert aes_round(state, key)[::-1].hex() == "a8311c2f9fdba3c58b104b58ded7e595"
    assert aes_round(state, key, last=True)[::-1].hex() == "c7fb881e938c5964177ec42553fdc611"


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        (1, 0x1A0B14C707B64224E548EF12331396EF),
        (2, 0x3CED8E0970690F718336318BA22E8AE1),
        (3, 0xB6621A8B006319E867C841642C32FC19),
        (10, 0xAC35DF44F996ED824E287697BAD2F9A2),
    ],
)
def test_oracle_gives_random123s_known_answers(rounds: int, expected: int) -> None:
    # The values that Random123's Julia port, Random123.jl, tests its own generator against; that
    # generator counts one up before it draws.
    counter = 0x9799B5D54F7B9227B47607190D0DFEFB + 1
    key = 0x07B8E4B6AA98EC245A7DA274D3B8146A
    assert int.from_bytes(ars(counter, key, rounds), "little") == expected


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Around every edge of a block: 16 and 64 outputs, 4 inputs, and a single input."""
    outputs = draw(st.sampled_from([1, 2, 15, 16, 17, 33, 63, 64, 65]))
    inputs = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 9]))
    kernel = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (3, 3)]))
    return (outputs, inputs, *kernel)


@given(
    shape=shapes(),
    bits=st.integers(1, 8),
    seed=st.integers(0, 2**64 - 1),
    mc=st.one_of(st.integers(0, 100), st.just(2**32 - 1)),
)
@settings(max_examples=12)
def test_every_path_draws_the_defined_weights(
    shape: tuple[int, int, int, int], bits: int, seed: int, mc: int
) -> None:
    artefact = one_linear(shape, bits, seed % 1000)
    layer = artefact.layers["fc"]
    noise = Noise(seed, mc, 0, *alias_tables())
    expected = sample(
        layer.mean, layer.sigma_q, layer.multiplier, layer.offset, layer.shift, bits, noise
    )
    for engine in ("auto", "portable"):
        for path in PATHS:
            drawn = build(artefact, 1, engine, path).sample("fc", seed, mc)
            np.testing.assert_array_equal(drawn, expected, f"{engine} {path}")


@given(channels=st.sampled_from([1, 10, 63, 64, 65, 130]), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=8)
def test_every_path_draws_the_defined_biases(channels: int, seed: int) -> None:
    artefact = one_linear((channels, 1, 1, 1), 4)
    layer = artefact.layers["fc"]
    noise = Noise(seed, 5, 1, *alias_tables())
    epsilon = np.array([noise(c // 64, c % 64) for c in range(channels)], np.float32)
    step = (layer.bias_std.astype(np.float64) * SCALE).astype(np.float32)
    expected = layer.bias + step * epsilon
    for path in PATHS:
        drawn = build(artefact, 1, "auto", path).sample_bias("fc", seed, 5)
        np.testing.assert_array_equal(drawn, expected, path)


@pytest.mark.parametrize(
    ("path", "source", "checks"),
    [
        ("SamplerPath::avx512_vbmi", "sampler_avx512", "sampler"),
        ("SamplerPath::avx512", "sampler_avx512bw", "sampler"),
        ("SamplerPath::avx2", "sampler_avx2", "sampler"),
        ("NormalPath::avx512", "normal_avx512", "normal"),
        ("NormalPath::avx2", "normal_avx2", "normal"),
    ],
)
def test_a_wide_path_runs_only_where_the_cpu_has_all_it_was_compiled_for(
    path: str, source: str, checks: str
) -> None:
    """A CPU with AVX-512 VBMI and without, say, VAES is none that a test can run on."""
    sources = Path(__file__).parents[2] / "harness" / "native"
    compiled = re.search(r'target\("([^"]+)"\)', (sources / f"{source}.cpp").read_text())
    checked = re.search(
        rf"case {path}:\s+return (__builtin.*?);",
        (sources / f"{checks}.cpp").read_text(),
        re.DOTALL,
    )
    assert compiled is not None
    assert checked is not None
    names = re.findall(r'__builtin_cpu_supports\("(\w+)"\)', checked[1])
    assert sorted(names) == sorted(compiled[1].split(","))


@pytest.mark.parametrize("bits", range(1, 9))
def test_paths_agree_on_a_whole_network(bits: int) -> None:
    artefact = lenet(bits)
    programs = [build(artefact, 1, "auto", path) for path in PATHS]
    for layer in artefact.layers:
        first, *others = (program.sample(layer, 3, 8) for program in programs)
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_layers_passes_and_seeds_draw_apart() -> None:
    program = build(lenet(8), 1)
    base = program.sample("f2", 3, 8)
    assert (program.sample("f2", 3, 8) == base).all()
    for seed, mc in ((3, 9), (4, 8)):
        assert (program.sample("f2", seed, mc) != base).mean() > 0.3


def test_magnitudes_are_as_frequent_as_the_tables_say() -> None:
    """Every magnitude occurs as often as the tables say, within five standard errors."""
    artefact = one_linear((64, 64, 8, 8), 1)
    layer = artefact.layers["fc"]
    # μ = 0 and one step of σ to one step of ε_q: the weights are ε_q itself.
    layer.mean[:] = 0
    layer.sigma_q[:] = 0
    layer.sigma_offset[:] = layer.weight_scale / SCALE
    drawn = np.concatenate([build(artefact, 1).sample("fc", 1, t).ravel() for t in range(4)])
    threshold, alias = alias_tables()
    mass = np.zeros(128)
    for column in range(128):
        own = 256 if alias[column] == column else int(threshold[column])
        mass[column] += own
        mass[alias[column]] += 256 - own
    for magnitude in range(128):
        p = mass[magnitude] / 2**15
        share = (np.abs(drawn.astype(int)) == magnitude).mean()
        assert abs(share - p) <= 5 * np.sqrt(p * (1 - p) / drawn.size)
    assert abs(np.sign(drawn.astype(int)).mean()) < 5 / np.sqrt(drawn.size)
