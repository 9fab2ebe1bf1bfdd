"""What an artefact's file is made of, in bytes."""

from __future__ import annotations

from .artefact_file import tensors_of, to_bytes
from .artefact_model import Artefact
from .graph import Graph
from .size import Size


def size(artefact: Artefact, fp32: Artefact | None = None) -> Size:
    """Bytes on disk, itemised, beside the closed form for the weights (64 over their bits).

    Codebooks and the steps of 4-bit μ count among the scales.

    Args:
        artefact: the model.
        fp32: the same model in FP32, for the ratio of whole files.
    """
    from pydantic import TypeAdapter

    file_bytes = len(to_bytes(artefact))
    tensors = {name: array.nbytes for name, array in tensors_of(artefact).items()}
    if artefact.format.arithmetic == "bf16":
        tensors = {n: b // 2 if n in ("mean", "sigma") else b for n, b in tensors.items()}
    weight_bytes = tensors["mean"] + tensors.get("sigma", 0)
    scale_bytes = sum(tensors.get(name, 0) for name in ("scale", "codebook", "step"))
    bias_bytes = tensors["bias"]
    graph_bytes = len(TypeAdapter(Graph).dump_json(artefact.graph, exclude_defaults=True))
    constant_bytes = tensors.get("constant", 0) + tensors.get("index", 0)
    named = weight_bytes + scale_bytes + bias_bytes + constant_bytes + graph_bytes
    return Size(
        file_bytes=file_bytes,
        weight_bytes=weight_bytes,
        scale_bytes=scale_bytes,
        bias_bytes=bias_bytes,
        graph_bytes=graph_bytes,
        header_bytes=file_bytes - named,
        weights=artefact.weights,
        ratio_weights=64 / artefact.format.weight_bits,
        ratio_file=len(to_bytes(fp32)) / file_bytes if fp32 is not None else None,
        constant_bytes=constant_bytes,
    )
