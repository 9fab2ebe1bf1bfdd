"""What PyTorch keeps for the whole process changes no number, and is as it was afterwards."""

from __future__ import annotations

import hashlib
import inspect
import pickle
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from divided_nets import NETS, SHAPE
from printed import python_of
from torch import Tensor, nn
from toy import RESIDUAL_SHAPE

from sigmabench.harness import api
from sigmabench.harness.backends.drawn import DrawnPredictor
from sigmabench.harness.backends.float import FloatPredictor
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Split, Splits
from sigmabench.harness.machine.torch_state import PlainCall, plain_torch
from sigmabench.harness.posterior import Posterior
from sigmabench.harness.training.train import train
from sigmabench.harness.workload.workload import WORKLOADS

ONEDNN = torch.backends.mkldnn
LEVELS = (torch.backends, ONEDNN, *(getattr(ONEDNN, name, None) for name in ("matmul", "conv")))
LEVELS = (*(getattr(ONEDNN, name, None) for name in ("matmul", "conv")), ONEDNN, torch.backends)
PRECISIONS = [level for level in LEVELS if hasattr(level, "fp32_precision")]


@contextmanager
def attribute(holder: object, name: str, value: object) -> Iterator[None]:
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def flushing() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def bfloat16_products() -> Iterator[None]:
    with ExitStack() as stack:
        for level in PRECISIONS:
            stack.enter_context(attribute(level, "fp32_precision", "bf16"))
        yield


SETTINGS = {
    "autocast": partial(torch.autocast, "cpu", torch.bfloat16),
    "float64": float64,
    "meta": partial(torch.device, "meta"),
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
    "bfloat16 products": bfloat16_products,
    "no oneDNN": partial(attribute, ONEDNN, "enabled", False),
    "flushing": flushing,
}


@contextmanager
def everything() -> Iterator[None]:
    with ExitStack() as stack:
        for setting in SETTINGS.values():
            stack.enter_context(setting())
        yield


def state() -> list[object]:
    """All of it, as PyTorch tells it."""
    return [
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        [level.fp32_precision for level in PRECISIONS],
        ONEDNN.enabled,
        float(torch.tensor(1e-40, dtype=torch.float32, device="cpu") * 1),
    ]


def digest(x: Tensor) -> str:
    return hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()


def printed_example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the README's Python computes: artefact, logits, scores."""
    monkeypatch.chdir(folder)
    here: dict[str, object] = {"__name__": "example"}
    exec(compile(python_of("README.md", "## From Python"), "README.md", "exec"), here)
    logits = here["predictor"].logits(here["data"].test.batch(slice(50)), 3, range(2))  # type: ignore[attr-defined]
    written = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return [written, digest(logits), digest(here["summary"].probs)]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def plain_result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[object]]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield printed_example(tmp_path_factory.mktemp("plain"), monkeypatch)


