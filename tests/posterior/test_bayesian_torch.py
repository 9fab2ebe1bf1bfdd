"""bayesian-torch's state dicts, in and out; with the library itself by `pytest -m peers`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from click.testing import CliRunner
from torch import Tensor, nn

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.peers.environment import BAYESIAN_TORCH, ENVIRONMENTS, find
from sigmabench.harness.posterior import Posterior, from_std, initial, load, moped, save
from sigmabench.harness.posterior.bayesian_torch import from_bayesian_torch, to_bayesian_torch
from sigmabench.harness.posterior.saved import read_state_dict
from sigmabench.harness.workload.workload import WORKLOADS

PEERS = Path(os.environ.get("SIGMABENCH_PEERS", Path(__file__).parents[2] / ENVIRONMENTS))
#: Run by the library's Python: saves a model with the μ and σ that its KL is told, then loads what
#: came back.
THERE = """
import sys
import torch
from bayesian_torch.layers.base_variational_layer import BaseVariationalLayer_
from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn
from torchvision.models import mobilenet_v2

step, kind = sys.argv[1:]
torch.manual_seed(0 if step == "save" else 1)
model = mobilenet_v2(num_classes=10)
prior = {"prior_mu": 0.0, "prior_sigma": 1.0, "posterior_mu_init": 0.0, "posterior_rho_init": -3.0}
dnn_to_bnn(model, {**prior, "type": kind, "moped_enable": True, "moped_delta": 0.2})
if step == "save":
    model(torch.randn(4, 3, 32, 32))  # moves the statistics of batch norm
    torch.save(model.state_dict(), "theirs.pt")
    own, told = BaseVariationalLayer_.kl_div, []

    def kl_div(layer, mean, std, *prior):
        told.append((mean.detach().clone(), std.detach().clone()))
        return own(layer, mean, std, *prior)

    BaseVariationalLayer_.kl_div = kl_div
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, BaseVariationalLayer_):
            told.clear()
            layer.kl_loss()
            found |= {f"{name}.{own}": pair for own, pair in zip(("weight", "bias"), told)}
    torch.save(found, "told.pt")
else:
    model.load_state_dict(torch.load("back.pt", weights_only=True), strict=True)
    saved = torch.load("theirs.pt", weights_only=True)
    loaded = model.state_dict()
    assert list(loaded) == list(saved)
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
"""


def ordinary() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    )


def theirs() -> dict[str, Tensor]:
    """What a bayesian-torch model of `ordinary` has in its state dict."""
    torch.manual_seed(1)
    state = {name: t for name, t in ordinary().state_dict().items() if name.startswith("1.")}
    return {
        "0.mu_kernel": torch.randn(4, 3, 3, 3),
        "0.rho_kernel": torch.randn(4, 3, 3, 3) - 3,
        **state,
        "4.mu_weight": torch.randn(2, 16),
        "4.rho_weight": torch.randn(2, 16) - 3,
        "4.mu_bias": torch.randn(2),
        "4.rho_bias": torch.randn(2) - 3,
    }


class Layer(nn.Module):
    """As bayesian-torch's: μ and ρ as parameters, what it draws with as buffers."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in tensors.items():
            self.register_parameter(name, nn.Parameter(value))
            kind, part = name.split("_")
            if kind == "mu":
                self.register_buffer(f"eps_{part}", torch.zeros_like(value), persistent=False)


def test_import_has_the_names_and_bits_of_the_ordinary_network() -> None:
    source = theirs()
    posterior = from_bayesian_torch(source, ordinary())
    assert list(posterior.mean) == ["0.weight", "4.weight", "4.bias"]
    assert torch.equal(posterior.mean["0.weight"], source["0.mu_kernel"])
    assert torch.equal(posterior.rho["0.weight"], source["0.rho_kernel"])
    assert torch.equal(posterior.mean["4.weight"], source["4.mu_weight"])
    assert torch.equal(posterior.rho["4.bias"], source["4.rho_bias"])
    assert torch.equal(posterior.state["1.running_var"], source["1.running_var"])
    assert posterior.state["1.num_batches_tracked"].dtype == torch.int64


def test_standard_deviation_is_the_librarys() -> None:
    source = theirs()
    expected = torch.log1p(torch.exp(source["0.rho_kernel"].double()))
    found = from_bayesian_torch(source).std()["0.weight"]
    torch.testing.assert_close(found.double(), expected, rtol=3e-7, atol=0)


