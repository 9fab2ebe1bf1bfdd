"""Structured hostile artefacts against native code under AddressSanitizer and UBSan.

Header and tensors of small artefacts of every kind are changed, and the right hash is put in. Each
is refused in one sentence, or computed alike by native code and a reference: int8 by plain loops
bit for bit, by oneDNN and AMX but for ties of the rounding (`ties.py`), floats up to what rounding
makes of them (`bounds.py`).
"""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from .figures import ROOT, Figures
from .sanitized import built, environment

INPUTS, STEP = 20_000, 250
#: What one artefact may take; more is refused, as on a small machine.
_BYTES = 64 << 20
#: Of a processor's time for a step; whatever else the machine does, it is waited for.
_SECONDS = 600
ROW = "hostile artefacts"
#: What may come of one that a figure counts, and kernels that took part.
COUNTED = ("refused", "tie", "overflows", "own_amx", "onednn_amx")
_WORKER = Path(__file__).with_name("artefact_worker.py")


def run(figures: Figures, given: argparse.Namespace) -> None:
    """See the module."""
    place = built(ROOT / ".campaign" / "sanitized")
    surroundings = {**environment(place), "SIGMABENCH_MEMORY": str(_BYTES)}
    while (done := figures.count(ROW)) < (given.count or INPUTS):
        count, told, failures = _step(done, done + STEP, surroundings)
        figures.add(ROW, failures, count=count, **told)
        print(ROW, done + count, *failures, sep="\n  ", flush=True)
        if not count:
            raise SystemExit("The worker does not begin; run artefact_worker.py by hand.")


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 1))


def _step(
    first: int, last: int, surroundings: dict[str, str]
) -> tuple[int, dict[str, int], list[str]]:
    """How many were tried, how many were what is `COUNTED`, and what went wrong; it ends at the
    first one that ends the process."""
    command = [sys.executable, str(_WORKER), str(first), str(last)]
    done = subprocess.run(
        command, env=surroundings, capture_output=True, text=True, cwd=ROOT, preexec_fn=_limit
    )
    told, errors, status = done.stdout, done.stderr, done.returncode
    if status == -signal.SIGXCPU:
        errors = f"{_SECONDS} s"
    lines = [line.split(" ", 1) for line in told.splitlines()]
    begun = [number for number, what in lines if what == "begun"]
    outcomes = [(number, what) for number, what in lines if what not in ("begun", "alike")]
    failures = [f"{n}: {what}" for n, what in outcomes if what not in COUNTED]
    if status and begun:
        reasons = [
            line for line in errors.splitlines() if "runtime error" in line or "SUMMARY" in line
        ]
        failures.append(f"{begun[-1]}: {(reasons or [errors[-300:]])[0]}")
    elif status:
        print(errors[-2000:], file=sys.stderr)
    seen = Counter(what for _, what in outcomes)
    return len(begun), {name: seen[name] for name in COUNTED}, failures
