"""Normal weights of the float baselines: against the definition, the normal law, and each other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_oracle import KEY_HIGH, ars
from scipy.stats import binom, kstest, norm

from sigmabench.harness import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

PATHS = native.load().normal_paths() if native.unavailable() is None else []
MANY = 1_000_000
NATIVE = Path(__file__).parents[2] / "harness" / "native"


def tensors(mean, std, sizes, isa="auto"):
    return native.load().NormalTensors(
        np.asarray(mean, np.float32), np.asarray(std, np.float32), sizes, isa
    )


def draw(mean, std, sizes, seed, mc, count=1, isa="auto", dtype=np.float32, threads=1):
    out = np.empty(count * len(mean), dtype)
    tensors(mean, std, sizes, isa).fill(out, seed, mc, count, threads)
    return out


def normals(size, seed=0, mc=0, isa="auto"):
    return draw(np.zeros(size), np.ones(size), [size], seed, mc, isa=isa)


def oracle(size, seed, mc, ordinal):
    """z in float64, from the header's definition alone, with plain-Python ARS, and z's radius."""
    z, radii = [], []
    for block in range(-(-size // 32)):
        counters = [8 * block + j | mc << 32 | ordinal << 64 | 1 << 96 for j in range(8)]
        words = np.frombuffer(b"".join(ars(c, seed | KEY_HIGH << 64) for c in counters), "<u4")
        x, y = words[:16].astype(np.float64), words[16:]
        radius = np.sqrt(-2 * np.log((x + 0.5) / 2**32))
        angle = (y << np.uint32(2)).view(np.int32) * (np.pi / 4 / 2**31)
        cosine = radius * np.cos(angle) * np.where(y >> np.uint32(30) & 1, -1, 1)
        sine = radius * np.sin(angle)
        swap = y >= 2**31
        z += [*np.where(swap, sine, cosine), *np.where(swap, cosine, sine)]
        radii += [*radius, *radius]
    return np.array(z[:size]), np.array(radii[:size])


@given(
    size=st.sampled_from([1, 15, 16, 17, 31, 32, 33, 100]),
    seed=st.integers(0, 2**64 - 1),
    mc=st.sampled_from([0, 1, 2**32 - 1]),
)
@settings(max_examples=10, deadline=None)
def test_every_path_draws_the_defined_normals(size, seed, mc):
    parts = [oracle(3, seed, mc, 0), oracle(size, seed, mc, 1)]
    expected, radius = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    # Near 1, float32 has the uniform number to 2^-25, hence the squared radius to 2^-24.
    bound = 1e-6 * (1 + np.abs(expected)) + 2.0**-24 / (2 * radius)
    for path in PATHS:
        z = draw(np.zeros(size + 3), np.ones(size + 3), [3, size], seed, mc, isa=path)
        assert (np.abs(z - expected) <= bound).all(), path


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_paths_agree_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=100_003), rng.random(100_003)
    first, *others = (
        draw(mean, std, [7, 99_996], 5, 9, 2, path, dtype).tobytes() for path in PATHS
    )
    assert all(other == first for other in others)


def test_draws_follow_the_normal_law():
    z = normals(MANY, seed=1).astype(np.float64)
    assert abs(z.mean()) < 4 / np.sqrt(MANY)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / MANY)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / MANY)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / MANY)
    assert kstest(z, norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize("bound", [3.0, 4.0, 4.5])
def test_tails_are_as_heavy_as_they_should_be(bound):
    passes = 8
    z = draw(np.zeros(MANY), np.ones(MANY), [MANY], 2, 0, passes)
    for beyond in (z > bound, z < -bound):
        low, high = binom.interval(1 - 1e-4, passes * MANY, norm.sf(bound))
        assert low <= beyond.sum() <= high


def test_the_law_holds_within_pairs_and_between_neighbours():
    blocks = normals(MANY, seed=3).astype(np.float64).reshape(-1, 32)
    for lag in (1, 16):
        for power in (1, 2):
            a = blocks[:, :-lag] ** power
            b = blocks[:, lag:] ** power
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)


def test_seeds_passes_and_tensors_are_independent():
    size = 100_000
    base = draw(np.zeros(2 * size), np.ones(2 * size), [size, size], 0, 0)
    others = [base[size:], normals(size, 1), normals(size, 0, 1), normals(size, 2**63)]
    for other in others:
        assert abs(np.corrcoef(base[:size], other)[0, 1]) < 5 / np.sqrt(size)
        assert (base[:size] == other).mean() < 1e-3


def test_a_pass_draws_the_same_whatever_the_stack_and_threads():
    sizes = [40, 1, 1000]
    mean, std = np.arange(1041), np.linspace(0.1, 2, 1041)
    stacked = draw(mean, std, sizes, 4, 6, 5, threads=2)
    assert stacked.tobytes() == draw(mean, std, sizes, 4, 6, 5, threads=1).tobytes()
    for t in range(5):
        single, start = draw(mean, std, sizes, 4, 6 + t), 0
        for size in sizes:
            at = 5 * start + t * size
            np.testing.assert_array_equal(stacked[at : at + size], single[start : start + size])
            start += size


def test_weights_are_mean_plus_std_times_z():
    z = normals(5000, 8).astype(np.float64)
    rng = np.random.default_rng(1)
    mean, std = rng.normal(size=5000).astype("f4"), rng.random(5000).astype("f4")
    drawn = draw(mean, std, [5000], 8, 0)
    np.testing.assert_allclose(drawn, mean + std * z, rtol=1e-6, atol=1e-6)


def test_bfloat16_rounds_to_nearest_even():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    # Means that are ties between two bfloat16 values, too.
    ties = (rng.integers(0x3F00, 0x4000, 3000).astype(np.uint32) << 16 | 0x8000).view(np.float32)
    mean = np.concatenate([ties, rng.normal(size=3000).astype("f4")])
    std = np.concatenate([np.zeros(3000), np.ones(3000)])
    wide = draw(mean, std, [3000, 3000], 1, 1)
    expected = torch.from_numpy(wide).bfloat16().view(torch.uint16).numpy()
    for path in PATHS:
        narrow = draw(mean, std, [3000, 3000], 1, 1, isa=path, dtype=np.uint16)
        np.testing.assert_array_equal(narrow, expected, path)


def test_tensors_without_spread_are_their_means():
    mean = np.linspace(-3, 3, 70)
    np.testing.assert_array_equal(
        draw(mean, np.zeros(70), [70], 0, 0, 2), np.tile(mean.astype("f4"), 2)
    )


def test_nothing_is_infinite_and_the_extremes_are_those_of_32_bits():
    z = draw(np.zeros(MANY), np.ones(MANY), [MANY], 7, 0, 16)
    assert np.isfinite(z).all()
    assert np.abs(z).max() <= np.sqrt(-2 * np.log(0.5 / 2**32)) * (1 + 1e-6)


EXTREMES = """
#include "normal.cpp"
#include <cstdio>
int main() {
    for (std::uint32_t x : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu})
        for (std::uint32_t y : {0u, 1u, 0x1fffffffu, 0x20000000u, 0x80000000u, 0xffffffffu}) {
            float first, second;
            sigmabench::normal_pair(static_cast<int>(x), static_cast<int>(y), first, second);
            std::printf("%u %u %.9g %.9g\\n", x, y, first, second);
        }
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_transform_is_right_at_the_extremes_of_its_bits(tmp_path):
    (tmp_path / "extremes.cpp").write_text(EXTREMES)
    program = tmp_path / "extremes"
    sources = [tmp_path / "extremes.cpp", NATIVE / "noise.cpp"]
    parts = [NATIVE / f"normal_{isa}.cpp" for isa in ("avx2", "avx512")]
    command = ["g++", "-std=c++17", "-fopenmp", "-ffp-contract=off", f"-I{NATIVE}"]
    subprocess.run([*command, *sources, *parts, "-o", program], check=True)
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split("\n")
    for line in filter(None, lines):
        x, _, *z = (float(word) for word in line.split())
        radius = np.sqrt(-2 * np.log(min(np.float32(x) + np.float32(0.5), 2.0**32) / 2**32))
        assert np.isfinite(z).all()
        np.testing.assert_allclose(np.hypot(*z), radius, rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"isa": "sse"}, "isa must be"),
        ({"count": 2**32}, "room"),
        ({"mc": -1}, "MC index"),
        ({"mc": 2**32 - 1, "count": 2}, "too many"),
        ({"threads": 0}, "threads must be from 1 to 1024"),
        ({"threads": 2**31 - 1}, "threads must be from 1 to 1024"),
        ({"count": 2**63 - 1, "mc": 2}, "too many"),
        ({"count": 0}, "at least one pass"),
        ({"sizes": [3]}, "shape"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    known = {"isa": "auto", "count": 1, "mc": 0, "threads": 1, "sizes": [4]} | arguments
    out = np.empty(4 * min(known["count"], 2), np.float32)

    def call():
        made = tensors(np.zeros(4), np.ones(4), known["sizes"], known["isa"])
        made.fill(out, 0, known["mc"], known["count"], known["threads"])

    with pytest.raises(ValueError, match=message):
        call()


def test_an_output_of_another_type_is_refused():
    made = tensors(np.zeros(4), np.ones(4), [4])
    with pytest.raises(TypeError, match="float32, or uint16"):
        made.fill(np.empty(4, np.float64), 0, 0, 1)


def test_tensors_are_numbered_from_an_ordinal_on():
    sizes, mean, std = [40, 70, 33], np.zeros(143, np.float32), np.ones(143, np.float32)
    whole, part = np.empty(143, np.float32), np.empty(103, np.float32)
    load = native.load().NormalTensors
    load(mean, std, sizes).fill(whole, 5, 2, 1)
    load(mean[:103], std[:103], sizes[1:], ordinal=1).fill(part, 5, 2, 1)
    assert np.array_equal(whole[40:], part)
