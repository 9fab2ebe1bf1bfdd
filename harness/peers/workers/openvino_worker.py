"""OpenVINO on the CPU; see `serve.py`.

The deterministic network, converted and compiled for one batch size: FP32 with the precision hint
f32, BF16 with the hint bf16, INT8 by NNCF's post-training quantization, one calibration image at a
time. Of INT8 there is no hint, so that what is left of float runs as OpenVINO chooses. What was
executed is read back from the compiled network; one that runs in another precision is refused.

Each format runs in two modes. With one stream all cores share an inference; passes are called one
after the other, or wait in a queue, whichever is faster. With a stream per core each core has an
inference of its own, and passes wait in a queue.
"""

# ruff: noqa: E402

from __future__ import annotations

import io
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Conversion and quantization would else send usage data to Google Analytics, unasked.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import nncf
import openvino
import torch
from serve import Form, Job, RefusedError, serve, whole
from torch import Tensor, nn

PER_CORE = "(1 stream per core)"
IN_FLIGHT = 4  # inferences per stream, started and not ended: no stream waits for Python
HINTS = {"DNN_FP32": "f32", "DNN_BF16": "bf16"}
PRECISIONS = {"DNN_FP32": "f32", "DNN_BF16": "bf16", "DNN_INT8": "int8"}
MULTIPLYING = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
IDLE = ("Const", "Input", "Output", "Reshape")
MODEL = "model.xml"


def build(job: Job, module: nn.Module, images: list[Tensor]) -> list[Form]:
    """The compiled network on contiguous images; OpenVINO chooses layouts inside."""
    precision, _, mode = job.format.partition(" ")
    if mode == PER_CORE and job.threads == 1:
        raise RefusedError("on one core a stream per core is the same as 1 stream")
    streams = job.threads if mode == PER_CORE else 1
    make = _quantized if precision == "DNN_INT8" else _converted
    model = make(module, job, images)
    model.reshape([job.batch, *job.shape])
    wanted = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": job.threads}
    hint = {"INFERENCE_PRECISION_HINT": HINTS[precision]} if precision in HINTS else {}
    compiled = openvino.Core().compile_model(model, "CPU", {**wanted, **hint})
    for name, value in wanted.items():
        if (found := compiled.get_property(name)) != value:
            raise RefusedError(f"its {name} is {found}, not {value} as it was told")
    details = executed(compiled.get_runtime_model().get_ops(), PRECISIONS[precision])
    details |= {"streams": str(streams), "threads": str(job.threads)}
    queued = _queued(compiled, IN_FLIGHT * streams)
    forms = [
        Form(
            "queued",
            lambda x: queued([x])[0],
            _saver(model),
            together=queued,
            streams=streams,
            details={**details, "in_flight": str(IN_FLIGHT * streams)},
        )
    ]
    if streams == 1:
        forms.append(Form("in turn", _synchronous(compiled), _saver(model), details=details))
    return forms


def _converted(module: nn.Module, job: Job, images: Sequence[Tensor]) -> openvino.Model:
    return openvino.convert_model(module, example_input=images[0][:1], input=[(-1, *job.shape)])


def _quantized(module: nn.Module, job: Job, images: Sequence[Tensor]) -> openvino.Model:
    """The same for both modes and all processes: what the first has made of a trained network."""
    kept = job.made("openvino-int8")
    if kept and kept.exists():
        return openvino.Core().read_model(kept / MODEL)
    calibration = job.calibration(images, 1)
    model = nncf.quantize(
        _converted(module, job, images),
        nncf.Dataset(calibration, Tensor.numpy),
        subset_size=len(calibration),
    )
    if kept:
        with whole(kept) as part:
            part.mkdir()
            openvino.save_model(model, part / MODEL, compress_to_fp16=False)
    return model


def executed(operations: Iterable[Any], wanted: str) -> dict[str, str]:
    """What the compiled network computes with, for the record.

    Args:
        operations: of its runtime model.
        wanted: precision of convolutions and linear layers: `f32`, `bf16` or `int8`.

    Raises:
        RefusedError: most of these run in another.
    """
    multiplying, kernels, others = Counter[str](), Counter[str](), Counter[str]()
    for operation in operations:
        layer, kernel, type_ = (
            operation.get_rt_info()[name].astype(str)
            for name in ("layerType", "primitiveType", "runtimePrecision")
        )
        precision = "int8" if type_ in ("i8", "u8") else type_
        if layer in MULTIPLYING:
            multiplying[precision] += 1
            kernels[kernel] += 1
        elif layer not in IDLE:
            others[precision] += 1
    if 2 * multiplying[wanted] <= multiplying.total():
        raise RefusedError(
            f"asked for {wanted}, it runs its convolutions and linear layers in other precisions "
            f"({_counted(multiplying)}); this CPU may have no instructions for {wanted}"
        )
    return {
        "multiply_adds": _counted(multiplying),
        "kernels": "; ".join(f"{n} × {name}" for name, n in kernels.most_common()),
        "other_layers": _counted(others),
    }


def _counted(precisions: Counter[str]) -> str:
    return ", ".join(f"{count} in {name}" for name, count in precisions.most_common())


def _synchronous(compiled: openvino.CompiledModel) -> Callable[[Tensor], Tensor]:
    request = compiled.create_infer_request()

    def call(x: Tensor) -> Tensor:
        return torch.from_numpy(request.infer({0: x.numpy()}, share_inputs=True)[0])

    return call


def _queued(
    compiled: openvino.CompiledModel, in_flight: int
) -> Callable[[Sequence[Tensor]], list[Tensor]]:
    requests = [compiled.create_infer_request() for _ in range(in_flight)]

    def logits(place: int) -> Tensor:
        request = requests[place % in_flight]
        request.wait()
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    def call(batches: Sequence[Tensor]) -> list[Tensor]:
        found = []
        for place, x in enumerate(batches):
            if place >= in_flight:
                found.append(logits(place - in_flight))
            requests[place % in_flight].start_async({0: x.numpy()}, share_inputs=True)
        return found + [logits(place) for place in range(len(found), len(batches))]

    return call


def _saver(model: openvino.Model) -> Callable[[io.BytesIO], None]:
    def save(file: io.BytesIO) -> None:
        with tempfile.TemporaryDirectory() as folder:
            openvino.save_model(model, Path(folder) / MODEL, compress_to_fp16=False)
            for part in Path(folder).iterdir():
                file.write(part.read_bytes())

    return save


def versions() -> dict[str, str]:
    """Of what computes."""
    return {name: version(name) for name in ("torch", "torchvision", "timm", "openvino", "nncf")}


if __name__ == "__main__":
    serve(build, versions)
