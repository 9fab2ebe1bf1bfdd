from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Splits
from sigmabench.harness.posterior.augment import CropAndFlip
from sigmabench.harness.posterior.recipe import Piecewise
from sigmabench.harness.training.score import score
from sigmabench.harness.training.train import train, train_command
from sigmabench.harness.workload.workload import WORKLOADS, Workload, resolve_workload

NAMES = ["lenet-digits", "lenet5-mnist", "resnet20-cifar10"]


def load_splits(workload: Workload) -> Splits:
    if workload.name == "lenet-digits":
        return workload.splits(None)
    root = os.environ.get("SIGMABENCH_DATA")
    needed = {
        "lenet5-mnist": "MNIST/raw",
        "resnet20-cifar10": "cifar10.npz",
        "histology-colorectal": "colorectal-histology/kather2016_64x64_gray.npz",
    }[workload.name]
    if not root or not (Path(root) / needed).exists():
        pytest.skip(f"SIGMABENCH_DATA names no directory with {needed}")
    return _from_root(workload.name, Path(root))


@cache
def _from_root(name: str, root: Path) -> Splits:
    return WORKLOADS.get(name).splits(root)


def test_names() -> None:
    assert [name for name in WORKLOADS.names() if name in NAMES] == NAMES
    assert resolve_workload("lenet-digits") is resolve_workload(
        "sigmabench.workloads.lenet_digits:WORKLOAD"
    )
    with pytest.raises(UserError, match="did you mean lenet5-mnist"):
        resolve_workload("lenet5_mnist")
    with pytest.raises(UserError, match="ModuleNotFoundError"):
        resolve_workload("no_such_module:WORKLOAD")
    with pytest.raises(UserError, match="is a PosixPath; give the name of a Workload"):
        resolve_workload("sigmabench.workloads.lenet_digits:POSTERIORS")


@pytest.mark.parametrize("name", NAMES)
def test_the_network_takes_the_input_and_has_only_plain_layers(name: str) -> None:
    workload = WORKLOADS.get(name)
    module = workload.model()
    assert module(torch.zeros(3, *workload.input_shape)).shape == (3, workload.classes)
    if name == "resnet20-cifar10":
        return
    plain = (nn.Sequential, nn.Conv2d, nn.Linear, nn.ReLU, nn.MaxPool2d, nn.Flatten)
    assert all(type(layer) in plain for layer in module.modules())


@pytest.mark.parametrize(
    ("name", "parameters"), [("lenet5-mnist", 61_706), ("resnet20-cifar10", 269_722)]
)
def test_networks_have_the_papers_sizes(name: str, parameters: int) -> None:
    module = WORKLOADS.get(name).model()
    assert sum(p.numel() for p in module.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("lenet-digits", [1097, 200, 500]),
        ("lenet5-mnist", [55000, 5000, 10000]),
        ("resnet20-cifar10", [45000, 5000, 10000]),
    ],
)
def test_splits_are_disjoint_stratified_and_normalised(name: str, sizes: list[int]) -> None:
    workload = WORKLOADS.get(name)
    splits = load_splits(workload)
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == sizes
    assert [part.name for part in parts] == ["train", "validation", "test"]
    for part in parts:
        assert tuple(part.images.shape[1:]) == workload.input_shape
        share = torch.bincount(part.labels, minlength=10) / len(part)
        assert 0.08 < float(share.min()) <= float(share.max()) < 0.12
    pixels = splits.train.batch(slice(0, 20000))
    assert abs(float(pixels.mean())) < 0.01
    assert abs(float(pixels.std()) - 1) < 0.01
    again = workload.splits(
        Path(os.environ.get("SIGMABENCH_DATA", "")) if name != NAMES[0] else None
    )
    assert torch.equal(again.validation.images, splits.validation.images)


def test_digits_parts_share_no_image() -> None:
    splits = load_splits(WORKLOADS.get("lenet-digits"))
    seen = [
        {bytes(image.numpy().tobytes()) for image in part.images}
        for part in (splits.train, splits.validation, splits.test)
    ]
    assert sum(map(len, seen)) == len(seen[0] | seen[1] | seen[2]) == 1797
    assert int(splits.train.images.max()) == 255
    assert len(splits.train.images.unique()) == 17


def test_digits_parts_are_those_of_the_shipped_posterior() -> None:
    """Another version of scikit-learn must not move an image that was trained on elsewhere."""
    splits = load_splits(WORKLOADS.get("lenet-digits"))
    parts = (splits.train, splits.validation, splits.test)
    digests = [hashlib.sha256(part.images.numpy()).hexdigest()[:16] for part in parts]
    assert digests == ["99f7acebb1b04cfa", "01f73e78ce593794", "54e8921b30bada17"]


def test_mnist_validation_is_cut_out_of_training() -> None:
    splits = load_splits(WORKLOADS.get("lenet5-mnist"))
    train_images = {image.numpy().tobytes() for image in splits.train.images}
    held = {image.numpy().tobytes() for image in splits.validation.images}
    assert not train_images & held


