"""The `float` backend's compiled program: FP32 and BF16 on oneDNN, weights drawn where its kernels
read them.

It runs wherever it can, whatever the batch: its draws are numbered by the tensors' shapes, those of
`stack` by their storage, so that results would depend on what is faster where.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import native
from ..core.errors import UserError
from ..native import noise_source
from ..quantize.artefact import Artefact
from ..quantize.graph import Conv
from ..quantize.need import compiled
from .base import check_threads
from .native import NativePredictor, assemble

# As PyTorch names them, from narrow to wide.
_ISAS = ("default", "avx2", "avx512")


def build(artefact: Artefact, threads: int, isa: str = "auto", team: int = 0) -> Any:
    """The compiled program of an artefact.

    Args:
        artefact: in a float format.
        threads: how many cores a call may use.
        isa: the sampler's path, `portable`, `avx2`, `avx512`, `avx512_vbmi`, or the best one
            here (`auto`).
        team: threads that work on each pass together, see `native.build`.

    Raises:
        native.NativeUnavailableError: there is no extension here.
        ValueError: the network is inconsistent, or the CPU lacks what was asked for.
    """
    return assemble(
        native.load().Builder(artefact.format.arithmetic, artefact.first_layer),
        artefact,
        _add_conv,
        engine="onednn",
        isa=isa,
        threads=threads,
        team=team,
    )


def _add_conv(builder: Any, artefact: Artefact, conv: Conv, settings: dict[str, Any]) -> None:
    layer = artefact.layers[conv.name]
    builder.normal_conv(
        **settings,
        mean=np.ascontiguousarray(layer.mean, dtype=np.float32),
        std=np.ascontiguousarray(layer.real_std()) if artefact.sampled(conv) else None,
        bias=layer.bias,
        bias_std=layer.bias_std if layer.bias_std.any() else None,
        ceiling=conv.ceiling,
    )


class ProgramPredictor(NativePredictor):
    """See `Predictor`. `noise` says whose normal numbers are drawn."""

    noise = "normal"
    width = 4

    @property
    def kernels(self) -> dict[str, str]:
        """See `NativePredictor.kernels`; and what draws the normals."""
        drawn = f"{self.noise} {self.program.sampler}"
        return {layer: f"{kernel}, {drawn}" for layer, kernel in super().kernels.items()}

    @property
    def isa(self) -> str:
        """The widest instruction set among `kernels`, as PyTorch names it."""
        names = super().kernels.values()
        return max((i for i in _ISAS if any(i in name for name in names)), key=_ISAS.index)

    def sample(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:  # type: ignore[override]
        """The weights of pass `mc` as the layer's kernel reads them, float32 [O, I, KH, KW]."""
        weights: NDArray[np.float32] = self.program.sample(layer, seed, mc)
        return weights


def load_program(artefact: Artefact, threads: int, team: int = 0) -> ProgramPredictor | None:
    """A predictor, or None where nothing is compiled, this CPU has no vector instructions to draw
    with, the runtime no numbers for so large a tensor or no float kernel for a function, or oneDNN
    no optimized kernel for a layer.

    Raises:
        UserError: no program takes so many threads or such teams, or the system has not as many.
    """
    if noise_source() != "normal":
        return None
    check_threads(threads, team)
    compiled(artefact.graph, ProgramPredictor.width, threads).check_load(artefact)
    try:
        program = build(artefact, threads, team=team)
    except ValueError:
        return None
    except RuntimeError as reason:
        raise UserError(
            f"The float backend cannot start: {reason}; use fewer --threads."
        ) from reason
    try:
        program.describe(1)
    except (ValueError, RuntimeError):
        return None
    return ProgramPredictor(program, artefact.graph, threads)
