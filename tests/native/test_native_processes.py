"""A program in a forked child; threads and memory that the system does not have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sigmabench.harness import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

PARENT = """
import os, resource, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from native_nets import lenet
from test_native_program import build, images
artefact = lenet(4)
"""

# In `child`, signal.alarm is what ends a child that waits for threads which it does not have.
FORK = (
    PARENT
    + """
program = build(artefact, 3)
x = images(artefact, 4).numpy()
expected = program.logits(x, 1, 0, 5)
parent(program, x)
child = os.fork()
if child == 0:
    signal.alarm(20)
    good = (program.logits(x, 1, 0, 5) == expected).all()
    good &= (program.logits(x, 1, 0, 1) == expected[:1]).all()
    good &= program.sample("f1", 1, 0).shape == (120, 16, 5, 5)
    del program
    os._exit(0 if good else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert (program.logits(x, 1, 0, 5) == expected).all()
os._exit(code)
"""
)

BUSY = """
def parent(program, x):
    # The child is made while another thread holds the program.
    call = threading.Thread(target=program.logits, args=(x, 1, 0, 20_000))
    call.start()
    time.sleep(0.2)
    assert call.is_alive()
"""

IDLE = """
def parent(program, x):
    pass
"""

FEW = (
    PARENT
    + """
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))  # stacks of 8 MiB
try:
    build(artefact, 1000)
except RuntimeError as reason:
    assert "1000 threads" in str(reason), reason
else:
    raise AssertionError("there were 1000 threads in half a GiB")
x = images(artefact, 4).numpy()
assert build(artefact, 2).logits(x, 1, 0, 2).shape == (2, 4, 10)
"""
)


CRAMPED = (
    PARENT
    + """
from native_nets import artefact as made
from sigmabench.harness.quantize.graph import Activation, Conv, Graph, Pool
conv = Conv("c", "x", (512, 1, 1, 1), "c.weight", relu=True)
pool, fc = Pool("p", "c", "max", (64, 64), (64, 64)), Conv("y", "p", (3, 512, 1, 1), "y.weight")
sizes = {"x": (1, 64, 64), "c": (512, 64, 64), "p": (512, 1, 1)}
activations = {name: Activation(shape, 0.02, name == "x") for name, shape in sizes.items()}
model = made(Graph("x", "y", (conv, pool, fc), activations | {"y": Activation((3, 1, 1))}), 4)
x = images(model, 48).numpy()  # 100 MB of activations a pass
expected = build(model, 1).logits(x, 1, 0, 1)
program = build(model, 4)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 10**6, used + 300 * 10**6))
assert (program.logits(x, 1, 0, 1) == expected).all()
"""
)


def run(script: str) -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-W", "ignore", "-c", script, str(here)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # it would take addresses, too
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "parent",
    [pytest.param(IDLE, id="idle"), pytest.param(BUSY, id="busy", marks=pytest.mark.thorough)],
)
def test_a_forked_child_computes_and_drops_the_program(parent: str) -> None:
    run(parent + FORK)


@pytest.mark.thorough
def test_threads_that_cannot_be_had_are_an_error() -> None:
    run(FEW)


@pytest.mark.thorough
def test_a_pass_that_fits_is_not_refused_for_four_that_do_not() -> None:
    """Four passes side by side are tried only where there is the memory for them."""
    run(CRAMPED)
