"""Last-layer Laplace approximations: their draws against closed forms, and laplace-torch itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from studied import studied
from torch import Tensor, nn

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.methods import laplace
from sigmabench.harness.methods.laplace import diagonal_part
from sigmabench.harness.methods.laplace_fit import DIAGONAL, FULL, PRECISIONS, fitted, last_layer
from sigmabench.harness.methods.method import METHODS, MadeMethod
from sigmabench.harness.methods.single import in_format
from sigmabench.harness.methods.trunk import DrawnLayer
from sigmabench.harness.posterior import save
from sigmabench.harness.predict.temperature import mean_nll
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.studies.methods.analyse import analyse
from sigmabench.harness.studies.methods.methods_sheets import scores_sheet
from sigmabench.harness.studies.methods.plan import MethodsPlan
from sigmabench.harness.workload.choices import plan_from
from sigmabench.harness.workload.conditions import ShiftPlan
from sigmabench.harness.workload.kept import kept
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import NetworkPart, Prepared, prepare
from sigmabench.harness.workload.workload import WORKLOADS, Workload

DIGITS = WORKLOADS.get("lenet-digits")
NEEDS = "laplace-torch is not installed"


def planned(workload: Workload) -> Plan:
    return plan_from(workload)


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """The digits, with their mean network as the deterministic one."""
    path = tmp_path_factory.mktemp("laplace") / "network.safetensors"
    save(DIGITS.load_posterior()[0].scaled(0.0), path, {})
    return replace(DIGITS, name="own", members=(path,))


@pytest.fixture(scope="module")
def prepared(workload: Workload) -> Prepared:
    pytest.importorskip("laplace", reason=NEEDS)
    return prepare(planned(workload))


def module_of(workload: Workload) -> nn.Module:
    return workload.load_posterior(workload.members[0])[0].load_into(workload.model()).eval()


def test_draws_of_a_layer_have_the_mean_and_covariance_that_are_given() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, scale = torch.randn(6, generator=generator), torch.randn(6, 6, generator=generator)
    count = 40_000
    for given, expected in ((scale, scale @ scale.T), (scale[0].abs(), torch.diag(scale[0] ** 2))):
        drawn = DrawnLayer(mean, given, 2).weights(5, range(count)).double()
        error = 5 * (drawn.var(0).max() / count**0.5)  # of a covariance, at the least
        torch.testing.assert_close(drawn.T.cov(), expected.double(), rtol=0, atol=float(error))
        assert bool((abs(drawn.mean(0) - mean) < 5 * drawn.std(0) / count**0.5).all())


@pytest.mark.parametrize("biases", [True, False])
def test_each_pass_is_a_linear_layer_of_its_own_draw(biases: bool) -> None:
    mean = torch.arange(12.0 if biases else 9.0)
    layer = DrawnLayer(mean, torch.eye(len(mean)), 3)
    x = torch.randn(4, 3, 1, 1)
    found = layer.logits(x, 7, range(1, 4))
    for t, logits in zip(range(1, 4), found, strict=True):
        (weights,) = layer.weights(7, range(t, t + 1))
        bias = weights[9:] if biases else None
        expected = nn.functional.linear(x.flatten(1), weights[:9].reshape(3, 3), bias)
        torch.testing.assert_close(logits, expected)
    assert not layer.logits(x, 8, range(1)).allclose(layer.logits(x, 7, range(1)))


def test_the_last_layer_is_found_in_the_graph() -> None:
    found = last_layer(DIGITS.model, DIGITS.input_shape)
    assert found is not None
    assert (found.biased, found.count) == (True, 330)

    def softened() -> nn.Module:
        return nn.Sequential(DIGITS.model(), nn.ReLU())

    def convolved() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 10, 3), nn.Conv2d(10, 10, 6), nn.Flatten())

    def alone() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    for network in (softened, convolved, alone):
        assert last_layer(network, DIGITS.input_shape) is None


def test_what_there_is_not_has_a_reason(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laplace, "installed", lambda: "0.3")

    def why(method: str, workload: Workload, format: str = "FP32") -> str | None:
        return METHODS.get(method).without(planned(workload), format)

    for method, formats in (
        ("laplace", ("FP32", "INT8", "INT8_SIGMA1")),
        ("laplace-full", ("FP32", "INT8")),
    ):
        assert [why(method, workload, format) for format in formats] == [None] * len(formats)
    assert why("laplace-full", workload, "INT8_SIGMA1") == (
        "its last layer is drawn in float32, so there is no σ to put into fewer bits"
    )
    assert why("laplace", DIGITS) == "no deterministic network of lenet-digits ships"
    assert why("laplace", WORKLOADS.get("resnet50-imagenet")) == (
        "published weights leave no images to choose a prior precision by"
    )
    monkeypatch.setattr(laplace, "MOST_WEIGHTS", 329)
    assert why("laplace-full", workload) == "the covariance of 330 weights is too large"
    monkeypatch.setattr(laplace, "installed", lambda: None)
    assert why("laplace", workload) == (
        "laplace-torch, which fits it, is not installed; pip install 'sigmabench[laplace]'"
    )


def test_a_posterior_is_no_network_to_fit(workload: Workload) -> None:
    of_posterior = replace(workload, members=(DIGITS.posterior,))
    with pytest.raises(UserError, match="is a posterior, and members of an ensemble draw no"):
        fitted(prepare(planned(of_posterior)), DIAGONAL)


@pytest.mark.parametrize("structure", [DIAGONAL, FULL])
def test_the_fit_is_the_library_s_of_the_whole_network(
    structure: str, workload: Workload, prepared: Prepared
) -> None:
    from laplace import Laplace
    from torch.utils.data import DataLoader, TensorDataset

    train = prepared.splits.train
    theirs = Laplace(
        module_of(workload), "classification", "last_layer", structure, last_layer_name="fc3"
    )
    theirs.fit(DataLoader(TensorDataset(train.batch(slice(None)), train.labels), batch_size=500))
    fit = fitted(prepared, structure)
    theirs.prior_precision = fit.precision
    assert fit.mean.equal(theirs.mean)
    torch.testing.assert_close(fit.scale, theirs.posterior_scale, rtol=1e-3, atol=1e-6)
    assert fitted(prepared, structure) is fit


def test_a_full_curvature_s_diagonal_is_the_diagonal_one(prepared: Prepared) -> None:
    full, diagonal = fitted(prepared, FULL), fitted(prepared, DIAGONAL)
    precision = torch.linalg.inv((full.scale @ full.scale.T).double()).diagonal()
    expected = diagonal.scale.double() ** -2 + full.precision - diagonal.precision
    torch.testing.assert_close(precision, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(("method", "structure"), [("laplace", DIAGONAL), ("laplace-full", FULL)])
def test_the_prior_precision_has_the_lowest_validation_nll(
    method: str, structure: str, prepared: Prepared
) -> None:
    fit, validation = fitted(prepared, structure), prepared.splits.validation
    assert len(fit.nll) == len(PRECISIONS)
    assert fit.nll[PRECISIONS.index(fit.precision)] == min(fit.nll)
    loaded = METHODS.get(method).made(prepared, "FP32").load(1)
    assert loaded.chosen == f"prior precision {fit.precision:g}"
    logits = loaded.passes.logits(validation.batch(slice(None)), 77, range(400))
    assert mean_nll(logits.double(), validation.labels) == pytest.approx(min(fit.nll), rel=0.1)


@pytest.mark.parametrize("format", ["FP32", "INT8", "INT8_SIGMA1"])
def test_a_diagonal_one_is_a_posterior_whose_trunk_runs_once(
    format: str, prepared: Prepared
) -> None:
    """Bit for bit what the runtime gives of that posterior as a whole."""
    part, fit = diagonal_part(fitted(prepared, DIAGONAL)), fitted(prepared, DIAGONAL)
    x = prepared.splits.validation.batch(slice(0, 12))
    whole = MadeMethod(*single(part, format)).load(1)
    found = METHODS.get("laplace").made(prepared, format).load(1)
    assert (found.artefacts, found.file_bytes) == (whole.artefacts, whole.file_bytes)
    assert torch.equal(found.passes.logits(x, 3, range(5)), whole.passes.logits(x, 3, range(5)))
    drawn = [name for name, layer in part.model.layers.items() if bool(layer.std.any())]
    assert drawn == [fit.layer.name]


@pytest.mark.parametrize("format", ["FP32", "INT8"])
def test_a_full_one_has_the_logits_that_its_covariance_says(
    format: str, workload: Workload, prepared: Prepared
) -> None:
    """Mean φᵀW + b and covariance J Σ Jᵀ, φ the features of PyTorch's own network."""
    fit, count = fitted(prepared, FULL), 4000
    x = prepared.splits.validation.batch(slice(0, 3))
    found = METHODS.get("laplace-full").made(prepared, format).load(1)
    logits = found.passes.logits(x, 0, range(count)).double()
    module = module_of(workload)
    with torch.no_grad():
        features, expected = module[:-1](x).double(), module(x).double()
    jacobian = torch.func.jacrev(lambda w: linear(w, features))(fit.mean.double())
    covariance = (fit.scale @ fit.scale.T).double()
    scale = float(expected.std())
    for image in range(3):
        own = logits[:, image]
        law = jacobian[image] @ covariance @ jacobian[image].T
        tolerance = 5 * float(law.diagonal().max().sqrt()) / count**0.5
        near = tolerance + (0.0 if format == "FP32" else 0.1 * scale)
        torch.testing.assert_close(own.mean(0), expected[image], rtol=0, atol=near)
        off = 0.1 if format == "FP32" else 0.2
        torch.testing.assert_close(
            own.T.cov(), law, rtol=off, atol=off * float(law.diagonal().max())
        )


