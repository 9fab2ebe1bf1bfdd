"""`native`: int8 on the CPU's matrix or vector units, weights sampled where its kernels read them.

The compiled part is `sigmabench.harness.native`; oneDNN does the convolutions where its int8 sums
are exact (VNNI or AMX), plain loops of our own elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import native
from ..core.errors import NotFiniteImageError, UserError
from ..data.given import Given
from ..machine.cores import give_back
from ..quantize import functions, noise
from ..quantize.artefact import Artefact
from ..quantize.graph import Conv, Graph, GroupNorm, Join, Pool
from ..quantize.need import compiled
from .base import Traffic, check_call, check_threads
from .divided import DividedPredictor

# From narrow to wide, as they occur in the names of oneDNN's kernels.
_ISAS = ("portable", "avx2_vnni", "avx512_core_vnni", "avx512_core_amx")


def build(
    artefact: Artefact, threads: int, engine: str = "auto", isa: str = "auto", team: int = 0
) -> Any:
    """The compiled program of an artefact.

    Args:
        artefact: in an int8 format.
        threads: how many cores a call may use.
        engine: of the convolutions: `onednn`, `portable`, or the better one here (`auto`).
        isa: the sampler's path, `portable`, `avx2`, `avx512`, `avx512_vbmi`, or the best one
            here (`auto`).
        team: threads that work on each pass together, a divisor of `threads`; 0 for what measures
            fastest at the batch and the number of passes asked for. No result depends on it.

    Raises:
        native.NativeUnavailableError: there is no extension here.
        ValueError: the network is inconsistent, or the CPU lacks what was asked for.
    """
    return assemble(
        native.load().Builder(first_layer=artefact.first_layer),
        artefact,
        _add_conv,
        engine=engine,
        isa=isa,
        threads=threads,
        team=team,
    )


#: Adds one layer to a builder: its numbers, beside the settings that `assemble` has made.
AddLayer = Callable[[Any, Artefact, Conv, dict[str, Any]], None]


def assemble(builder: Any, artefact: Artefact, add_layer: AddLayer, **choices: Any) -> Any:
    """Put a graph into a builder and build it, int8 or float.

    Args:
        builder: of the extension, empty.
        artefact: the model.
        add_layer: for each convolution.
        choices: for `Builder.build`: engine, isa, threads, team.
    """
    graph, quantized = artefact.graph, artefact.format.quantized
    ids = {
        name: builder.activation(
            name, list(a.shape), *((a.scale, a.signed) if quantized else (0.0, True))
        )
        for name, a in graph.activations.items()
    }
    for node in graph.nodes:
        if isinstance(node, Conv):
            add_layer(builder, artefact, node, _settings(node, ids))
        elif isinstance(node, Pool):
            _add_pool(builder, node, ids)
        elif isinstance(node, GroupNorm):
            builder.group_norm(ids[node.input], ids[node.name], node.groups, node.eps)
        else:
            _add_join(builder, artefact, node, ids)
    threshold, alias = noise.alias_tables()
    return builder.build(
        input=ids[graph.input],
        output=ids[graph.output],
        threshold=threshold,
        alias=alias,
        **choices,
    )


def _settings(conv: Conv, ids: dict[str, int]) -> dict[str, Any]:
    """What a layer is, apart from its numbers."""
    return {
        "input": ids[conv.input],
        "output": ids[conv.name],
        "residual": -1 if conv.residual is None else ids[conv.residual],
        "shape": list(conv.shape),
        "stride": list(conv.stride),
        "padding": list(conv.padding),
        "dilation": list(conv.dilation),
        "groups": conv.groups,
        "relu": conv.relu,
    }


def _add_conv(builder: Any, artefact: Artefact, conv: Conv, settings: dict[str, Any]) -> None:
    layer = artefact.layers[conv.name]
    builder.conv(
        **settings,
        mean=np.ascontiguousarray(layer.mean),
        weight_scale=layer.weight_scale,
        bias=layer.bias,
    )
    if layer.sigma_q is not None:
        builder.sigma(
            bits=layer.sigma_bits,
            sigma=np.ascontiguousarray(layer.sigma_q),
            multiplier=layer.multiplier,
            offset=layer.offset,
            shift=layer.shift,
        )
    if layer.bias_std.any():
        builder.bias_step(noise.bias_step(layer.bias_std))


def _add_pool(builder: Any, pool: Pool, ids: dict[str, int]) -> None:
    builder.pool(
        input=ids[pool.input],
        output=ids[pool.name],
        maximum=pool.kind == "max",
        kernel=list(pool.kernel),
        stride=list(pool.stride),
        padding=list(pool.padding),
        dilation=list(pool.dilation),
        adaptive=pool.out is not None,
    )


def _add_join(builder: Any, artefact: Artefact, join: Join, ids: dict[str, int]) -> None:
    what = {"inputs": [ids[name] for name in join.inputs], "output": ids[join.name]}
    if artefact.format.quantized:
        builder.join(**what, tables=functions.tables(join, artefact.graph))
        return
    bounds = functions.bounds(join)
    if bounds is None:
        raise ValueError(f"{join.name}: {join.function} has no compiled float kernel")
    builder.clipped_join(**what, low=bounds[0], high=bounds[1])


def started(backend: str, make: Callable[[], Any]) -> Any:
    """The program that `make` builds for a backend.

    Raises:
        UserError: the network cannot run, or the system has not as many threads.
    """
    give_back()  # what threads are started inherit the cores of this one
    try:
        return make()
    except ValueError as reason:
        raise UserError(
            f"The {backend} backend cannot run this network: {reason}; quantize the model again, "
            "or use --backend reference."
        ) from reason
    except RuntimeError as reason:
        raise UserError(
            f"The {backend} backend cannot start: {reason}; use fewer --threads."
        ) from reason


class NativePredictor:
    """See `Predictor`. `program` is the compiled program, and `width` the bytes of an activation's
    number at most."""

    width = 1

    def __init__(self, program: Any, graph: Graph, threads: int) -> None:
        self.program = program
        self.threads = threads
        self.need = compiled(graph, self.width, threads)
        self._graph = graph

    @property
    def kernels(self) -> dict[str, str]:
        """What computed each layer in the latest call of `logits`, or would compute one image if
        there was none: oneDNN's name of the kernel, or ours, how the weights get into its layout,
        and how many threads shared a pass."""
        threads = f"{self.program.latest_team} a pass"
        return {
            layer["name"]: f"{layer['implementation']} {layer['path']}, {threads}"
            for layer in self.program.describe()
        }

    @property
    def isa(self) -> str:
        """The widest instruction set among `kernels`."""
        names = self.kernels.values()
        return max((isa for isa in _ISAS if any(isa in name for name in names)), key=_ISAS.index)

    @property
    def draws(self) -> int:
        """See `Predictor`; counted where the weights are drawn."""
        return int(self.program.draws)

    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """Float32 [len(passes), N, classes]; see `Predictor.logits`."""
        x = check_call(x, self._graph, seed, passes)
        self.need.check(len(x), len(passes))
        images = x.contiguous().numpy()
        try:
            out = self.program.logits(images, seed, passes.start, len(passes))
        except native.load().NotFiniteError as reason:
            raise NotFiniteImageError(int(str(reason))) from reason
        except ValueError as reason:
            raise UserError(f"The compiled program cannot compute this: {reason}.") from reason
        except MemoryError as reason:
            raise UserError(
                "There is not the memory for this batch and these passes; use fewer --threads or "
                "a smaller batch."
            ) from reason
        logits = torch.from_numpy(out)
        _, height, width = self._graph.activations[self._graph.output].shape
        if height * width == 1:
            return logits
        # A map comes as the kernels write it, channels last.
        return logits.unflatten(2, (height * width, -1)).transpose(2, 3).flatten(2)

    def sample(self, layer: str, seed: int, mc: int) -> NDArray[np.int8]:
        """w_q as the layer's kernel reads it in pass `mc`, int8 [O, I, KH, KW]: from the layout of
        the kernel that `kernels` names."""
        weights: NDArray[np.int8] = self.program.sample(layer, seed, mc)
        return weights

    def sample_bias(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The bias of pass `mc`, float32 [O]."""
        bias: NDArray[np.float32] = self.program.sample_bias(layer, seed, mc)
        return bias

    def traffic(self, batch: int) -> Traffic:
        """See `Predictor.traffic`; σ as it is packed in memory, padding of blocks included."""
        return Traffic(**self.program.traffic(batch))


def load(artefact: Artefact, threads: int, team: int) -> NativePredictor | DividedPredictor:
    """See `Backend.load`; the extension is there, and draws what the artefact wants."""
    check_threads(threads, team)
    if artefact.graph.steps:
        return DividedPredictor(artefact, lambda part: load(part, threads, team))
    compiled(artefact.graph, NativePredictor.width, threads).check_load(artefact)
    program = started("native", lambda: build(artefact, threads, team=team))
    return NativePredictor(program, artefact.graph, threads)
