"""PyTorch's own compiler on x86; see `serve.py`.

The deterministic network is compiled with its weights frozen: FP32 as it is, BF16 under autocast,
INT8 by torchao's PT2E quantization with the X86InductorQuantizer and its default configuration. An
MC pass is the FP32 network compiled together with the draws of its weights. The quantized network
is kept for later processes, as its users would save it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from importlib.metadata import version

import torch
from draws import Drawn, Probe
from network import load_posterior
from serve import Form, Job, RefusedError, serve, whole
from torch import Tensor, nn
from torch._inductor import config as inductor
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

Save = Callable[[io.BytesIO], None]


def build(job: Job, module: nn.Module, images: list[Tensor]) -> list[Form]:
    """The compiled network on contiguous images; the compiler chooses layouts inside."""
    if job.format == "INT8":
        raise RefusedError("its INT8 kernels take constant weights, packed when they are compiled")
    if job.format == "FP32":
        return [_drawn(Drawn(module, load_posterior(module, job.data)).eval(), images[0][:1])]
    inductor.freezing = True
    if job.format == "DNN_INT8":
        converted = _quantized(module, job, images)
        return [Form("compiled", _compiled(converted), _exporter(converted, images[0]))]
    compiled = _compiled(module)
    if job.format == "DNN_BF16":
        return [Form("compiled", lambda x: _bfloat16(compiled, x), _saver(module))]
    return [Form("compiled", compiled, _saver(module))]


def _compiled(module: nn.Module) -> Callable[[Tensor], Tensor]:
    found: Callable[[Tensor], Tensor] = torch.compile(module, dynamic=False)
    return found


def _bfloat16(compiled: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return compiled(x).float()


def _quantized(module: nn.Module, job: Job, images: Sequence[Tensor]) -> nn.Module:
    kept, example = job.made("inductor-int8.pt2"), images[0]
    if kept and kept.exists():
        return torch.export.load(kept).module()
    quantizer = X86InductorQuantizer()
    quantizer.set_global(get_default_x86_inductor_quantization_config())
    observed = prepare_pt2e(torch.export.export(module, (example,)).module(), quantizer)
    for batch in job.calibration(images):
        observed(batch)
    converted: torch.fx.GraphModule = convert_pt2e(observed)
    read = {node.target for node in converted.graph.nodes if node.op == "get_attr"}
    for name, _ in list(converted.named_parameters()):
        if name not in read:  # float weights that int8 ones stand for now; they would be saved too
            layer, _, own = name.rpartition(".")
            delattr(converted.get_submodule(layer), own)
    if kept:
        with whole(kept) as part:
            torch.export.save(torch.export.export(converted, (example,)), part)
    return converted


def _drawn(drawn: Drawn, one: Tensor) -> Form:
    probe = torch.compile(Probe(drawn), dynamic=False)

    def draw() -> dict[str, Tensor]:
        return dict(zip(drawn.draws, probe(one)[1:], strict=True))

    return Form("compiled", _compiled(drawn), _saver(drawn), draw=draw)


def _saver(module: nn.Module) -> Save:
    return lambda file: torch.save(module.state_dict(), file)


def _exporter(module: nn.Module, example: Tensor) -> Save:
    return lambda file: torch.export.save(torch.export.export(module, (example,)), file)


def versions() -> dict[str, str]:
    """Of what computes."""
    return {name: version(name) for name in ("torch", "torchvision", "timm", "torchao")}


if __name__ == "__main__":
    serve(build, versions)