def test_a_model_is_as_good_as_its_state_dict() -> None:
    source = theirs()
    layers = [Layer({k.split(".")[1]: v for k, v in source.items() if k[0] == i}) for i in "04"]
    model = nn.Sequential(layers[0], nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), layers[1])
    found = from_bayesian_torch(model, ordinary())
    assert found.content_hash() == from_bayesian_torch(source).content_hash()


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["Reparameterization", "Flipout"])
def test_the_library_s_own_model_goes_there_and_back(kind: str, tmp_path: Path) -> None:
    environment = find(BAYESIAN_TORCH, PEERS)
    if environment.unavailable:
        pytest.skip(environment.unavailable)

    def there(step: str) -> None:
        command = [str(environment.python), "-c", THERE, step, kind]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=300)

    there("save")
    network = torchvision.models.mobilenet_v2(num_classes=10)
    posterior = from_bayesian_torch(read_state_dict(tmp_path / "theirs.pt"), network)
    told = torch.load(tmp_path / "told.pt", weights_only=True)
    stds = posterior.std()
    assert list(posterior.mean) == list(told)
    assert len(told) == 54  # 52 convolutions, and a linear layer with its bias
    for name, (mean, std) in told.items():
        assert torch.equal(posterior.mean[name], mean)
        torch.testing.assert_close(stds[name], std, rtol=3e-7, atol=0)
    torch.save(to_bayesian_torch(posterior), tmp_path / "back.pt")
    there("load")