@pytest.mark.parametrize(
    "setting",
    ["everything", *(pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS)],
)
def test_the_example_is_the_same_under_each_setting(
    setting: str,
    plain_result: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with SETTINGS.get(setting, everything)():
        before = state()
        found = printed_example(tmp_path, monkeypatch)
        assert state() == before
    assert found == plain_result
    assert "accuracy" in capsys.readouterr().out


def test_the_guard_undoes_each_setting_and_gives_it_back() -> None:
    shipped = state()
    for name, setting in SETTINGS.items():
        with setting():
            before = state()
            assert before != shipped, name
            with plain_torch():
                assert state() == shipped, name
            assert state() == before, name
    assert state() == shipped


def test_a_setting_is_given_back_after_an_error() -> None:
    with everything():
        before = state()
        with pytest.raises(UserError):
            api.moped(nn.Linear(2, 2), delta=-1)
        assert state() == before


def test_every_function_of_the_api_is_guarded() -> None:
    functions = {name: getattr(api, name) for name in api.__all__}
    functions = {name: one for name, one in functions.items() if inspect.isfunction(one)}
    assert len(functions) > 10
    bare = [name for name, one in functions.items() if not hasattr(one, "__wrapped__")]
    assert bare == ["resolve_workload"], "it guards what imports a user's module alone"


def every_logit(module: nn.Module, posterior: Posterior, x: Tensor, shape: tuple[int, ...]) -> str:
    """A digest of what each way to compute makes of two passes."""
    model = api.fold(module, posterior, shape)
    ranges = api.calibrate(model, x)
    made = {name: api.quantize(model, name, ranges) for name in ("FP32", "INT8")}
    predictors = [
        api.BACKENDS.get(name).load(made[format], threads=1)
        for name, format in (
            ("float", "FP32"), ("reference", "INT8"), ("native", "INT8"), ("drawn", "FP32"),
        )
    ]  # fmt: skip
    if not model.graph.steps:
        uncompiled = DrawnPredictor(made["FP32"], threads=1)
        uncompiled._compiled = False
        predictors += [FloatPredictor(made["FP32"], threads=1), uncompiled]
    found = [predictor.logits(x[:4], 0, range(1)) for predictor in predictors]
    adapted = api.predict_adaptive(predictors[1], x[:4], api.StoppingRule(6))
    return "".join(digest(one) for one in (*found, adapted.probs))


def test_every_backend_is_the_same_under_all_settings(
    residual: nn.Module, posterior: Posterior, images: Tensor
) -> None:
    alone = every_logit(residual, posterior, images, RESIDUAL_SHAPE)
    with everything():
        assert every_logit(residual, posterior, images, RESIDUAL_SHAPE) == alone


def test_a_divided_network_is_the_same_under_all_settings() -> None:
    x = torch.randn(512, *SHAPE)
    module = NETS["gated"]().eval()
    posterior = api.moped(module, 0.1)
    alone = every_logit(module, posterior, x, SHAPE)
    with everything():
        assert every_logit(module, api.moped(module, 0.1), x, SHAPE) == alone


def toy_splits(root: Path | None) -> Splits:
    pixels = torch.randint(256, (60, 3, 12, 12), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(60) % 5
    parts = {
        name: Split(name, pixels.to(torch.uint8), labels, (0.5,) * 3, (0.25,) * 3, 5)
        for name in ("train", "validation", "test")
    }
    return Splits(**parts)


class Mean(nn.Module):
    """Builds what it needs with PyTorch's defaults, as networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 5)
        self.scale = torch.tensor([1.5])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)) * self.scale)


def test_training_is_the_same_under_all_settings(tmp_path: Path) -> None:
    digits = WORKLOADS.get("lenet-digits")
    recipe = api.resolve_workload("lenet-digits").recipe()
    short = type(recipe)(**{**vars(recipe), "epochs": 1})
    own = type(digits)(
        name="own", version="1", title="", model=Mean, splits=toy_splits,
        input_shape=RESIDUAL_SHAPE, classes=5, recipes={"best": short},
    )  # fmt: skip
    alone = train(own, out=tmp_path / "alone", progress=False).posterior
    with everything():
        found = train(own, out=tmp_path / "all", progress=False)
        reread, _ = api.load_posterior(found.path)
    assert found.posterior.content_hash() == alone.content_hash() == reread.content_hash()


def test_users_functions_are_called_plain_and_can_be_pickled() -> None:
    with everything():
        assert state() != PlainCall(state)()
    assert PlainCall(state)() == state()
    assert pickle.loads(pickle.dumps(PlainCall(toy_splits))) == PlainCall(toy_splits)


@pytest.mark.parametrize("made", [float64, torch.inference_mode])
def test_a_network_built_under_a_setting_is_taken(made: type) -> None:
    with made():
        module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)).eval()
        x = torch.randn(512, *RESIDUAL_SHAPE, dtype=torch.float32)
        posterior = api.moped(module, 0.1)
        found = api.fold(module, posterior, RESIDUAL_SHAPE)
        artefact = api.quantize(found, "INT8", api.calibrate(found, x))
    weight = next(iter(found.layers.values())).mean.flatten(1)
    assert torch.equal(weight, module[2].weight.detach().float())
    assert artefact.weights == 15
    assert module[2].weight.dtype is (torch.float64 if made is float64 else torch.float32)


def test_a_network_of_float64_constants_is_refused_in_a_sentence() -> None:
    with float64():
        module = Mean().eval()
    with pytest.raises(UserError, match="Mean cannot be computed on float32 images"):
        api.fold(module, api.moped(module, 0.1), RESIDUAL_SHAPE)


def test_a_network_without_numbers_is_refused() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    full = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    calls = [
        lambda: api.moped(module, 0.1),
        lambda: api.initial(module),
        lambda: api.fold(module, api.moped(full, 0.1), (3, 2, 2)),
    ]
    for call in calls:
        with pytest.raises(UserError, match=r"1\.weight of the network is on the meta device"):
            call()
