"""One of several instances of a model side by side: a process that loads it and answers queries.

`python -m sigmabench.harness.race.instance_process`: one JSON object a line in, one out. It is
pinned before it starts, so that all memory it takes lies near its cores.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..backends.base import BACKENDS
from ..core.errors import UserError
from ..quantize.artefact import load

if TYPE_CHECKING:
    from ..backends.base import Predictor

Query = Callable[[int], object]


def inside(starts: Iterable[int], ends: Iterable[int], begin: int, end: int) -> float:
    """How many queries a window holds, one that reaches over an end of it by its part inside.

    Args:
        starts: when each query began, ns.
        ends: when it ended, later.
        begin: of the window, ns.
        end: of the window, ns.
    """
    return sum(
        max(0, min(stop, end) - max(start, begin)) / (stop - start)
        for start, stop in zip(starts, ends, strict=True)
    )


def answer(query: Query, begin: int, end: int) -> dict[str, Any]:
    """Queries back to back from now to the end of a window.

    Args:
        query: called with 0, 1, 2, ….
        begin: of the window, ns of the monotonic clock, which all processes share.
        end: of the window, ns.

    Returns:
        `queries`: how many the window holds; `latency_ns` of those that it holds in part at least.
    """
    starts: list[int] = []
    ends: list[int] = []
    gc.disable()
    try:
        now = time.monotonic_ns()
        while now < end:
            query(len(starts))
            starts.append(now)
            now = time.monotonic_ns()
            ends.append(max(now, starts[-1] + 1))
    finally:
        gc.enable()
    latency = [stop - start for start, stop in zip(starts, ends, strict=True) if stop > begin]
    return {"queries": inside(starts, ends, begin, end), "latency_ns": latency}


class Instance:
    """A loaded model.

    Args:
        job: `artefact` and `images` (files), `backend`, `threads`, `team`, `mc`, `seed`.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        torch.set_num_threads(job["threads"])
        images = np.load(job["images"], allow_pickle=False)
        self._images: list[Tensor] = [torch.from_numpy(one) for one in images]
        self._predictor: Predictor = BACKENDS.get(job["backend"]).load(
            load(Path(job["artefact"])), job["threads"], job["team"]
        )
        self._mc, self._seed, self._asked = job["mc"], job["seed"], 0
        for _ in range(3):  # plans are made, and teams chosen, in the first
            self(0)
        gc.collect()  # now, because it takes longer than instances wait for one another

    @property
    def isa(self) -> str:
        """The widest instruction set that it dispatches to."""
        return self._predictor.isa

    def __call__(self, index: int) -> None:
        """A query: T passes on one batch, with a fresh seed."""
        self._asked += 1
        images = self._images[index % len(self._images)]
        self._predictor.logits(images, self._seed + self._asked, range(self._mc))


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def main() -> None:
    """Load once, then answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the study, which ends this
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    instance: Instance | None = None
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            if "load" in asked:
                instance = Instance(asked["load"])
                told: dict[str, Any] = {"isa": instance.isa, "cores": _cores()}
            else:
                assert instance is not None
                told = answer(instance, *asked["window"])
        except UserError as reason:
            told = {"error": str(reason).rstrip(".")}
        print(json.dumps(told), file=out, flush=True)


if __name__ == "__main__":
    main()
