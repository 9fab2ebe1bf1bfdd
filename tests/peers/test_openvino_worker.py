"""OpenVINO's worker without OpenVINO: what it reads back, refuses, and keeps in flight."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from sigmabench.harness.peers import workers


@pytest.fixture
def worker(monkeypatch) -> ModuleType:
    """The module as a peer's interpreter has it, beside libraries of nothing."""
    folder = Path(workers.__file__).parent
    monkeypatch.syspath_prepend(str(folder))
    for name in ("openvino", "nncf", "openvino_telemetry"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for file in folder.glob("*.py"):
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    found = importlib.import_module("openvino_worker")
    yield found
    for file in folder.glob("*.py"):
        sys.modules.pop(file.stem, None)


class Text:
    """A value of OpenVINO's."""

    def __init__(self, text: str) -> None:
        self.text = text

    def astype(self, _: type) -> str:
        return self.text


def operation(layer: str, precision: str, kernel: str = "ref") -> SimpleNamespace:
    told = {"layerType": layer, "runtimePrecision": precision, "primitiveType": kernel}
    return SimpleNamespace(get_rt_info=lambda: {name: Text(text) for name, text in told.items()})


CONVOLUTIONS = [operation("Convolution", "u8", "brgconv_I8") for _ in range(2)]
OTHERS = [operation("Const", "f32"), operation("Pooling", "i8"), operation("Subgraph", "bf16")]


def test_what_was_executed_is_read_back(worker):
    odd = operation("FullyConnected", "f32", "gemm_f32")
    assert worker.executed([*OTHERS, odd, *CONVOLUTIONS], "int8") == {
        "multiply_adds": "2 in int8, 1 in f32",
        "kernels": "2 × brgconv_I8; 1 × gemm_f32",
        "other_layers": "1 in int8, 1 in bf16",
    }


@pytest.mark.parametrize("wanted", ["bf16", "int8"])
def test_what_falls_back_to_float32_is_refused(worker, wanted):
    fallen = [operation("MatMul", "f32"), operation("Convolution", "f32")]
    says = (
        f"asked for {wanted}, it runs its convolutions and linear layers in other precisions "
        rf"\(2 in f32\); this CPU may have no instructions for {wanted}"
    )
    with pytest.raises(worker.RefusedError, match=says):
        worker.executed([*OTHERS, *fallen], wanted)
    with pytest.raises(worker.RefusedError):
        worker.executed([], wanted)


def test_a_stream_per_core_on_one_core_is_refused(worker):
    job = worker.Job("", "DNN_INT8 (1 stream per core)", [1, 2, 2], 1, 1, threads=1, seed=0)
    with pytest.raises(worker.RefusedError, match="is the same as 1 stream"):
        worker.build(job, torch.nn.Identity(), [])


class Requests:
    """A compiled network that adds one; how many inferences were in flight at most."""

    def __init__(self) -> None:
        self.made, self.running, self.most = 0, 0, 0

    def create_infer_request(self) -> Requests.One:
        self.made += 1
        return Requests.One(self)

    class One:
        def __init__(self, all_: Requests) -> None:
            self.all, self.output, self.busy = all_, np.zeros(1), False

        def start_async(self, inputs: dict[int, np.ndarray], share_inputs: bool) -> None:
            assert not self.busy
            self.busy, self.next = True, inputs[0] + 1
            self.all.running += 1
            self.all.most = max(self.all.most, self.all.running)

        def wait(self) -> None:
            assert self.busy
            self.busy = False
            self.all.running -= 1
            self.output[...] = self.next

        def get_output_tensor(self, _: int) -> SimpleNamespace:
            return SimpleNamespace(data=self.output)


@pytest.mark.parametrize(("passes", "most"), [(1, 1), (4, 4), (11, 4)])
def test_passes_are_kept_in_flight_and_come_back_in_order(worker, passes, most):
    compiled = Requests()
    call = worker._queued(compiled, 4)
    for _ in range(2):
        found = call([torch.full((1,), float(index)) for index in range(passes)])
        assert [float(one) for one in found] == [index + 1 for index in range(passes)]
    assert (compiled.made, compiled.most, compiled.running) == (4, most, 0)


def test_int8_is_calibrated_on_all_that_was_handed_over_for_it_and_once(
    worker, monkeypatch, tmp_path
):
    """Image by image; the second mode takes what the first has made."""
    calibration = np.arange(5 * 4, dtype=np.float32).reshape(5, 1, 2, 2)
    np.save(tmp_path / "calibration.npy", calibration)
    np.save(tmp_path / "images.npy", -calibration)
    seen: list[tuple[list[np.ndarray], int]] = []

    def quantize(model: str, dataset: list[np.ndarray], subset_size: int) -> str:
        seen.append((dataset, subset_size))
        return f"{model}, quantized"

    def save(model: str, path: Path, compress_to_fp16: bool) -> None:
        path.write_text(model)

    library = {"convert_model": lambda *_, **__: "converted", "save_model": save}
    library["Core"] = lambda: SimpleNamespace(read_model=lambda path: path.read_text())
    for name, value in library.items():
        monkeypatch.setattr(worker.openvino, name, value, raising=False)
    monkeypatch.setattr(worker.nncf, "quantize", quantize, raising=False)
    monkeypatch.setattr(
        worker.nncf, "Dataset", lambda data, made: list(map(made, data)), raising=False
    )
    job = worker.Job("", "DNN_INT8 (1 stream)", [1, 2, 2], 2, 1, 1, 0, data=str(tmp_path))
    for _ in range(2):
        made = worker._quantized(torch.nn.Identity(), job, [torch.zeros(2, 1, 2, 2)])
        assert made == "converted, quantized"
    ((dataset, count),) = seen
    assert count == 5
    assert [one.shape for one in dataset] == [(1, 1, 2, 2)] * 5
    assert np.array_equal(np.concatenate(dataset), calibration)
