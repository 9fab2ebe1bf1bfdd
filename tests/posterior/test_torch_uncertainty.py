"""torch-uncertainty's state dicts: built by hand, and by the library where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import load
from sigmabench.harness.posterior.torch_uncertainty import from_torch_uncertainty


def ordinary() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2, bias=False)
    )


def layer(name: str, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """As one of the library's layers has it: every tensor twice, and the prior."""
    found = {}
    for part, shape in shapes.items():
        mean, rho = torch.randn(shape), torch.randn(shape) - 3
        found |= {f"{name}.{part}_mu": mean, f"{name}.{part}_sigma": rho}
        found |= {f"{name}.{part}_sampler.mu": mean, f"{name}.{part}_sampler.rho": rho}
        for prior in ("pi", "mus", "sigmas"):
            found[f"{name}.{part}_prior_dist.{prior}"] = torch.ones(2)
    return found


def theirs() -> dict[str, Tensor]:
    """What a torch-uncertainty model of `ordinary` has in its state dict."""
    torch.manual_seed(1)
    norm = {name: t for name, t in ordinary().state_dict().items() if name.startswith("1.")}
    convolution = layer("0", weight=(4, 3, 3, 3), bias=(4,))
    return {**convolution, **norm, **layer("4", weight=(2, 16))}


def test_import_has_the_names_and_bits_of_the_ordinary_network() -> None:
    source = theirs()
    found = from_torch_uncertainty(source, ordinary())
    assert list(found.mean) == ["0.weight", "0.bias", "4.weight"]
    assert torch.equal(found.mean["0.weight"], source["0.weight_mu"])
    assert torch.equal(found.rho["0.bias"], source["0.bias_sigma"])
    assert list(found.state) == [f"1.{own}" for own in ordinary()[1].state_dict()]


def test_standard_deviation_is_the_librarys() -> None:
    source = theirs()
    expected = torch.log1p(torch.exp(source["4.weight_sigma"].double()))
    found = from_torch_uncertainty(source).std()["4.weight"]
    torch.testing.assert_close(found.double(), expected, rtol=3e-7, atol=0)


@pytest.mark.parametrize("wrapper", ["core_model.{}", "model.core_model.{}", "model._orig_mod.{}"])
def test_what_the_library_puts_around_makes_no_difference(wrapper: str) -> None:
    plain = from_torch_uncertainty(theirs(), ordinary()).content_hash()
    wrapped = {wrapper.format(name): value for name, value in theirs().items()}
    assert from_torch_uncertainty(wrapped, ordinary()).content_hash() == plain


def test_a_network_s_own_name_is_no_wrapper() -> None:
    network = nn.ModuleDict({"model": ordinary()})
    source = {f"model.{name}": value for name, value in theirs().items()}
    assert "model.0.weight" in from_torch_uncertainty(source, network).mean


def test_either_name_of_what_is_shared_is_enough(tmp_path: Path) -> None:
    plain = from_torch_uncertainty(theirs()).content_hash()
    for kept in ("_sampler.", "weight_mu", "_sigma"):
        source, seen = {}, set()
        for name in sorted(theirs(), key=lambda name, kept=kept: kept not in name):
            value = theirs()[name]
            if id_of(name) not in seen:
                source[name] = value
            seen.add(id_of(name))
        assert len(source) < len(theirs())
        assert from_torch_uncertainty(source).content_hash() == plain


def id_of(name: str) -> str:
    return name.replace("_sampler.mu", "_mu").replace("_sampler.rho", "_sigma")


def test_copies_that_differ_are_refused() -> None:
    source = {**theirs(), "0.weight_sampler.rho": torch.zeros(4, 3, 3, 3)}
    message = r"^0\.weight_sigma and 0\.weight_sampler\.rho are one tensor in torch-uncertainty"
    with pytest.raises(UserError, match=message):
        from_torch_uncertainty(source)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("0.weight_s", "no ρ of 0.weight"),
        ("0.bias_", "0.bias of the network is missing"),
        ("1.running_var", "1.running_var of the network is missing"),
    ],
)
def test_what_is_no_model_is_refused(lacking: str, message: str) -> None:
    dropped = (lacking, "0.weight_sampler.rho" if lacking == "0.weight_s" else lacking)
    source = {name: value for name, value in theirs().items() if not name.startswith(dropped)}
    with pytest.raises(UserError, match=message):
        from_torch_uncertainty(source, ordinary())


def test_layers_that_no_format_samples_are_named() -> None:
    with pytest.raises(UserError, match="The layer 9 is of the kind 1-D convolution, which no"):
        from_torch_uncertainty({**theirs(), **layer("9", weight=(3, 2, 3))})


def test_a_checkpoint_of_lightning_is_converted(tmp_path: Path) -> None:
    wrapped = {f"model.{name}": value for name, value in theirs().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "last.ckpt")
    once = {name: value for name, value in theirs().items() if "_sampler." not in name}
    safetensors.torch.save_file(once, tmp_path / "model.safetensors")
    hashes = set()
    for source in ("last.ckpt", "model.safetensors"):
        out = tmp_path / f"of-{source}.safetensors"
        told = CliRunner().invoke(main, ["convert", str(tmp_path / source), str(out)])
        assert told.exit_code == 0, told.output
        hashes.add(load(out)[0].content_hash())
    assert hashes == {from_torch_uncertainty(theirs()).content_hash()}


def test_the_library_s_own_model() -> None:
    """Its layers, its wrapper, and the σ that its own sampler computes."""
    pytest.importorskip("torch_uncertainty", reason="torch-uncertainty is not installed")
    from torch_uncertainty.layers.bayesian import BayesConv2d, BayesLinear
    from torch_uncertainty.methods.stochastic import StochasticModel

    model = nn.Sequential(
        BayesConv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), BayesLinear(16, 2)
    )
    network = ordinary()
    network[4] = nn.Linear(16, 2)
    model(torch.randn(2, 3, 4, 4))  # draws once, and moves the statistics of batch norm
    found = from_torch_uncertainty(StochasticModel(model, 4), network)
    assert found.content_hash() == from_torch_uncertainty(model.state_dict()).content_hash()
    for name in ("0", "4"):
        one, std = model[int(name)], found.std()
        assert torch.equal(found.mean[f"{name}.weight"], one.weight_mu)
        for part, sampler in (("weight", one.weight_sampler), ("bias", one.bias_sampler)):
            torch.testing.assert_close(std[f"{name}.{part}"], sampler.sigma, rtol=3e-7, atol=0)
    with torch.no_grad():
        for one in (model[0], model[4]):
            one.freeze()
        expected = model.eval()(x := torch.randn(2, 3, 4, 4))
        torch.testing.assert_close(found.load_into(network).eval()(x), expected)
