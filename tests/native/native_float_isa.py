"""What test_native_float_isa.py asks of one instruction set, run as a program because oneDNN reads
ONEDNN_MAX_CPU_ISA once. Prints JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from test_native_float import CONVOLUTIONS, FORMATS, NETS, artefact, images

from sigmabench.harness import native
from sigmabench.harness.backends.float_program import build
from sigmabench.harness.quantize.graph import Graph


def told_of(graph: Graph, format: str) -> dict[str, Any] | None:
    """Weights, logits and kernels; None where a layer has no optimized kernel."""
    program = build(artefact(graph, format), 1)
    try:
        logits = program.logits(images(graph, 3), 2, 0, 2)
    except ValueError:
        return None
    text = hashlib.sha256()
    for conv in graph.convs:
        text.update(program.sample(conv.name, 2, 1).tobytes())
    return {
        "weights": text.hexdigest(),
        "logits": logits.ravel().tolist(),
        "paths": sorted({layer["path"] for layer in program.describe(3)}),
    }


def main() -> None:
    networks = {
        f"{name} {format}": told_of(graph, format)
        for name, graph in {**CONVOLUTIONS, **NETS}.items()
        for format in FORMATS
    }
    print(json.dumps({"isa": native.load().onednn_isa(), "networks": networks}))


if __name__ == "__main__":
    main()
