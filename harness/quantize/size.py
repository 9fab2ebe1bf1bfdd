"""How large an artefact is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Bytes of the artefact on disk.

    Attributes:
        file_bytes: the file.
        weight_bytes: packed μ and σ of all weights.
        scale_bytes: weight scales and σ grids.
        bias_bytes: biases.
        graph_bytes: graph and activation scales.
        header_bytes: the rest of the file's header.
        weights: number of weights.
        ratio_weights: closed form: 64 bits over this format's bits per weight.
        ratio_file: FP32 artefact's file over this one; None where no FP32 artefact was made.
        constant_bytes: parameters of operations that stay float.
    """

    file_bytes: int
    weight_bytes: int
    scale_bytes: int
    bias_bytes: int
    graph_bytes: int
    header_bytes: int
    weights: int
    ratio_weights: float
    ratio_file: float | None
    constant_bytes: int = 0
