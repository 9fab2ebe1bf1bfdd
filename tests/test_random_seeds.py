"""The property tests on other examples than those of every run: those of twenty seeds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCES = [str(path) for path in sorted(TESTS.rglob("test_*.py")) if "\n@given" in path.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_every_property_holds_on_the_examples_of(seed: int) -> None:
    command = f"-m pytest -n 0 -m hypothesis --hypothesis-profile seeded --hypothesis-seed {seed}"
    run = subprocess.run(
        [sys.executable, *command.split(), *SOURCES], cwd=TESTS.parent, capture_output=True
    )
    assert run.returncode == 0, run.stdout.decode()
