"""Intel Extension for PyTorch, traced and frozen; see `serve.py`.

The deterministic network: INT8 is its static quantization with the default mapping, which oneDNN's
graph compiler takes over; BF16 and FP32 go through `ipex.optimize`. An MC pass is the FP32 network
whose trace draws the weights. Both memory formats are tried and the faster is kept. What
calibration has found is kept for the other format and for later processes, as the library does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

import intel_extension_for_pytorch as ipex
import torch
from draws import Drawn, Probe
from intel_extension_for_pytorch.quantization import convert, prepare
from network import load_posterior
from serve import Form, Job, RefusedError, serve, whole
from torch import Tensor, nn

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def build(job: Job, module: nn.Module, images: list[Tensor]) -> list[Form]:
    """A traced and frozen network for each memory format of its input."""
    if job.format == "INT8":
        raise RefusedError(
            "its INT8 graphs hold constant weights; drawn ones would be quantized and dequantized "
            "in every pass and multiplied in float32"
        )
    wanted = {name: layout for name, layout in FORMATS.items() if job.wants(name)}
    if job.format == "FP32":
        drawn = Drawn(module, load_posterior(module, job.data)).eval()
        return _drawn(drawn, images[0], wanted)
    forms = []
    for name, layout in wanted.items():
        example = images[0].contiguous(memory_format=layout)
        if job.format == "DNN_INT8":
            network = _int8(module, example, job, images)
        else:
            network = _float(module, example, layout, job.format == "DNN_BF16")
        call = _Float32(network) if job.format == "DNN_BF16" else network
        forms.append(Form(name, call, _saver(network), layout))
    return forms


def _drawn(drawn: Drawn, example: Tensor, wanted: Mapping[str, torch.memory_format]) -> list[Form]:
    forms = []
    for name, layout in wanted.items():
        images = example.contiguous(memory_format=layout)
        call, probe = _frozen(drawn, images), _frozen(Probe(drawn).eval(), images[:1])

        def draw(
            probe: Callable[[Tensor], tuple[Tensor, ...]] = probe, one: Tensor = images[:1]
        ) -> dict[str, Tensor]:
            return dict(zip(drawn.draws, probe(one)[1:], strict=True))

        forms.append(Form(name, call, _saver(call), layout, draw))
    return forms


def _int8(module: nn.Module, example: Tensor, job: Job, images: Sequence[Tensor]) -> nn.Module:
    mapping = ipex.quantization.default_static_qconfig_mapping
    observed = prepare(module, mapping, example_inputs=example, inplace=False)
    summary = job.made("ipex-int8.json")
    if summary and summary.exists():
        observed.load_qconf_summary(qconf_summary=str(summary))
    else:
        for batch in job.calibration(images):
            observed(batch)
        if summary:
            with whole(summary) as part:
                observed.save_qconf_summary(qconf_summary=str(part))
    return _frozen(convert(observed), example)


def _float(
    module: nn.Module, example: Tensor, layout: torch.memory_format, bfloat16: bool
) -> nn.Module:
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    laid_out = module.to(memory_format=layout)
    optimized = ipex.optimize(laid_out, dtype=dtype, inplace=False, sample_input=example)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        return _frozen(optimized, example)


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


def _saver(call: nn.Module) -> Callable[[io.BytesIO], None]:
    return lambda file: torch.jit.save(call, file)


def versions() -> dict[str, str]:
    """Of what computes."""
    names = ("torch", "torchvision", "timm", "intel-extension-for-pytorch")
    return {name: version(name) for name in names}


if __name__ == "__main__":
    serve(build, versions)
