"""Passes with dropout, held against PyTorch, pass by pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.methods.dropout import MaskedLayers
from sigmabench.harness.methods.method import METHODS, LoadedMethod
from sigmabench.harness.methods.trunk import OnTrunk
from sigmabench.harness.posterior import save
from sigmabench.harness.workload.choices import plan_from
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import Prepared, prepare
from sigmabench.harness.workload.workload import WORKLOADS, Workload

DIGITS = WORKLOADS.get("lenet-digits")
RATE = 0.25
#: Places, and whether a trunk lies before them.
PLACES = {("conv1", "fc2"): False, ("conv2", "fc1", "fc3"): True, ("fc3",): True}


def planned(workload: Workload) -> Plan:
    return plan_from(workload)


def workload(folder: Path, **recipe: Any) -> Workload:
    """The digits, with their mean network as if it had been trained so."""
    path = folder / "network.safetensors"
    save(DIGITS.load_posterior()[0].scaled(0.0), path, {"recipe": recipe})
    return replace(DIGITS, name="own", dropout=path)


def loaded(folder: Path, layers: tuple[str, ...]) -> tuple[LoadedMethod, Prepared]:
    own = workload(folder, dropout=RATE, dropout_at=list(layers))
    prepared = prepare(planned(own))
    return METHODS.get("dropout").made(prepared, "FP32").load(1), prepared


def masked(one: LoadedMethod) -> MaskedLayers:
    rest = one.passes.rest if isinstance(one.passes, OnTrunk) else one.passes
    assert isinstance(rest, MaskedLayers)
    return rest


def by_pytorch(x: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """Logits of the network whose layers read their inputs times masks."""
    module = DIGITS.load_posterior()[0].load_into(DIGITS.model()).eval()
    for name, mask in masks.items():

        def times(_: nn.Module, inputs: tuple[Tensor], mask: Tensor = mask) -> Tensor:
            (given,) = inputs
            return given * mask.reshape(given.shape[1:]) if given.ndim == 2 else given * mask

        module.get_submodule(name).register_forward_pre_hook(times)
    with torch.no_grad():
        found: Tensor = module(x)
    return found


@pytest.mark.parametrize("layers", PLACES)
def test_each_pass_is_the_network_with_masks_of_its_own(
    layers: tuple[str, ...], tmp_path: Path
) -> None:
    one, prepared = loaded(tmp_path, layers)
    assert isinstance(one.passes, OnTrunk) == PLACES[layers]
    x = prepared.splits.validation.batch(slice(0, 9))
    logits = one.passes.logits(x, 5, range(1, 4))
    names = {conv.name: conv.weight[: -len(".weight")] for conv in prepared.model.graph.convs}
    for t, found in zip(range(1, 4), logits, strict=True):
        masks = {names[name]: mask for name, mask in masked(one).masks(5, t).items()}
        assert sorted(masks) == sorted(layers)
        torch.testing.assert_close(found, by_pytorch(x, masks), rtol=1e-4, atol=1e-4)
    assert len(logits.unique(dim=0)) == 3
    assert one.chosen == f"rate 0.25 at {', '.join(layers)}"


def test_what_is_predicted_depends_neither_on_other_images_nor_on_other_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, prepared = loaded(tmp_path, ("conv2", "fc1"))
    x = prepared.splits.validation.batch(slice(0, 6))
    whole = one.passes.logits(x, 5, range(7))
    torch.testing.assert_close(one.passes.logits(x[2:4], 5, range(3, 6)), whole[3:6, 2:4])
    monkeypatch.setattr("sigmabench.harness.methods.dropout.STACKED", 12)  # two passes at once
    torch.testing.assert_close(one.passes.logits(x, 5, range(7)), whole)
    assert not one.passes.logits(x, 6, range(1)).allclose(whole[:1], atol=1e-3)


def test_inputs_are_dropped_at_the_rate_and_the_others_make_up_for_it(tmp_path: Path) -> None:
    one, _ = loaded(tmp_path, ("conv2", "fc1"))
    masks = [list(masked(one).masks(3, t).values()) for t in range(2000)]
    for place, shape in enumerate(((16, 1, 1), (32, 2, 2))):
        values = torch.stack([each[place] for each in masks])
        assert values.shape[1:] == shape
        assert values.unique().tolist() == pytest.approx([0.0, 1 / (1 - RATE)])
        count = values.numel()
        assert abs(float((values == 0).double().mean()) - RATE) < 5 * (RATE / count) ** 0.5
        pairs = torch.corrcoef(values.flatten(1)[:, :16].T)
        assert float((pairs - torch.eye(16)).abs().max()) < 0.12


@pytest.mark.parametrize(
    "recipe", [{}, {"dropout": 0.1}, {"dropout": 1.5, "dropout_at": ["fc1"]}, {"dropout": "0.1"},
               {"dropout": 0.1, "dropout_at": [1]}]
)  # fmt: skip
def test_a_network_without_dropout_is_refused_in_one_sentence(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    prepared = prepare(planned(workload(tmp_path, **recipe)))
    message = r"^.*network\.safetensors was trained without dropout; give a network of a recipe"
    with pytest.raises(UserError, match=message):
        METHODS.get("dropout").made(prepared, "FP32").load(1)


def test_a_layer_that_the_network_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="drops out inputs of fc9, which is not a layer of its"):
        loaded(tmp_path, ("fc9",))


def test_a_posterior_is_no_network_with_dropout(tmp_path: Path) -> None:
    path = tmp_path / "posterior.safetensors"
    recipe = {"dropout": 0.1, "dropout_at": ["fc1"]}
    save(DIGITS.load_posterior()[0], path, {"recipe": recipe})
    prepared = prepare(planned(replace(DIGITS, dropout=path)))
    with pytest.raises(UserError, match=r"posterior\.safetensors is a posterior, and"):
        METHODS.get("dropout").made(prepared, "FP32").load(1)


def test_dropout_asked_of_a_network_that_has_none_is_one_sentence(tmp_path: Path) -> None:
    asked = ["methods", "lenet-digits", "--methods", "dropout", "--results", str(tmp_path)]
    told = CliRunner().invoke(main, asked)
    assert told.exit_code == 2
    assert " ".join(told.output.split()).endswith(
        "lenet-digits has nothing of dropout in FP32, INT8, INT8_SIGMA1: no network of "
        "lenet-digits was trained with dropout."
    )


def test_what_there_is_not_has_a_reason(tmp_path: Path) -> None:
    method, own = METHODS.get("dropout"), planned(workload(tmp_path))
    assert method.without(own, "FP32") is None
    for format in ("INT8", "INT8_SIGMA1"):
        assert method.without(own, format) == "the int8 runtime draws weights and no masks"
    for name in ("lenet-digits", "resnet20-cifar10", "histology-colorectal"):
        told = method.without(planned(WORKLOADS.get(name)), "FP32")
        assert told == f"no network of {name} was trained with dropout"
    assert len(method.networks(own)) == 1
    with pytest.raises(UserError, match="No network of lenet-digits was trained with dropout"):
        method.networks(planned(DIGITS))