def test_numbers_that_would_be_rounded_are_refused() -> None:
    for name in ("0.mu_kernel", "4.rho_bias", "1.running_var"):
        source = theirs()
        wide = {**source, name: source[name].double()}
        with pytest.raises(UserError, match=rf"{name} is float64, .* round the model with \.float"):
            from_bayesian_torch(wide)
        narrow = {**source, name: source[name].bfloat16()}
        found = from_bayesian_torch(narrow)
        assert torch.equal(to_bayesian_torch(found)[name], narrow[name].float())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("0.mu_weight", "0.mu_kernel and 0.mu_weight are both 0.weight"),
        ("0.rho_weight", "0.rho_kernel and 0.rho_weight are both 0.weight"),
        ("0.weight", "0.mu_kernel and 0.weight are both 0.weight"),
        ("4.bias", "4.mu_bias and 4.bias are both 4.bias"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_two_entries_of_one_parameter_are_refused(more: str, says: str, first: bool) -> None:
    source = theirs()
    extra = {more: torch.ones(1)}
    one, _, other = says.partition(" are ")[0].partition(" and ")
    names = f"{other} and {one}" if first else f"{one} and {other}"
    both = {**extra, **source} if first else {**source, **extra}
    with pytest.raises(UserError, match=rf"^{names} are both .* remove the one that is not meant"):
        from_bayesian_torch(both)


def test_a_layer_by_itself_has_no_prefix() -> None:
    layer = {name.partition(".")[2]: t for name, t in theirs().items() if name[0] == "4"}
    assert to_bayesian_torch(from_bayesian_torch(layer, nn.Linear(16, 2))).keys() == layer.keys()


def test_names_of_data_parallel_and_buffers_of_old_versions_make_no_difference() -> None:
    plain = from_bayesian_torch(theirs())
    wrapped = {f"module.{name}": value for name, value in theirs().items()}
    for own in ("eps_kernel", "prior_weight_mu", "prior_weight_sigma"):
        wrapped[f"module.0.{own}"] = torch.zeros(4, 3, 3, 3)
    assert from_bayesian_torch(wrapped, ordinary()).content_hash() == plain.content_hash()


@pytest.mark.parametrize("wrap", ["_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}"])
def test_names_of_compiled_models_make_no_difference(wrap: str) -> None:
    plain = from_bayesian_torch(theirs())
    wrapped = {wrap.format(name): value for name, value in theirs().items()}
    assert from_bayesian_torch(wrapped, ordinary()).content_hash() == plain.content_hash()


def test_a_compiled_part_of_a_model_makes_no_difference() -> None:
    source = {name.replace("4.", "4._orig_mod."): value for name, value in theirs().items()}
    found = from_bayesian_torch(source, ordinary())
    assert found.content_hash() == from_bayesian_torch(theirs()).content_hash()
    source["4.mu_bias"] = torch.zeros(2)
    with pytest.raises(UserError, match=r"4\.mu_bias are both 4\.mu_bias of the network"):
        from_bayesian_torch(source)


def test_the_names_are_those_that_torch_gives() -> None:
    compiled = torch.compile(nn.Sequential(nn.Linear(2, 2)))
    assert list(compiled.state_dict()) == ["_orig_mod.0.weight", "_orig_mod.0.bias"]
    assert list(nn.DataParallel(nn.Linear(2, 2)).state_dict()) == ["module.weight", "module.bias"]


def of_layer(layer: nn.Module, name: str = "odd") -> dict[str, Tensor]:
    """What a bayesian-torch model of `theirs` and one more layer has in its state dict."""
    more = {f"{name}.{own}": torch.zeros_like(value) for own, value in layer.named_parameters()}
    return {**theirs(), **to_bayesian_torch(from_std(more, more))}


def sampled(layer: nn.Module) -> dict[str, Tensor]:
    state = of_layer(layer)
    return {name: value.clamp_min(-3) if "rho" in name else value for name, value in state.items()}


CELL = nn.ModuleDict({"ih": nn.Linear(3, 8), "hh": nn.Linear(2, 8)})  # as LSTMReparameterization
UNSAMPLED = {
    "LSTM": CELL,
    "1-D convolution": nn.Conv1d(2, 3, 3),
    "3-D convolution": nn.Conv3d(2, 3, 3, bias=False),
    "transposed convolution": nn.ConvTranspose2d(2, 3, 3),
}


@pytest.mark.parametrize("kind", UNSAMPLED)
def test_layers_that_no_format_samples_are_named(kind: str, tmp_path: Path) -> None:
    torch.save(sampled(UNSAMPLED[kind]), tmp_path / "a.pth")
    code, output = convert(str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors"))
    said = " ".join(output.split())
    assert code == 2
    assert re.search(rf"The layer odd(\.ih|\.hh)? is of the kind {kind}, which no format", said)
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("kind", [kind for kind in UNSAMPLED if kind != "LSTM"])
def test_the_network_tells_what_kind_a_layer_is(kind: str) -> None:
    layer = UNSAMPLED[kind]
    network = ordinary()
    network.add_module("odd", layer)
    with pytest.raises(UserError, match=f"The layer odd is of the kind {type(layer).__name__}, "):
        from_bayesian_torch(sampled(layer), network)
    assert from_bayesian_torch(of_layer(layer), network).parameter_count  # no σ: nothing to sample


def test_linear_layers_of_a_cell_s_names_are_taken_with_their_network() -> None:
    network = ordinary()
    network.add_module("odd", CELL)
    assert "odd.ih.weight" in from_bayesian_torch(sampled(CELL), network).mean


def test_draws_follow_the_networks_order() -> None:
    backwards = dict(reversed(theirs().items()))
    found = from_bayesian_torch(backwards, ordinary())
    assert list(found.mean) == list(found.rho) == ["0.weight", "4.weight", "4.bias"]
    assert next(iter(from_bayesian_torch(backwards).mean)) == "4.bias"


@pytest.mark.parametrize("name", ["lenet-digits", "resnet20-cifar10"])
def test_there_and_back_again(name: str) -> None:
    workload = WORKLOADS.get(name)
    posterior, _ = workload.load_posterior()
    exported = to_bayesian_torch(posterior)
    assert not any(key.endswith(".weight") for key in exported if key.startswith("conv"))
    back = from_bayesian_torch(exported, workload.model())
    assert list(back.mean) == list(posterior.mean)
    assert back.content_hash() == posterior.content_hash()


def test_frozen_weights_keep_a_std_of_zero() -> None:
    frozen = moped(ordinary(), 0.0)
    back = from_bayesian_torch(to_bayesian_torch(frozen))
    assert all(bool((std == 0).all()) for std in back.std().values())


def without(*names: str) -> dict[str, Tensor]:
    return {name: value for name, value in theirs().items() if name not in names}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (without("0.rho_kernel"), "no ρ of 0.weight"),
        (without("4.mu_bias"), "no μ of 4.bias"),
        (ordinary().state_dict(), "no Bayesian layer"),
        ({**theirs(), "5.mu_cell": torch.zeros(2)}, "5.mu_cell is of a layer that has no"),
        ({**theirs(), "0.rho_kernel": torch.zeros(4, 3)}, "must be equal"),
        ({**theirs(), "0.mu_kernel": torch.full((4, 3, 3, 3), torch.nan)}, "NaN or infinity"),
        (without("1.running_mean"), "1.running_mean of the network is missing"),
    ],
)
def test_what_is_no_model_is_refused(source: dict[str, Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_bayesian_torch(source, ordinary())


def test_a_parameter_that_is_no_weight_cannot_go_there() -> None:
    odd = Posterior({"0.scale": torch.ones(1)}, {"0.scale": torch.ones(1)}, {})
    with pytest.raises(UserError, match=r"0\.scale is not a weight or bias"):
        to_bayesian_torch(odd)


class Trap:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch trapped",)


def test_checkpoints_are_read_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.pth"
    under = ({"epoch": 3, name: theirs()} for name in ("state_dict", "model", "model_state_dict"))
    for content in (theirs(), *under):
        torch.save(content, file)
        assert read_state_dict(file).keys() == theirs().keys()
    torch.save({"model": theirs(), "state_dict": theirs()}, file)
    with pytest.raises(UserError, match="has state dicts under state_dict and model; save the one"):
        read_state_dict(file)
    torch.save({"epoch": 3, "state_dict": theirs()}, file)
    safetensors.torch.save_file(theirs(), tmp_path / "model.safetensors")
    assert read_state_dict(tmp_path / "model.safetensors").keys() == theirs().keys()
    whole = file.read_bytes()
    for content in ({"state_dict": Trap()}, ordinary(), [1, 2], {"a": "text"}):
        torch.save(content, file)
        with pytest.raises(UserError, match=r"model\.pth is damaged or holds more than tensors"):
            read_state_dict(file)
    for cut in (whole[:500], b"", b"text"):
        file.write_bytes(cut)
        with pytest.raises(UserError, match="is damaged"):
            read_state_dict(file)
    with pytest.raises(UserError, match="There is no checkpoint"):
        read_state_dict(tmp_path / "other.pth")
    assert not (tmp_path / "trapped").exists()


def convert(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["convert", *arguments])
    return done.exit_code, done.output


def test_command_goes_there_and_back(tmp_path: Path) -> None:
    ours, there, back = (
        tmp_path / n for n in ("ours.safetensors", "theirs.pth", "back.safetensors")
    )
    posterior = initial(WORKLOADS.get("lenet-digits").model())
    save(posterior, ours)
    assert convert(str(ours), str(there)) == (0, f"{there}\n")
    code, output = convert(str(there), str(back), "--workload", "lenet-digits")
    assert (code, output.splitlines()[-1]) == (0, str(back))
    found, facts = load(back)
    assert found.content_hash() == posterior.content_hash()
    assert facts["source"] == "theirs.pth"


def test_command_refuses_what_would_be_lost(tmp_path: Path) -> None:
    source = tmp_path / "a.pth"
    torch.save(theirs(), source)
    taken = tmp_path / "taken.safetensors"
    taken.write_text("precious")
    code, output = convert(str(source), str(taken))
    assert code == 2
    assert "taken.safetensors is there already" in output
    assert taken.read_text() == "precious"
    code, output = convert(
        str(source), str(tmp_path / "b.safetensors"), "--workload", "lenet-digits"
    )
    assert code == 2
    assert "is missing from" in output
    assert not (tmp_path / "b.safetensors").exists()


ODD = {
    "an integer": ({0: torch.zeros(2)}, "names an entry 0; names of a state dict are text"),
    "sparse": ({"norm.mean": torch.eye(2).to_sparse()}, "norm.mean in .* is a sparse tensor"),
    "quantized": (
        {"fc.weight": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
        "fc.weight in .* is a quantized tensor",
    ),
    "meta": ({"fc.weight": torch.empty(2, device="meta")}, "fc.weight in .* is a meta tensor"),
    "complex": ({"phase": torch.ones(2, dtype=torch.complex64)}, "phase in .* is a complex tensor"),
}


@pytest.mark.parametrize("kind", ODD)
def test_entries_that_no_posterior_holds_are_named(kind: str, tmp_path: Path) -> None:
    extra, message = ODD[kind]
    torch.save({**theirs(), **extra}, tmp_path / "model.pth")
    with pytest.raises(UserError, match=message):
        read_state_dict(tmp_path / "model.pth")


@pytest.mark.parametrize(
    "entries",
    [("w\ud800.mu_kernel",), ("w\ud800.mu_gate",), ("w\ud800.mu_bias", "module.w\ud800.mu_bias")],
)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_name_that_is_no_text_is_shown_in_every_message(
    entries: tuple[str, ...], kind: torch.dtype, tmp_path: Path
) -> None:
    torch.save({name: torch.ones(2, dtype=kind) for name in entries}, tmp_path / "model.pth")
    with pytest.raises(UserError, match=r"w\\ud800") as caught:
        from_bayesian_torch(read_state_dict(tmp_path / "model.pth"))
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["there.pth", "there.safetensors"])
def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    save(initial(WORKLOADS.get("lenet-digits").model()), tmp_path / "ours.safetensors")
    del synced[:]
    assert convert(str(tmp_path / "ours.safetensors"), str(tmp_path / name))[0] == 0
    assert len(synced) == 2
