"""What test_native_isa.py asks of one instruction set, run as a program because oneDNN reads
ONEDNN_MAX_CPU_ISA once. Prints JSON."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from native_nets import lenet, one_conv, residual_net
from test_native_layers import CASES, integers

from sigmabench.harness import native
from sigmabench.harness.backends.native import build
from sigmabench.harness.quantize.artefact import Artefact


def networks() -> dict[str, Artefact]:
    """Two whole networks, then every single layer on inputs of both signs."""
    found = {"lenet": lenet(4), "residual": residual_net(4)}
    for name, case in CASES.items():
        for signed in (False, True):
            found[f"{name} {'s8' if signed else 'u8'}"] = one_conv(**case, signed=signed)
    return found


def hashed(artefact: Artefact) -> str:
    """What must not depend on the instruction set: weights, and sums on the same inputs."""
    rng = np.random.default_rng(6)
    text = hashlib.sha256()
    program = build(artefact, 1)
    for conv in artefact.graph.convs:
        weights = program.sample(conv.name, 1, 2)
        x = integers(rng, 3, artefact.graph.activations[conv.input])
        text.update(weights.tobytes())
        text.update(program.accumulators(conv.name, x, weights).tobytes())
    return text.hexdigest()


def unequal_calls(artefact: Artefact, repeats: int) -> int:
    """Calls on three threads whose logits are not those of one thread, bit for bit."""
    shape = artefact.graph.activations[artefact.graph.input].shape
    x = np.random.default_rng(3).standard_normal((4, *shape)).astype(np.float32)
    expected = build(artefact, 1).logits(x, 5, 0, 6)
    program = build(artefact, 3)
    return sum((program.logits(x, 5, 0, 6) != expected).any() for _ in range(repeats))


def main() -> None:
    found = networks()
    paths = {layer["path"] for a in found.values() for layer in build(a, 1).describe(4)}
    reorders = {
        name: any(layer["path"] == "reorder" for layer in build(a, 1).describe(4))
        for name, a in found.items()
    }
    report = {
        "isa": native.load().onednn_isa(),
        "paths": sorted(paths),
        "hashes": {name: hashed(artefact) for name, artefact in found.items()},
        "unequal": {
            name: int(unequal_calls(a, 10 if reorders[name] else 2)) for name, a in found.items()
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
