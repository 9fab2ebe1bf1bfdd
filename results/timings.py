"""Measure every published timing again on this machine, and rebuild what shows it.

    python results/timings.py [--environments FOLDER] [--list]

Each command times in three fresh processes, stores what is done, and goes on where it was stopped:
so does this one, and says at each command how much is left. Nothing else may run meanwhile.
SIGMABENCH_DATA names the data root; what it or the peers' environments lack is named at the end,
and the rest is measured.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIGMABENCH = Path(sys.executable).with_name("sigmabench")
FORMATS = "FP32,INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1,DNN_FP32,DNN_INT8"
#: Peers whose deterministic INT8 was the fastest somewhere.
FASTEST = "--peers ipex,openvino --seconds 0.5"
MEAN = "--formats DNN_FP32,DNN_INT8 --deterministic mean"


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        command: after `sigmabench`.
        minutes: about how long it takes on two cores with AMX if nothing of it is stored.
        races: whether peers take part.
    """

    command: str
    minutes: float
    races: bool = False


#: Half a second a cell: the spread of three processes makes the interval, whatever each samples.
STEPS = (
    Step("run lenet-digits --alone --seconds 0.5", 2),
    Step(f"run lenet-digits --alone {MEAN} --mc 50 --seconds 0.5", 0.5),
    Step("run lenet5-mnist --alone --seconds 0.5", 3.5),
    Step(f"run lenet5-mnist --alone {MEAN} --mc 50 --seconds 0.5", 1),
    Step(f"run resnet20-cifar10 --alone --formats {FORMATS} --mc 50 --seconds 0.5", 15.5),
    Step(f"run resnet20-cifar10 --alone {MEAN} --mc 50 --seconds 0.5", 1.5),
    Step(f"run histology-colorectal --alone --formats {FORMATS} --mc 50 --seconds 0.5", 3),
    Step(f"run histology-colorectal --alone {MEAN} --mc 50 --seconds 0.5", 1),
    # At the batch size that its page shows.
    Step(
        f"run resnet50-imagenet --alone --formats {FORMATS} --mc 50 --batch 1 --seeds 1 "
        "--seconds 0.5",
        25.5,
    ),
    Step(f"run resnet50-imagenet --alone {MEAN} --mc 50 --batch 1 --seconds 0.5", 2),
    Step(
        "run lenet5-mnist --alone --mc 50,auto --formats INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1 "
        "--seconds 0.5 --results results/adaptive",
        3,
    ),
    # These two for the headline, which divides by the fastest deterministic INT8.
    Step(f"peers lenet-digits {FASTEST}", 2.5, races=True),
    Step(f"peers histology-colorectal {FASTEST}", 3.5, races=True),
    Step("peers lenet5-mnist --seconds 0.5", 5, races=True),
    Step("peers resnet20-cifar10 --limit 250 --seconds 0.5", 7.5, races=True),
    # In the formats that their pages show; images tell whether something is broken, and no more.
    Step(
        "peers resnet50-imagenet --formats FP32,INT8,INT8_SIGMA1,DNN_FP32,DNN_INT8 --limit 16 "
        "--mc 10 --batch 8 --seconds 0.5",
        18.5,
        races=True,
    ),
    Step(
        "bench passes resnet50 --formats INT8,DNN_INT8,INT8_SIGMA1,BF16,FP32 --batch 1,8,32 "
        "--seconds 0.5",
        16.5,
        races=True,
    ),
    # Peers on these two networks are in `peers`.
    Step("bench passes resnet20 --batch 1,128 --peers none --seconds 0.5", 2),
    Step("bench passes lenet5 --batch 1,128 --peers none --seconds 0.5", 1.5),
    Step("bench sampler --threads 1 --seconds 1", 1),
    Step("bench sampler --seconds 1", 1),
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
    parser.add_argument(
        "--list", action="store_true", help="Print the commands and their minutes; run nothing."
    )
    asked = parser.parse_args()
    steps = (*STEPS, *ONCE)
    commands = [_words(step, asked.environments) for step in steps]
    if asked.list:
        for words, step in zip(commands, steps, strict=True):
            print(f"{shlex.join(['sigmabench', *words])}  # {step.minutes:g} min")
        print(f"# {left(steps):g} minutes on two cores if none is stored")
        return 0
    try:
        failed = _measured(steps, commands)
    except KeyboardInterrupt:
        print("\nStopped. What was finished is stored: the same command goes on.", file=sys.stderr)
        return 130
    for shown in failed:
        print(f"Failed, for the reason that it gave: {shown}", file=sys.stderr)
    return len(failed)


def left(steps: Sequence[Step]) -> float:
    """Minutes that so many steps take if nothing of them is stored."""
    return sum(step.minutes for step in steps)


def _measured(steps: Sequence[Step], commands: Sequence[list[str]]) -> list[str]:
    """Run everything, and show it; the commands that failed.

    Raises:
        KeyboardInterrupt: as it was told, once the command that ran has ended.
    """
    count = len(commands)
    failed: list[str] = []
    print(f"{count} commands, about {left(steps):g} minutes on two cores if none is stored.")
    for number, (words, step) in enumerate(zip(commands, steps, strict=True)):
        shown = shlex.join(["sigmabench", *words])
        print(
            f"\n{number + 1} of {count}, about {step.minutes:g} min, at most about "
            f"{left(steps[number:]):g} min left in all: {shown}",
            flush=True,
        )
        if _run(str(SIGMABENCH), *words):
            failed.append(shown)
    if _run(str(SIGMABENCH), "pack", "--results", "results"):
        failed.append("sigmabench pack --results results")
    # As results/render.sh does.
    shows = (["-m", "results.drawn"], ["-m", "results.again"], ["results/pages"])
    failed += [shlex.join(["python", *words]) for words in shows if _run(sys.executable, *words)]
    return failed


def _words(step: Step, environments: str) -> list[str]:
    repeated = ["--processes", "3"] if step in STEPS else []
    races = ["--environments", environments] if step.races else []
    return [*step.command.split(), *repeated, *races]


def _run(*words: str) -> int:
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()  # it was told, too, and ends what it is storing
        raise


if __name__ == "__main__":
    sys.exit(main())