def single(part: NetworkPart, format: str) -> tuple[tuple[Artefact], str]:
    artefact, backend = in_format(part, format, None, draws=True)
    return (artefact,), backend


def linear(weights: Tensor, features: Tensor) -> Tensor:
    count = 10 * features.shape[1]
    return nn.functional.linear(features, weights[:count].reshape(10, -1), weights[count:])


def test_what_was_made_for_a_shipped_workload_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    def make() -> dict[str, Tensor]:
        asked.append(1)
        return {"scale": torch.arange(6.0).reshape(2, 3).T}

    def found(choice: str, workload: Workload = DIGITS) -> Tensor:
        return kept(workload, "laplace", [choice], make)["scale"]

    assert found("diag").equal(found("diag"))
    assert len(asked) == 1
    found("full")
    assert len(asked) == 2
    for path in (tmp_path / "sigmabench" / "installed" / "laplace").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert found("diag")[2, 1] == 5
    assert len(asked) == 3
    for _ in range(2):
        found("diag", replace(DIGITS, name="own"))
    assert len(asked) == 5


def test_what_is_chosen_stands_in_the_record_and_below_the_table(
    workload: Workload, tmp_path: Path
) -> None:
    pytest.importorskip("laplace", reason=NEEDS)
    base = replace(planned(workload), limit=40, mc=(1, 3), seeds=1)
    shift = ShiftPlan(replace(base, mc=(3,)), (), (), ())
    asked = MethodsPlan(base, shift, ("mean", "laplace"), ("FP32", "INT8"), (1, 3), 50, False)
    records = studied("methods", asked, tmp_path)
    names = [(one.subject.method, one.subject.format) for one in records]
    assert names == [("mean", "FP32"), ("mean", "INT8"), ("laplace", "FP32"), ("laplace", "INT8")]
    chosen = f"prior precision {fitted(prepare(planned(workload)), DIAGONAL).precision:g}"
    assert [one.body.chosen for one in records] == ["", "", chosen, chosen]
    assert all(len(one.subject.networks) == 2 for one in records[2:])
    (found,) = analyse(records, asked)
    (note,) = scores_sheet("t", found.clean).notes
    assert note.endswith(f"Chosen on validation images: laplace: {chosen}.")
