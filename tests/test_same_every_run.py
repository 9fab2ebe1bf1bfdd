"""Tests are the same on every run: nothing draws from a generator that has no seed."""

from __future__ import annotations

import ast
import importlib.util
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

SOURCES = sorted(Path(__file__).parent.rglob("*.py"))
NEED_A_SEED = {"default_rng", "RandomState", "SeedSequence", "Philox", "PCG64", "MT19937", "Random"}
OTHER_NUMPY = {*NEED_A_SEED, "Generator", "BitGenerator"}


def unseeded(source: str) -> Iterator[str]:
    """Lines that draw, or may, from a generator whose state differs from run to run.

    PyTorch's global generator is started by `conftest.py`.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names) if any(n.name in ("random", "secrets") for n in names):
                yield f"{node.lineno}: its functions share an unseeded state"
            case ast.ImportFrom(module="random" | "secrets"):
                yield f"{node.lineno}: its functions share an unseeded state"
            case ast.Attribute(value=ast.Attribute(attr="random", value=ast.Name(id="np"))):
                if node.attr not in OTHER_NUMPY:
                    yield f"{node.lineno}: np.random.{node.attr} has NumPy's global state"
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                first = node.args[0] if node.args else None
                none = isinstance(first, ast.Constant) and first.value is None
                if name in NEED_A_SEED and not node.keywords and (first is None or none):
                    yield f"{node.lineno}: {name} without a seed"
                if name == "seed" and not node.args:
                    yield f"{node.lineno}: a seed from the clock"
            case ast.keyword(arg="use_true_random" | "derandomize" | "database", value=value):
                if not (isinstance(value, ast.Constant) and value.value is False) or (
                    node.arg == "derandomize"
                ):
                    yield f"{value.lineno}: {node.arg} is the profile's to say"


def test_no_test_has_a_generator_without_a_seed() -> None:
    found = [
        f"{path.name}:{line}"
        for path in SOURCES
        if path.name != "conftest.py" and path != Path(__file__)
        for line in unseeded(path.read_text())
    ]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "np.random.default_rng()",
        "np.random.default_rng(None)",
        "default_rng()",
        "np.random.RandomState()",
        "np.random.rand(3)",
        "np.random.shuffle(x)",
        "import random",
        "from random import choice",
        "torch.seed()",
        "torch.Generator().seed()",
        "st.randoms(use_true_random=True)",
        "settings(derandomize=False)",
    ],
)
def test_an_unseeded_generator_is_found(line: str) -> None:
    assert list(unseeded(line))


@pytest.mark.parametrize(
    "line",
    [
        "np.random.default_rng(3)",
        "np.random.Generator(np.random.Philox(key=1))",
        "np.random.RandomState(number).random_sample(4)",
        "torch.Generator().manual_seed(0)",
        "st.randoms(use_true_random=False)",
    ],
)
def test_a_seeded_one_is_not(line: str) -> None:
    assert not list(unseeded(line))


@pytest.fixture
def drawn() -> float:
    return float(torch.rand(1))


def test_pytorchs_generator_starts_from_the_name(drawn: float, request) -> None:
    assert torch.initial_seed() == zlib.crc32(request.node.name.encode())
    torch.manual_seed(zlib.crc32(b"drawn"))
    assert drawn == float(torch.rand(1))


def examples() -> list[float]:
    seen: list[float] = []

    @settings(max_examples=300)
    @given(st.floats(0, 1e6))
    def draw(value: float) -> None:
        seen.append(value)

    draw()
    return seen


def test_examples_do_not_depend_on_the_modules_that_happen_to_be_loaded(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = examples()
    assert len(set(before)) > 100
    # Not pytest's own folder: it has the name of this test, and Hypothesis passes over tests.
    path = tmp_path_factory.mktemp("loaded") / "numbers_of_ones_own.py"
    path.write_text(f"CHOICES = {[1234.5 + k for k in range(300)]}\n")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    assert examples() == before
