"""bayesian-torch's MC pass: a fresh draw in every call; see `serve.py`.

Layers become Bayesian by `dnn_to_bnn` (reparameterization, MOPED with δ = 0.05). INT8 goes the way
the library offers: `prepare`, a calibration run and `convert`. Its `prepare` builds ResNet-50
whatever it is given, so other networks have no INT8 figure.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from bayesian_torch.ao.quantization.quantize import convert, prepare
from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn
from serve import Form, Job, RefusedError, serve
from torch import Tensor, nn

PRIOR = {
    "prior_mu": 0.0,
    "prior_sigma": 1.0,
    "posterior_mu_init": 0.0,
    "posterior_rho_init": -3.0,
    "type": "Reparameterization",
    "moped_enable": True,
    "moped_delta": 0.05,
}
CALIBRATION_IMAGES = 8


def build(job: Job, module: nn.Module, images: list[Tensor]) -> list[Form]:
    """The MC pass on contiguous images, which is what the library's users run."""
    dnn_to_bnn(module, PRIOR)
    if job.format == "INT8":
        module = _int8(job, module, images[0])
    return [Form("contiguous", module, images)]


def _int8(job: Job, module: nn.Module, images: Tensor) -> nn.Module:
    if not job.source.endswith(":resnet50"):
        raise RefusedError("its prepare() quantizes ResNet-50 alone, whatever it is given")
    prepared = prepare(nn.DataParallel(module))
    prepared(images[:CALIBRATION_IMAGES])
    converted: nn.Module = convert(prepared)
    return converted


def versions() -> dict[str, str]:
    """Of what computes."""
    return {name: version(name) for name in ("torch", "torchvision", "bayesian-torch")}


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    serve(build, versions)
