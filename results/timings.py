"""Measure every published timing again on this machine, and rebuild what shows it.

    python results/timings.py [--environments FOLDER] [--list]

Each command times in three fresh processes, stores what is done, and goes on where it was stopped:
so does this one. Nothing else may run meanwhile. SIGMABENCH_DATA names the data root; what it or
the peers' environments lack is named at the end, and the rest is measured.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIGMABENCH = Path(sys.executable).with_name("sigmabench")
FORMATS = "FP32,INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1,DNN_FP32,DNN_INT8"
MEAN = "--formats DNN_FP32,DNN_INT8 --deterministic mean"


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        command: after `sigmabench`.
        minutes: about how long it takes on two cores with AMX.
        races: whether peers take part.
    """

    command: str
    minutes: int
    races: bool = False


STEPS = (
    Step("run lenet-digits", 4),
    Step(f"run lenet-digits {MEAN} --mc 50", 1),
    Step("run lenet5-mnist", 6),
    Step(f"run lenet5-mnist {MEAN} --mc 50", 1),
    Step(f"run resnet20-cifar10 --formats {FORMATS} --mc 50", 18),
    Step(f"run resnet20-cifar10 {MEAN} --mc 50", 2),
    Step(f"run histology-colorectal --formats {FORMATS} --mc 50", 4),
    Step(f"run histology-colorectal {MEAN} --mc 50", 2),
    Step(f"run histology-colorectal --formats {FORMATS} --split held-out-slides --mc 50", 6),
    Step(f"run resnet50-imagenet --formats {FORMATS} --mc 50 --seeds 1 --seconds 0.5", 27),
    Step(f"run resnet50-imagenet {MEAN} --mc 50 --seconds 0.5", 3),
    Step(
        "run lenet5-mnist --mc 50,auto --formats INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1 "
        "--results results/adaptive",
        4,
    ),
    Step("peers lenet-digits --seconds 1", 10, races=True),
    Step("peers lenet5-mnist --seconds 1", 9, races=True),
    Step("peers resnet20-cifar10 --seconds 1", 16, races=True),
    Step("peers histology-colorectal --seconds 1", 13, races=True),
    Step("peers resnet50-imagenet --limit 64 --mc 10 --seconds 1", 30, races=True),
    Step("bench passes resnet50 --batch 1,8,32 --seconds 1", 14, races=True),
    Step("bench passes resnet20 --batch 1,32,128 --seconds 1", 4, races=True),
    Step("bench passes lenet5 --batch 1,128 --seconds 1", 3, races=True),
    Step("bench sampler --threads 1", 2),
    Step("bench sampler", 2),
)
#: What is no timing, and is not repeated in several processes.
ONCE = (
    Step("bench memory resnet50 --batch 1,32", 1),
    Step("profile resnet50 --batch 1 --out results/report/runtime", 1),
)


def main() -> int:
    """Run what is missing; the number of commands that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environments", default=".peers", help="Folder of peers' environments.")
    parser.add_argument("--list", action="store_true", help="Print the commands, and run nothing.")
    asked = parser.parse_args()
    commands = [_words(step, asked.environments) for step in (*STEPS, *ONCE)]
    if asked.list:
        print("\n".join(shlex.join(["sigmabench", *words]) for words in commands))
        return 0
    total = sum(step.minutes for step in (*STEPS, *ONCE))
    print(f"{len(commands)} commands, about {total} minutes on two cores if none is stored.")
    failed = []
    for number, (words, step) in enumerate(zip(commands, (*STEPS, *ONCE), strict=True), 1):
        shown = shlex.join(["sigmabench", *words])
        print(f"\n{number} of {len(commands)}, about {step.minutes} min: {shown}", flush=True)
        if _run(str(SIGMABENCH), *words):
            failed.append(shown)
    if _run(str(SIGMABENCH), "pack", "--results", "results"):
        failed.append("sigmabench pack --results results")
    # As results/render.sh does.
    shows = (["-m", "results.drawn"], ["-m", "results.again"], ["results/pages"])
    failed += [shlex.join(["python", *words]) for words in shows if _run(sys.executable, *words)]
    for shown in failed:
        print(f"Failed, for the reason that it gave: {shown}", file=sys.stderr)
    return len(failed)


def _words(step: Step, environments: str) -> list[str]:
    repeated = ["--processes", "3"] if step in STEPS else []
    races = ["--environments", environments] if step.races else []
    return [*step.command.split(), *repeated, *races]


def _run(*words: str) -> int:
    return subprocess.run(words, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