def test_the_papers_recipe_for_resnet20_is_the_papers() -> None:
    recipe = WORKLOADS.get("resnet20-cifar10").recipe("paper")
    assert (recipe.optimizer, recipe.lr, recipe.batch, recipe.epochs) == ("adam", 0.001, 128, 200)
    assert recipe.schedule == Piecewise((80, 120, 160, 180), (0.1, 0.01, 0.001, 0.0005))
    assert recipe.kl_temperature == 1
    assert recipe.augmentation == CropAndFlip(4, True)


def test_the_papers_recipe_is_the_papers() -> None:
    recipe = WORKLOADS.get("lenet5-mnist").recipe("paper")
    assert (recipe.optimizer, recipe.lr, recipe.batch, recipe.epochs) == ("adam", 0.01, 128, 80)
    assert recipe.schedule == Piecewise((40, 60), (0.1, 0.01))
    assert recipe.kl_temperature == 1
    assert recipe.augmentation is None


@pytest.mark.parametrize("name", ["paper", "best"])
def test_mnist_recipes_learn_in_a_few_steps(name: str, tmp_path: Path) -> None:
    workload = WORKLOADS.get("lenet5-mnist")
    small = load_splits(workload)
    small = replace(small, validation=small.validation.limit(200))
    workload = replace(workload, splits=lambda root: small)
    recipe = replace(workload.recipe(name), epochs=3, kl_warmup=3.0)
    found = train(workload, recipe, out=tmp_path / "p", limit=2560, progress=False)
    assert found.metadata["validation"]["accuracy_percent"] > 50


@pytest.mark.parametrize(
    "name",
    ["twin", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("best", "paper"))],
)
def test_cifar10_recipes_take_a_step(name: str, tmp_path: Path) -> None:
    """That the loss falls is for whole runs; a step of each shows that they run at all."""
    workload = WORKLOADS.get("resnet20-cifar10")
    small = load_splits(workload)
    small = replace(small, validation=small.validation.limit(20))
    workload = replace(workload, splits=lambda root: small)
    recipe = replace(workload.recipe(name), epochs=1, batch=32)
    found = train(workload, recipe, out=tmp_path / "p", limit=64, progress=False)
    assert found.metadata["log"][0]["nll_nats"] < 4


SHIPPED = [
    (name, path)
    for name in (*NAMES, "histology-colorectal")
    for path in (
        WORKLOADS.get(name).posterior,
        *WORKLOADS.get(name).replicas,
        *filter(None, [WORKLOADS.get(name).twin]),
    )
]


@pytest.mark.parametrize(("name", "path"), SHIPPED)
def test_shipped_posteriors_fit_and_say_how_they_were_made(name: str, path: Path) -> None:
    workload = WORKLOADS.get(name)
    posterior, metadata = workload.load_posterior(path)
    recipe, seed = workload.recipe(metadata["recipe"]["name"]), metadata["seed"]
    assert recipe.deterministic == (path == workload.twin)
    assert metadata["workload"] == name
    assert metadata["workload_version"] == workload.version
    assert metadata["recipe"] == recipe.as_metadata()
    assert metadata["command"] == train_command(name, recipe.name, seed)
    assert path.stat().st_size < 100_000 + 8 * posterior.parameter_count
    if recipe.delta is not None:
        assert metadata["start"] == workload.load_twin()[0].content_hash()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, marks=[pytest.mark.thorough] if index else [])
        for index, (name, path) in enumerate(SHIPPED)
    ],
)
def test_shipped_posteriors_score_what_they_say(name: str, path: Path) -> None:
    """Of CIFAR-10 on a fifth of the validation split: within three standard errors of the whole. Of
    histology on all of it, which is so small that other draws change a point."""
    workload = WORKLOADS.get(name)
    posterior, metadata = workload.load_posterior(path)
    said = metadata["validation"]
    validation = load_splits(workload).validation
    part = validation.limit(1000 if "cifar" in name else None)
    mc = min(10 if len(part) == len(validation) else 5, said["mc"])
    found = score(workload.model(), posterior, part, mc=mc, seed=0)
    points, nats = (0.6, 0.004) if len(part) == len(validation) else (2.6, 0.08)
    if name == "histology-colorectal":
        points, nats = 2.0, 0.05
    assert found["accuracy_percent"] == pytest.approx(said["accuracy_percent"], abs=points)
    assert found["nll_nats"] == pytest.approx(said["nll_nats"], abs=nats)


def test_a_workload_without_posterior_says_so() -> None:
    workload = replace(WORKLOADS.get("lenet-digits"), posterior=None)
    with pytest.raises(UserError, match="No posterior ships with lenet-digits; train one"):
        workload.load_posterior()
    other = WORKLOADS.get("lenet5-mnist")
    with pytest.raises(UserError, match=r"lenet-digits\.safetensors has shape"):
        other.load_posterior(WORKLOADS.get("lenet-digits").posterior)


@pytest.mark.parametrize("name", ["lenet-digits", "lenet5-mnist"])
def test_paper_s_figures_are_metrics_and_formats_of_ours(name: str) -> None:
    """A misspelt metric would leave its column out of the comparison without a word."""
    from sigmabench.harness.core.formats import FORMATS
    from sigmabench.harness.metrics.metric import METRICS

    for format, figures in resolve_workload(name).paper.items():
        assert format in FORMATS.names()
        assert set(figures) <= set(METRICS.names())
