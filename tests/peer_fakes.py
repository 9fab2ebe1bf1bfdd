"""A peer made of this Python and a few lines, and an environment for it."""

from __future__ import annotations

import sys
from pathlib import Path

from sigmabench.harness.peers import workers
from sigmabench.harness.peers.environment import Peer

WORKER = """
import os, sys, time
sys.path.insert(0, {serve!r})
import torch
from serve import Form, RefusedError, serve


def build(job, module, images):
    print("libraries talk")
    os.system("echo so do their children")
    calls = []

    def call(x):
        calls.append(1)
        if job.format == "CRASH" and len(calls) > 20:
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(7)
        if job.format == "HANG":
            time.sleep(600)
        return module(x) * (float("nan") if job.format == "NAN" else 1.0)

    def slow(x):
        time.sleep(0.01)
        return module(x)

    if job.format == "REFUSE":
        raise RefusedError("it would rather not")
    if job.format == "RAISE":
        raise ValueError("first line\\nsecond line")
    forms = [Form("slow", slow, images), Form("quick", call, images)]
    return forms[1:] if job.format == "CRASH" else forms


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    serve(build, lambda: {{"torch": torch.__version__}})
"""


def fake_peer(folder: Path, formats: tuple[str, ...] = ("GOOD",)) -> Peer:
    """A peer and its environment, below `folder`."""
    worker = folder / "worker.py"
    worker.write_text(WORKER.format(serve=str(Path(workers.__file__).parent)))
    python = folder / "fake" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return Peer("fake", "a fake", worker, {}, "", dict.fromkeys(formats, "DNN_FP32"))
