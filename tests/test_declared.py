"""What is declared is held against data and network; one sentence says what does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Split, Splits
from sigmabench.harness.training.train import train
from sigmabench.harness.workload.declared import are_probabilities, check_network, splits_of
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import prepare
from sigmabench.harness.workload.workload import WORKLOADS, Workload, resolve_workload

SHAPE = (3, 4, 5)
CLASSES = 4


class Net(nn.Module):
    def __init__(self, outputs: int = CLASSES, end: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.layer, self.end = nn.Linear(60, outputs), end

    def forward(self, x: Tensor) -> Any:
        found = 8 * self.layer(x.flatten(1))
        return self.end(found) if self.end else found


def split(name: str, **changed: Any) -> Split:
    count = 6
    generator = torch.Generator().manual_seed(0)
    given = {
        "images": torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8),
        "labels": torch.arange(count) % CLASSES,
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
        "classes": CLASSES,
    }
    return Split(name, **{**given, **changed})


def loader(**changed: Any) -> Callable[[Path | None], Splits]:
    def load(root: Path | None) -> Splits:
        return Splits(split("train"), split("validation"), split("test", **changed))

    return load


def workload(net: Callable[[], nn.Module] = Net, **changed: Any) -> Workload:
    def made(root: Path | None = None) -> nn.Module:
        torch.manual_seed(0)
        return net()

    given = {
        "name": "mine", "version": "1", "title": "mine", "model": made, "splits": loader(),
        "input_shape": SHAPE, "classes": CLASSES, "recipes": {}, "pretrained": made, "delta": 0.1,
    }  # fmt: skip
    return Workload(**{**given, **changed})


def refusal(one: Workload) -> str:
    with pytest.raises(UserError) as error:
        prepare(Plan(one, threads=1))
    return str(error.value)


LAST = split("test").images.permute(0, 2, 3, 1).contiguous()  # type: ignore[union-attr]
HOT = nn.functional.one_hot(split("test").labels, CLASSES)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mean": (127.0,) * 3}, "mean of the test split has 127.0; give shares of pixel / 255"),
        ({"mean": (-0.1, 0.5, 0.5)}, "mean of the test split has -0.1; give shares"),
        ({"mean": (float("nan"),) * 3}, "mean of the test split has nan; give shares"),
        ({"std": (64.0,) * 3}, "std of the test split has 64.0; give .* above 0 up to 1"),
        ({"std": (0.0,) * 3}, "std of the test split has 0.0; give .* above 0 up to 1"),
        ({"mean": (0.5,)}, "mean of the test split has length 1; give 3, one number for each"),
        ({"std": (0.2,) * 4}, "std of the test split has length 4; give 3"),
        (
            {"images": LAST},
            r"are of \[N, 4, 5, 3\] \(channels stand last; .*give \[N, 3",
        ),
        (
            {"images": LAST[..., 0][:, None]},
            r"are of \[N, 1, 4, 5\]; give \[N, 3, 4, 5\]",
        ),
        ({"images": LAST.float()}, "test split's images are torch.float32 .*; give uint8"),
        ({"labels": HOT}, r"test split's labels are torch.int64 of shape \[6, 4\]; give .* \[6\]"),
        (
            {"labels": HOT[:, 0].float()},
            r"labels are torch.float32 of shape \[6\]; give",
        ),
        ({"labels": [0.5] * 6}, r"labels are torch.float64 of shape \[6\]; give integers"),
        ({"labels": torch.arange(6)}, "has label 4; labels of 4 classes run from 0 to 3"),
        ({"labels": torch.arange(5) % 4}, "has 6 images and 5 labels"),
        ({"sources": torch.arange(5)}, r"has 6 images and sources of shape \(5,\)"),
        ({"classes": 5}, "classes of the test split is 5; give 4, as the workload declares"),
        ({"name": "train"}, "The splits' `name` has 'train' twice"),
    ],
)
def test_data_that_do_not_fit(changed: dict[str, Any], message: str) -> None:
    name = changed.pop("name", "test")

    def load(root: Path | None) -> Splits:
        return Splits(split("train"), split("validation"), split(name, **changed))

    assert re.match(f"mine: .*{message}", refusal(workload(splits=load)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_shape": (4, 5)}, r"input_shape is \(4, 5\); give \(C, H, W\)"),
        ({"input_shape": (3, 4, 0)}, r"input_shape is \(3, 4, 0\)"),
        ({"class_names": ("a", "b")}, "class_names has 2 names; give 4"),
        ({"class_names": ("a", "b", "c", "a")}, "class_names has 'a' twice"),
        ({"other_splits": ("test",)}, "other_splits has 'test' twice"),
        ({"other_splits": ("far",)}, r"other_splits is \['far'\], but .* are \[\]"),
        ({"classes": 1}, "classes is 1; give at least 2"),
    ],
)
def test_declarations_that_do_not_fit(changed: dict[str, Any], message: str) -> None:
    assert re.match(f"mine: {message}", refusal(workload(**changed)))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            lambda: Net(10),
            r"returns torch.float32 of shape \[2, 10\] .*; give logits.*4\]",
        ),
        (lambda: Net(3), r"returns torch.float32 of shape \[2, 3\]"),
        (lambda: Net(end=lambda y: y.softmax(1)), "returns probabilities .*; give logits"),
        (lambda: Net(end=lambda y: y.argmax(1)), r"returns torch.int64 of shape \[2\]"),
        (lambda: Net(end=lambda y: (y, y)), "returns tuple; give logits"),
        (lambda: nn.Conv2d(1, 4, 1), r"takes no images of input_shape \[3, 4, 5\] \(.*channels"),
    ],
)
def test_networks_that_do_not_fit(net: Callable[[], nn.Module], message: str) -> None:
    assert re.match(f"mine: The network {message}", refusal(workload(net)))


def test_log_softmax_is_as_good_as_logits() -> None:
    one = workload(lambda: Net(end=lambda y: y.log_softmax(1)))
    splits = splits_of(one, None)
    network = one.model()
    check_network(one, splits, network)
    images = splits.test.batch(slice(None))
    logits = 8 * network.layer(images.flatten(1))  # type: ignore[operator]
    torch.testing.assert_close(network(images).softmax(1), logits.softmax(1))


def test_one_image_beside_a_distribution_is_none() -> None:
    rows = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    assert are_probabilities(rows)
    assert are_probabilities(rows.bfloat16())
    assert not are_probabilities(rows + torch.tensor([[0.0, 0.0], [0.0, 0.01]]))
    assert not are_probabilities(rows + torch.tensor([[0.0, 0.0], [-0.6, 0.6]]))


def test_training_is_refused_too(tmp_path: Path) -> None:
    digits = resolve_workload("lenet-digits")
    with pytest.raises(UserError, match="lenet-digits: classes of the train split is 10; give 9"):
        train(replace(digits, classes=9), out=tmp_path / "p.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_check_leaves_network_and_generator_as_they_were() -> None:
    one = workload()
    splits, network = splits_of(one, None), Net().train()
    before = torch.get_rng_state()
    check_network(one, splits, network)
    assert network.training
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["lenet-digits", "lenet5-mnist", "resnet20-cifar10"])
def test_no_shipped_workload_is_refused(name: str, data_root: Path) -> None:
    one = WORKLOADS.get(name)
    network = one.load_posterior()[0].load_into(one.model())
    check_network(one, splits_of(one, data_root), network)
