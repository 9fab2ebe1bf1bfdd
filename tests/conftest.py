"""Shared fixtures: a small network with every kind of node, and its posterior."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from torch import Tensor, nn
from toy import RESIDUAL_SHAPE, Residual

from sigmabench.harness.posterior import Posterior, initial

# The machines that run this are shared: a slow example is not a failure.
settings.register_profile(
    "sigmabench", deadline=None, max_examples=40, derandomize=True, database=None
)
#: For `--hypothesis-seed`: the examples of that seed (`tests/test_random_seeds.py`).
settings.register_profile("seeded", settings.get_profile("sigmabench"), derandomize=False)
settings.load_profile("sigmabench")
# Hypothesis tries numbers that it reads in whatever local modules are loaded by then, which depends
# on the tests that ran before; without them a test has the same examples alone and in the suite.
providers.is_local_module_file = lambda path: False

torch.set_num_threads(1)


def _start_generator(name: str) -> None:
    """PyTorch's global generator, at a seed that depends on the name alone."""
    torch.manual_seed(zlib.crc32(name.encode()))


# Modules, fixtures and tests each start the generator, so none depends on what ran before it.
@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> None:
    _start_generator(collector.name)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: Any) -> None:
    _start_generator(fixturedef.argname)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    _start_generator(item.name)


@pytest.fixture(autouse=True)
def no_line_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command says while it works depends on how long it takes, on a busy machine too."""
    monkeypatch.setattr("sigmabench.harness.core.waiting.FIRST_SECONDS", 3600.0)


@pytest.fixture(autouse=True)
def small_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes turns with everything that is timed is as large as caches are; no test times."""
    references = "sigmabench.harness.race.references"
    for name, value in (("SIDE", 32), ("COPIED_BYTES", 1 << 16), ("PAUSE_SECONDS", 0.0)):
        monkeypatch.setattr(f"{references}.{name}", value)


@pytest.fixture(scope="session")
def residual() -> nn.Module:
    torch.manual_seed(7)
    module = Residual()
    for norm in (module.stem_norm, module.norm1, module.norm2):
        with torch.no_grad():
            norm.weight.uniform_(-1.5, 1.5)
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return module.eval()


@pytest.fixture(scope="session")
def posterior(residual: nn.Module) -> Posterior:
    """σ differs from weight to weight, over a factor of a hundred."""
    torch.manual_seed(8)
    start = initial(residual, 0.02)
    rho = {name: value + torch.randn_like(value) for name, value in start.rho.items()}
    return Posterior(start.mean, rho, start.state)


@pytest.fixture(scope="session")
def images() -> Tensor:
    torch.manual_seed(9)
    return torch.randn(512, *RESIDUAL_SHAPE)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Real data, where there is any."""
    root = os.environ.get("SIGMABENCH_DATA")
    if not root:
        pytest.skip("SIGMABENCH_DATA is not set")
    return Path(root)
