"""laplace-torch's state dicts: built by hand, and by the library where it is installed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import Posterior, load, moped
from sigmabench.harness.posterior.laplace_torch import from_laplace_torch
from sigmabench.harness.workload.workload import WORKLOADS

DIGITS = WORKLOADS.get("lenet-digits")


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    linear = nn.Linear(8, 8), nn.Linear(8, 8)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), *linear)


def fitted(module: nn.Module, last: str | None = None, **fields: Any) -> dict[str, Any]:
    """What `state_dict()` gives of an approximation; of a last layer where its name is given."""
    part = module if last is None else module.get_submodule(last)
    mean = parameters_to_vector(part.parameters()).detach()
    own = {} if last is None else {"_last_layer_name": last, "data": None}
    return {
        "mean": mean,
        "H": torch.rand(len(mean), generator=torch.Generator().manual_seed(3)),
        "loss": torch.tensor(1.0),
        "prior_mean": torch.tensor(0.0),
        "prior_precision": torch.tensor([2.0]),
        "sigma_noise": torch.tensor(1.0),
        "n_data": 64,
        "n_outputs": 8,
        "likelihood": "classification",
        "temperature": 1.0,
        "enable_backprop": False,
        "cls_name": "DiagLaplace" if last is None else "DiagLLLaplace",
        **own,
        **fields,
    }


def expected(precision: Tensor, like: Tensor) -> Tensor:
    return torch.tensor([1 / math.sqrt(p) for p in precision.tolist()]).reshape(like.shape)


def test_all_weights() -> None:
    module = network()
    state = fitted(module, temperature=0.5)
    found = from_laplace_torch(state, network(9))
    at = 0
    assert list(found.mean) == [name for name, _ in module.named_parameters()]
    for name, parameter in module.named_parameters():
        precision = 2 * state["H"][at : at + parameter.numel()] + 2.0
        at += parameter.numel()
        assert torch.equal(found.mean[name], parameter)
        torch.testing.assert_close(found.std()[name], expected(precision, parameter))


@pytest.mark.parametrize("prior", ["layers", "weights"])
def test_prior_precisions_of_each_layer_or_weight(prior: str) -> None:
    module = network()
    sizes = [p.numel() for p in module.parameters()]
    given = torch.arange(1.0, 1 + (len(sizes) if prior == "layers" else sum(sizes)))
    each = torch.repeat_interleave(given, torch.tensor(sizes)) if prior == "layers" else given
    state = fitted(module, prior_precision=given)
    found = from_laplace_torch(state, module).std()
    weight = module[4].weight
    precision = (state["H"] + each)[-weight.numel() - 8 : -8]
    torch.testing.assert_close(found["4.weight"], expected(precision, weight))


@pytest.mark.parametrize("named", [True, False])
def test_the_last_layer_of_two_that_are_alike(named: bool) -> None:
    module = network()
    state = fitted(module, "4")
    if not named:
        state["_last_layer_name"] = None
    found = from_laplace_torch(state, network(9), moped(module, 0.0))
    assert list(found.mean) == ["4.weight", "4.bias"]
    torch.testing.assert_close(found.std()["4.bias"], expected(state["H"][-8:] + 2, module[4].bias))
    for name, value in module.state_dict().items():
        assert torch.equal({**found.state, **found.mean}[name], value)


def test_of_a_network_with_norms_all_else_comes_from_the_network() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    module[1].running_mean += 1
    whole = fitted(module)
    with pytest.raises(UserError, match=r"has a σ for 1\.weight, .* requires_grad off"):
        from_laplace_torch(whole, module, moped(module, 0.0))
    frozen = fitted(nn.Sequential(module[0], module[3]))
    found = from_laplace_torch(frozen, module, moped(module, 0.0))
    assert list(found.mean) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert torch.equal(found.state["1.running_mean"], module[1].running_mean)
    with pytest.raises(UserError, match="does not hold the whole network; give the network"):
        from_laplace_torch(frozen, module)


@pytest.mark.parametrize(
    ("last", "fields", "message"),
    [
        (None, {"cls_name": "FullLaplace"}, "FullLaplace, which has a full covariance, and a mean"),
        (
            "4",
            {"cls_name": "KronLLLaplace", "H": []},
            "which has a covariance of Kronecker factors",
        ),
        (None, {"cls_name": "LowRankLaplace", "H": ()}, "a covariance of low rank"),
        (None, {"cls_name": "VaLLA"}, "no standard deviation for each weight"),
        (None, {"likelihood": "regression"}, "is not of a classifier"),
        (None, {"H": torch.zeros(3)}, "mean and H of .* have different lengths"),
        (None, {"H": torch.zeros(170, 170)}, "H of .* is not a vector of finite numbers"),
        (None, {"mean": [0.0]}, "has no tensor mean"),
        (None, {"mean": torch.zeros(170).double()}, "mean is float64"),
        (None, {"mean": torch.full((170,), torch.nan)}, "mean of .* is not a vector of finite"),
        (None, {"prior_precision": torch.ones(7)}, "has 7 prior precisions for 164 weights"),
        (None, {"prior_precision": torch.tensor([-1.0])}, "precision that is not a finite number"),
        (None, {"temperature": 0.0}, "temperature of .* is not a number above 0"),
        (None, {"sigma_noise": "1"}, "sigma_noise of .* is not a number above 0"),
        ("4", {"_last_layer_name": "9"}, "is of another network: 72 weights are not those of"),
    ],
)
def test_what_is_no_posterior_of_the_network_is_refused(
    last: str | None, fields: dict[str, Any], message: str
) -> None:
    module = network()
    with pytest.raises(UserError, match=message):
        from_laplace_torch(fitted(module, last, **fields), module, moped(module, 0.0))


def test_another_network_is_refused() -> None:
    state = fitted(network(), "4")
    with pytest.raises(UserError, match="was fitted to another network: its means are not the"):
        from_laplace_torch(state, network(), moped(network(1), 0.0))
    with pytest.raises(UserError, match="is of another network: 72 weights are not those of this"):
        from_laplace_torch(state, DIGITS.model(), DIGITS.load_posterior()[0])
    with pytest.raises(UserError, match="does not hold the whole network"):
        from_laplace_torch(state, network())


def digits() -> tuple[nn.Module, Posterior]:
    posterior, _ = DIGITS.load_posterior()
    return posterior.load_into(DIGITS.model()), posterior


def test_files_are_converted(tmp_path: Path) -> None:
    module, posterior = digits()
    last = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)][-1]
    torch.save(fitted(module, last, n_outputs=10), tmp_path / "laplace.bin")
    torch.save(module.state_dict(), tmp_path / "network.pt")

    def convert(out: str, *more: str) -> str:
        asked = [str(tmp_path / "laplace.bin"), str(tmp_path / out), *more]
        told = CliRunner().invoke(main, ["convert", *asked])
        assert (told.exit_code == 0) == (tmp_path / out).exists(), told.output
        return " ".join(told.output.split())

    of = ("--workload", DIGITS.name, "--network")
    assert "keeps no names of weights; name the workload that it is of by" in convert("a")
    assert "give the network that it was fitted to (--network)" in convert("a", *of[:2])
    assert "name it by --workload" in convert("a", "--network", str(tmp_path / "network.pt"))
    for place, file in enumerate((tmp_path / "network.pt", DIGITS.posterior)):
        convert(f"{place}.safetensors", *of, str(file))
        found, _ = load(tmp_path / f"{place}.safetensors")
        assert list(found.mean) == [f"{last}.weight", f"{last}.bias"]
        assert found.content_hash() == load(tmp_path / "0.safetensors")[0].content_hash()
    assert torch.equal(found.state["conv1.weight"], posterior.mean["conv1.weight"])
    torch.save(DIGITS.model().state_dict(), tmp_path / "network.pt")
    said = convert("a", *of, str(tmp_path / "network.pt"))
    assert "laplace.bin was fitted to another network" in said


def library(module: nn.Module, subset: str, structure: str) -> Any:
    laplace = pytest.importorskip("laplace", reason="laplace-torch is not installed")
    torch.manual_seed(5)
    images, labels = torch.randn(40, 1, 4, 4), torch.randint(8, (40,))
    data = torch.utils.data.TensorDataset(images, labels)
    found = laplace.Laplace(
        module, "classification", subset_of_weights=subset, hessian_structure=structure,
        prior_precision=3.0,
    )  # fmt: skip
    found.fit(torch.utils.data.DataLoader(data, batch_size=10))
    return found


@pytest.mark.parametrize("subset", ["all", "last_layer"])
def test_the_library_s_own_approximation(subset: str, tmp_path: Path) -> None:
    module = network()
    theirs = library(module, subset, "diag")
    torch.save(theirs.state_dict(), tmp_path / "laplace.bin")
    state = torch.load(tmp_path / "laplace.bin", weights_only=True)
    found = from_laplace_torch(state, network(9), moped(module, 0.0))
    std = torch.cat([value.flatten() for value in found.std().values()])
    torch.testing.assert_close(std, theirs.posterior_scale, rtol=1e-6, atol=0)
    mean = torch.cat([value.flatten() for value in found.mean.values()])
    assert torch.equal(mean, theirs.mean)
    assert from_laplace_torch(theirs, network(9), moped(module, 0.0)).content_hash() == (
        found.content_hash()
    )


@pytest.mark.parametrize("structure", ["full", "kron"])
def test_the_library_s_covariances_are_refused(structure: str) -> None:
    module = network()
    state = library(module, "last_layer", structure).state_dict()
    with pytest.raises(UserError, match=r'fit it with hessian_structure="diag"'):
        from_laplace_torch(state, module, moped(module, 0.0))


def test_an_object_of_the_library_is_named_and_not_executed(tmp_path: Path) -> None:
    enums = pytest.importorskip("laplace.utils.enums", reason="laplace-torch is not installed")
    likelihood = enums.Likelihood.CLASSIFICATION
    torch.save(fitted(network(), likelihood=likelihood), tmp_path / "laplace.bin")
    out = tmp_path / "a.safetensors"
    told = CliRunner().invoke(main, ["convert", str(tmp_path / "laplace.bin"), str(out)])
    assert told.exit_code == 2
    assert "holds an object of laplace-torch's" in " ".join(told.output.split())
