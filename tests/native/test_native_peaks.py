"""Loops of multiply–adds: they add up, and the compiler left them as they are written; and what a
program says that it moves and executes."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sigmabench.harness import native
from sigmabench.harness.backends.native import build
from sigmabench.harness.measure.operations import multiply_adds
from sigmabench.harness.quantize.options import Options
from sigmabench.harness.quantize.ptq import Origin, quantize
from sigmabench.harness.race.networks import NETWORKS

ROOT = Path(__file__).parents[2]
#: By file, what its loops are made of: instructions of a sum in order, and how many sums.
LOOPS = {
    "peaks_avx2": [
        (("vfmadd231ps",), 12),
        (("vpmaddubsw", "vpmaddwd", "vpaddd"), 8),
        (("vpdpbusd",), 12),
    ],
    "peaks_avx512": [
        (("vfmadd231ps",), 24),
        (("vpmaddubsw", "vpmaddwd", "vpaddd"), 8),
        (("vpdpbusd",), 24),
        (("vdpbf16ps",), 24),
    ],
    "peaks_amx": [(("tdpbusd",), 6), (("tdpbf16ps",), 6)],
}

compiled = pytest.mark.skipif(native.unavailable() is not None, reason="nothing is compiled")


@compiled
def test_loops_count_their_multiply_adds() -> None:
    extension = native.load()
    for loop in extension.loops():
        for threads, steps in ((1, 1), (2, 1000), (1, (1 << 18) + 3)):
            found = extension.run_loop(loop["name"], threads, steps)
            assert found["multiply_adds"] == threads * steps * loop["multiply_adds"], loop
            assert found["seconds"] > 0
            assert found["hertz"] > 1e6


@compiled
def test_what_is_no_loop_is_refused() -> None:
    for name, threads, steps in (("fp64 avx2", 1, 1), ("fp32 avx2", 0, 1), ("fp32 avx2", 1, 0)):
        with pytest.raises(ValueError, match=r"no loop|threads|steps"):
            native.load().run_loop(name, threads, steps)


def emitted(name: str, folder: Path) -> list[list[str]]:
    """Innermost loops of a file as the compiler emits it, with the flags of the build."""
    options = (ROOT / "CMakeLists.txt").read_text()
    (flags,) = re.findall(r"PRIVATE\s+(-O3 [^)]+?)\)", options)
    target = folder / f"{name}.s"
    source = ROOT / f"harness/native/{name}.cpp"
    command = ["g++", "-std=c++17", *flags.split(), "-S", str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    return loops_of(target.read_text())


def loops_of(assembly: str) -> list[list[str]]:
    """From each label to a jump back to it, without a label in between."""
    found, block, label = [], list[str](), ""
    for line in assembly.splitlines():
        line = line.split("#")[0].strip().removeprefix("{vex} ")
        if re.fullmatch(r"\.L\w+:", line):
            label, block = line[:-1], []
        elif line and not line.startswith("."):
            block.append(line)
            if re.fullmatch(rf"j\w+\s+{re.escape(label)}", line):
                found.append(list(block))
    return found


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_its_multiply_adds_in_registers_and_nothing_else(
    name: str, tmp_path: Path
) -> None:
    loops = emitted(name, tmp_path)
    for instructions, sums in LOOPS[name]:
        mine = [loop for loop in loops if loop[0].split()[0] == instructions[0]]
        assert len(mine) == 1, instructions
        (loop,) = mine
        *work, count, jump = loop
        assert [line.split()[0] for line in work] == list(instructions) * sums
        ends = work[len(instructions) - 1 :: len(instructions)]
        assert len({line.split(",")[-1].strip() for line in ends}) == sums, "registers of their own"
        assert "(" not in "".join(work), "an operand lies in memory"
        assert count.split()[0] in ("subq", "decq", "addq")
        assert jump.startswith("j")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_clock_is_a_chain_of_additions(tmp_path: Path) -> None:
    chains = [loop for loop in emitted("peaks", tmp_path) if len(loop) > 60]
    assert chains
    for chain in chains:
        added = re.compile(r"addq\t%\w+, %|leaq\t\(%\w+,%\w+\), %")
        sums = [line for line in chain if added.match(line)]
        assert len(sums) == 64
        assert len(chain) <= 64 + 5, "all else is the loop's own"
        registers = [set(re.findall(r"%(\w+)", line)) for line in sums]
        assert len(set.intersection(*registers)) >= 1, "one number is added"
        for one, other in pairwise(sums):
            assert f"%{one.split('%')[-1]}" in other, "each waits for the one before it"


@compiled
@pytest.mark.parametrize(("engine", "batch"), [("portable", 3), ("auto", 8), ("auto", 1)])
def test_steps_add_up_to_the_pass(engine: str, batch: int) -> None:
    network = NETWORKS.get("lenet5" if engine == "portable" else "resnet20")
    made = network.synthetic()
    origin = Origin(network.name, "synthetic", "")
    artefact = quantize(made.model, "INT8_SIGMA4", made.calibration, Options(), origin)
    program = build(artefact, 2, engine=engine, team=2 if batch > 3 else 1)
    program.logits(network.images(batch, 0).numpy(), 0, 0, 2)
    steps, whole = program.counts(), program.traffic(batch)
    graph = artefact.graph
    assert [step["name"] for step in steps] == [*(node.name for node in graph.nodes), graph.input]
    for kind in ("mean", "std", "sampled"):
        assert sum(step[kind] for step in steps) == whole[kind]
    if engine == "portable":
        assert sum(step["activations"] for step in steps) == whole["activations"]
    asked = {conv.name: batch * multiply_adds(graph, conv) for conv in graph.convs}
    for step in steps:
        wanted = asked.get(step["name"], 0)
        if engine == "portable" or not wanted:
            assert step["multiply_adds"] == wanted
        else:
            assert wanted <= step["multiply_adds"] <= 100 * wanted
    first = steps[-1]["activations"]
    assert first == batch * np.prod(network.input_shape) * 5 or engine == "auto"
