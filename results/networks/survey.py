"""Which published networks run: each in a process of its own, results kept as they come.

    python results/networks/survey.py [NAME ...] [--again VERDICT]

Goes on where it stopped; names restrict it, `--again refused` does those once more. What is
surveyed is in `list.json` (`listed.py`), what came of it in `networks.json`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import time
import warnings
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timm  # noqa: F401 - imported once, before the children
import torch
import torchvision  # noqa: F401
from measure import measured

from sigmabench.harness.machine.describe import fingerprint

HERE = Path(__file__).parent
PROCESSOR_SECONDS = 300
WALL_SECONDS = 1800
MEMORY = 10 << 30
BEYOND = f"beyond {PROCESSOR_SECONDS} s of a processor core or {MEMORY >> 30} GiB of memory"


def child(name: str, pipe: Connection) -> None:
    """In a process of its own: limits, then the network."""
    warnings.filterwarnings("ignore")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    seconds = int(time.process_time()) + PROCESSOR_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        pipe.send(measured(name))
    except Exception as reason:
        text = f"{type(reason).__name__}: {reason}".splitlines()[0]
        pipe.send({"verdict": "failed", "reason": BEYOND if "allocate memory" in text else text})


def surveyed(name: str) -> dict[str, Any]:
    """What a child says of a network, or how it ended."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    process = fork.Process(target=child, args=(name, there))
    process.start()
    there.close()
    try:
        found = here.recv() if here.poll(WALL_SECONDS) else {}
    except EOFError:
        found = {}
    process.terminate()
    process.join()
    return found or {"verdict": "failed", "reason": BEYOND}


def keep(results: dict[str, Any], path: Path) -> None:
    """Written whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    os.replace(part, path)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks; all of them by default")
    parser.add_argument("--again", metavar="VERDICT", help="measure those anew that came to this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = HERE / "networks.json"
    results = json.loads(path.read_text()) if path.exists() else {"networks": {}}
    results["limits"] = {"seconds": PROCESSOR_SECONDS, "gib": MEMORY >> 30}
    results["versions"] = {name: version(name) for name in ("torch", "torchvision", "timm")}
    commit = fingerprint().commit
    for name in options.names or json.loads((HERE / "list.json").read_text()):
        before = results["networks"].get(name, {}).get("verdict")
        if before is not None and before != options.again:
            continue
        found = results["networks"][name] = surveyed(name) | {"commit": commit}
        keep(results, path)
        print(f"{name}: {found['verdict']} {found.get('reason', '')}", flush=True)


if __name__ == "__main__":
    main()
