"""The `float` backend's compiled program: FP32 and BF16 on oneDNN, weights drawn where its kernels
read them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import native
from ..quantize import noise
from ..quantize.artefact import Artefact
from ..quantize.graph import Conv
from .native import add_pool


def build(artefact: Artefact, threads: int, isa: str = "auto") -> Any:
    """The compiled program of an artefact.

    Args:
        artefact: in a float format.
        threads: how many cores a call may use.
        isa: the sampler's path, `portable`, `avx2`, `avx512_vbmi`, or the best one here (`auto`).

    Raises:
        native.NativeUnavailableError: there is no extension here.
        ValueError: the network is inconsistent, or the CPU lacks what was asked for.
    """
    builder = native.load().Builder(artefact.format.arithmetic)
    graph = artefact.graph
    ids = {
        name: builder.activation(name, list(a.shape), 0.0, True)
        for name, a in graph.activations.items()
    }
    for node in graph.nodes:
        if isinstance(node, Conv):
            _add_conv(builder, artefact, node, ids)
        else:
            add_pool(builder, node, ids)
    threshold, alias = noise.alias_tables()
    return builder.build(
        input=ids[graph.input],
        output=ids[graph.output],
        threshold=threshold,
        alias=alias,
        engine="onednn",
        isa=isa,
        threads=threads,
    )


def _add_conv(builder: Any, artefact: Artefact, conv: Conv, ids: dict[str, int]) -> None:
    layer = artefact.layers[conv.name]
    sampled = layer.std is not None
    builder.normal_conv(
        input=ids[conv.input],
        output=ids[conv.name],
        residual=-1 if conv.residual is None else ids[conv.residual],
        shape=list(conv.shape),
        stride=list(conv.stride),
        padding=list(conv.padding),
        dilation=list(conv.dilation),
        groups=conv.groups,
        relu=conv.relu,
        mean=np.ascontiguousarray(layer.mean, dtype=np.float32),
        std=np.ascontiguousarray(layer.std) if sampled else None,
        bias=layer.bias,
        bias_std=layer.bias_std if layer.bias_std.any() else None,
    )
