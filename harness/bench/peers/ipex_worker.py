"""Intel Extension for PyTorch's deterministic network, traced and frozen; see `serve.py`.

INT8 is its static quantization with the default mapping, which oneDNN's graph compiler takes over;
BF16 and FP32 go through `ipex.optimize`. Both memory formats are tried and the faster is kept.
"""

from __future__ import annotations

from importlib.metadata import version

import intel_extension_for_pytorch as ipex
import torch
from intel_extension_for_pytorch.quantization import convert, prepare
from serve import Form, Job, serve
from torch import Tensor, nn

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def build(job: Job, module: nn.Module, images: list[Tensor]) -> list[Form]:
    """A traced and frozen network for each memory format of its input."""
    forms = []
    for name, layout in FORMATS.items():
        laid_out = [batch.contiguous(memory_format=layout) for batch in images]
        if job.format == "INT8":
            call = _int8(module, laid_out[0])
        else:
            call = _float(module, laid_out[0], layout, job.format == "BF16")
        forms.append(Form(name, call, laid_out))
    return forms


def _int8(module: nn.Module, example: Tensor) -> nn.Module:
    mapping = ipex.quantization.default_static_qconfig_mapping
    observed = prepare(module, mapping, example_inputs=example, inplace=False)
    observed(example)
    return _frozen(convert(observed), example)


def _float(
    module: nn.Module, example: Tensor, layout: torch.memory_format, bfloat16: bool
) -> nn.Module:
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    laid_out = module.to(memory_format=layout)
    optimized = ipex.optimize(laid_out, dtype=dtype, inplace=False, sample_input=example)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        traced = _frozen(optimized, example)
    return _Float32(traced) if bfloat16 else traced


class _Float32(nn.Module):
    """Logits as float32, like everyone's."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits.float()


def _frozen(module: nn.Module, example: Tensor) -> nn.Module:
    frozen: nn.Module = torch.jit.freeze(torch.jit.trace(module, example, check_trace=False))
    for _ in range(2):  # the first calls compile
        frozen(example)
    return frozen


def versions() -> dict[str, str]:
    """Of what computes."""
    names = ("torch", "torchvision", "intel-extension-for-pytorch")
    return {name: version(name) for name in names}


if __name__ == "__main__":
    serve(build, versions)
