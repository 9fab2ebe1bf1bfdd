"""A peer made of this Python and a few lines, and an environment for it."""

from __future__ import annotations

import sys
from pathlib import Path

from sigmabench.harness.peers import workers
from sigmabench.harness.peers.environment import Peer

DRAWING = {
    "DRAWN": "FP32", "SHRUNK": "INT8", "BLIND": "INT8", "FROZEN": "FP32", "OTHER": "FP32"
}  # fmt: skip
WORKER = """
import os, sys, time
sys.path.insert(0, {serve!r})
import torch
from draws import Drawn
from network import load_posterior
from serve import Form, RefusedError, serve, whole


def build(job, module, images):
    print("libraries talk")
    os.system("echo so do their children")
    calls = []
    with open(__file__ + ".built", "a") as log:
        print(job.format, job.form or "any", file=log)
    if job.format == "KEEPS":
        kept = job.made("kept")
        if not kept.exists():
            with whole(kept) as part, open(__file__ + ".built", "a") as log:
                part.write_text("made")
                print("KEEPS it", file=log)

    def save(file):
        file.write(b"x" * 321)

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

    if job.format == "BESIDE":

        def together(batches):
            with open(__file__ + ".log", "a") as log:
                print(len(batches), file=log)
            return [module(x) for x in batches]

        details = {{"kernels": "made up"}}
        named = {{"together": together, "streams": 2, "details": details}}
        return [Form("both", lambda x: together([x])[0], save, **named)]
    if job.format == "REFUSE":
        raise RefusedError("it would rather not")
    if job.format == "RAISE":
        raise ValueError("first line\\nsecond line")
    if job.format in ("DRAWN", "SHRUNK", "BLIND", "FROZEN", "OTHER"):
        std = load_posterior(module, job.data)
        part = 0.1 if job.format == "SHRUNK" else 1.0
        drawn = Drawn(module, {{name: part * value for name, value in std.items()}})

        def draw():
            drawn(images[0])
            seen = {{name: one.last for name, one in drawn.draws.items()}}
            return dict(list(seen.items())[2:]) if job.format == "BLIND" else seen

        def frozen(x):  # what is timed and scored draws the same weights each time
            torch.manual_seed(0)
            return drawn(x)

        def other(x):  # decides every tenth image by the wrong class
            logits = drawn(x)
            logits[::10] = logits[::10].roll(1, 1)
            return logits

        called = {{"FROZEN": frozen, "OTHER": other}}.get(job.format, drawn)
        return [Form("drawn", called, save, draw=draw)]
    forms = [Form("slow", slow, save), Form("quick", call, save)]
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
    named = {name: DRAWING.get(name, "DNN_FP32") for name in formats}
    return Peer("fake", "a fake", worker, {}, (), named)
