"""bayesian-torch's MC pass: a fresh draw in every call; see `serve.py`.

Layers become Bayesian by `dnn_to_bnn` (reparameterization), and have the posterior that is handed
over, or MOPED's with δ = 0.05 in a synthetic network.

INT8 goes the way the library offers: `prepare`, calibration and `convert`. Its `prepare` builds a
ResNet-50 whatever it is given. "INT8 layers" takes the same steps without that: its layers are
prepared, calibrated and converted where they are. The layers hand on quantized tensors, so networks
with batch norm or sums between them still fail.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.metadata import version

import torch
from bayesian_torch.ao.quantization.quantize import convert, enable_prepare, prepare
from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn
from network import DELTA, tensors
from serve import Form, Job, RefusedError, serve
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.quantized import functional as quantized

PRIOR = {
    "prior_mu": 0.0,
    "prior_sigma": 1.0,
    "posterior_mu_init": 0.0,
    "posterior_rho_init": -3.0,
    "type": "Reparameterization",
    "moped_enable": True,
    "moped_delta": DELTA,
}


def build(job: Job, module: nn.Module, images: list[Tensor]) -> list[Form]:
    """The MC pass on contiguous images, which is what the library's users run."""
    dnn_to_bnn(module, PRIOR)
    if job.data:
        module.load_state_dict(tensors(job.data, "bayesian-torch"))
    module.eval()
    if job.format != "FP32":
        prepared = _prepared(module, whole=job.format == "INT8")
        for batch in job.calibration(images):
            prepared(batch)
        module = convert(prepared)

    def save(file: io.BytesIO) -> None:
        torch.save(module.state_dict(), file)

    return [Form("contiguous", module, save, draw=lambda: drawn(module, images[0][:1]))]


def _prepared(module: nn.Module, whole: bool) -> nn.Module:
    if whole:
        try:
            network: nn.Module = prepare(nn.DataParallel(module))
        except RuntimeError as reason:
            raise RefusedError(
                "its prepare() quantizes ResNet-50 alone, whatever it is given"
            ) from reason
        return network
    enable_prepare(module)
    module.qconfig = torch.quantization.get_default_qconfig("onednn")
    observed: nn.Module = torch.quantization.prepare(module)
    return observed


def drawn(module: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The weights of one pass, caught where its layers hand them to PyTorch's operators."""
    found: dict[str, Tensor] = {}
    running: list[str] = []

    def watching(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def watched(x: Tensor, weight: Tensor, *rest: object, **named: object) -> Tensor:
            if running:
                real = weight.dequantize() if weight.is_quantized else weight
                found[f"{running[-1]}.weight"] = real.clone()
            return compute(x, weight, *rest, **named)

        return watched

    hooks = []
    for name, layer in module.named_modules():
        if "Reparameterization" in type(layer).__name__:
            hooks.append(
                layer.register_forward_pre_hook(lambda *_, name=name: running.append(name))
            )
            hooks.append(layer.register_forward_hook(lambda *_: running.clear()))
    places = [(home, name) for home in (functional, quantized) for name in ("conv2d", "linear")]
    originals = [getattr(home, name) for home, name in places]
    try:
        for (home, name), original in zip(places, originals, strict=True):
            setattr(home, name, watching(original))
        module(images)
    finally:
        for (home, name), original in zip(places, originals, strict=True):
            setattr(home, name, original)
        for hook in hooks:
            hook.remove()
    return found


def versions() -> dict[str, str]:
    """Of what computes."""
    return {name: version(name) for name in ("torch", "torchvision", "timm", "bayesian-torch")}


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    serve(build, versions)
