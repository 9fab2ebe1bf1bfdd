"""The process that runs one loop of multiply–adds: no other instruction set has set its clock.

`python -m sigmabench.harness.studies.roofline.loop_process`, one JSON object in, one out.
"""

from __future__ import annotations

import json
import sys
from statistics import median
from typing import Any

from ... import native

CALL_SECONDS = 2e-3  # short, so that some calls are not interrupted
FIRST_STEPS = 1 << 12
MOST_STEPS = 1 << 24  # see peaks.hpp
LEAST_CALLS = 3


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run a loop on some numbers of threads.

    Args:
        job: `loop`, a name of the extension's; `threads`, a list; `seconds`, of each number.

    Returns:
        `rates`: of each number of threads the multiply–adds per second of the fastest call, and the
        clock in hertz, median over the calls. `error` alone, one sentence, where the loop's sums
        are not what its multiply–adds add up to.
    """
    extension = native.load_alone()
    step = {one["name"]: one["multiply_adds"] for one in extension.loops()}[job["loop"]]
    rates = []
    for threads in job["threads"]:
        found = extension.run_loop(job["loop"], threads, FIRST_STEPS)
        steps = int(FIRST_STEPS * CALL_SECONDS / max(found["seconds"], 1e-6))
        steps = min(max(steps, FIRST_STEPS), MOST_STEPS)
        calls: list[tuple[float, float]] = []
        spent = 0.0
        while spent < job["seconds"] or len(calls) < LEAST_CALLS:
            found = extension.run_loop(job["loop"], threads, steps)
            if found["multiply_adds"] != threads * steps * step:
                return {"error": f"the loop {job['loop']} did not compute what it should"}
            calls.append((found["multiply_adds"] / found["seconds"], found["hertz"]))
            spent += found["seconds"]
        rates.append([max(rate for rate, _ in calls), median(hertz for _, hertz in calls)])
    return {"rates": rates}


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
