"""A shipped workload's version stands for its network, its preprocessing and its images: what
changes one of them without raising the version fails here.

    PYTHONPATH=tests python tests/workloads/test_versions.py

prints the table anew, after a version was raised.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import own_workload
import pytest
import torch
from torch import Tensor, nn

from sigmabench.harness.core.whole import content_hash, json_text
from sigmabench.harness.data.images import Crop
from sigmabench.harness.quantize.identity import network_digest
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import load_networks
from sigmabench.harness.workload.workload import WORKLOADS, Workload

#: Workload to version, network, and the parts by name. Images of `resnet50-imagenet` are the
#: user's own, and have digests in the key; what becomes of them is here.
GOLDEN: dict[str, tuple[str, str, dict[str, str]]] = {
    "histology-colorectal": (
        "1",
        "de483c7d44176132",
        {
            "train": "ed14c929c79737ee",
            "validation": "22efb9d615e4927d",
            "test": "bf33c22d6736da1e",
            "held-out-slides": "48bd998d8188440c",
            "other-cohort": "b85e940483d177f4",
        },
    ),
    "lenet-digits": (
        "1",
        "b615c601b2731c26",
        {"train": "49cdc0bc041ce05c", "validation": "23d3696304133b31", "test": "af0251a9e06cfd99"},
    ),
    "lenet5-mnist": (
        "1",
        "7e4b9c70bd82a33b",
        {"train": "a06643d243939d8b", "validation": "925a51ac4b7c5346", "test": "a4991da92bd88570"},
    ),
    "resnet20-cifar10": (
        "1",
        "1c13b1a484cc7c36",
        {"train": "2aaf7f65e18084bd", "validation": "78804909000d900e", "test": "926f88d8869308ea"},
    ),
    "resnet50-imagenet": ("2", "19646be9ce319f15", {"preprocessing": "5f92f14e6ebb2b39"}),
}
NEEDED = {
    "lenet5-mnist": "MNIST/raw",
    "resnet20-cifar10": "cifar10.npz",
    "histology-colorectal": "colorectal-histology/kather2016_64x64_gray.npz",
}


def parts(workload: Workload, root: Path | None) -> dict[str, str]:
    """Digest of each part, or of what becomes of images where they are the user's own."""
    splits = getattr(workload.splits, "function", workload.splits)  # inside its guard
    if isinstance(splits, partial):
        way = {
            name: asdict(value) if isinstance(value, Crop) else value
            for name, value in splits.keywords.items()
        }
        return {"preprocessing": content_hash(json_text(way))[:16]}
    found = workload.splits(root)
    named = {"train": found.train, "validation": found.validation, "test": found.test}
    return {name: part.digest()[:16] for name, part in {**named, **found.others}.items()}


def network(workload: Workload) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return network_digest(workload.model(), workload.input_shape)[:16]


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_the_version_says_what_the_network_computes(name: str) -> None:
    workload = WORKLOADS.get(name)
    version, digest, _ = GOLDEN[name]
    assert (workload.version, network(workload)) == (version, digest), (
        "raise the version, and put the new digests here"
    )


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_the_version_says_what_the_images_are(name: str) -> None:
    root = os.environ.get("SIGMABENCH_DATA")
    if name in NEEDED and not (root and (Path(root) / NEEDED[name]).exists()):
        pytest.skip(f"SIGMABENCH_DATA names no directory with {NEEDED[name]}")
    workload = WORKLOADS.get(name)
    version, _, golden = GOLDEN[name]
    found = parts(workload, Path(root) if root else None)
    optional = {part: golden[part] for part in found if part in golden}
    assert (workload.version, found) == (version, optional)
    assert set(golden) - set(found) <= set(workload.other_splits)


class Net(nn.Module):
    """One thing of each kind that a digest has to see."""

    def __init__(self, slope: float = 0.1, seed: int = 1, stride: int = 1, name: str = "fc"):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=stride)
        setattr(self, name, nn.Linear(4, 3))
        self.name, self.slope = name, slope
        self.hidden = torch.randn(3, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("lost", torch.full((3,), float(seed > 1)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.conv(x), self.slope).mean((2, 3))
        return getattr(self, self.name)(x) + self.hidden + self.lost


class Sooner(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.conv(x), self.slope).amax((2, 3))
        return getattr(self, self.name)(x) + self.hidden + self.lost


def changed_buffer() -> nn.Module:
    found = Net()
    found.lost = found.lost + 1
    return found


SHAPE = (1, 8, 8)


@pytest.mark.parametrize(
    "other",
    [lambda: Net(slope=0.2), lambda: Net(seed=2), lambda: Net(stride=2), lambda: Net(name="head"),
     Sooner, changed_buffer, lambda: Net().double().float().requires_grad_(False).bfloat16()],
)  # fmt: skip
def test_every_change_of_the_network_is_another_digest(other) -> None:
    module = other()
    if next(module.parameters()).dtype != torch.float32:
        module.forward = lambda x: Net.forward(module, x.bfloat16()).float()
    assert network_digest(module, SHAPE) != network_digest(Net(), SHAPE)


def test_weights_and_what_has_no_effect_are_no_part_of_it() -> None:
    torch.manual_seed(3)
    once, again = Net(), Net()
    assert not torch.equal(once.conv.weight, again.conv.weight)
    assert network_digest(once, SHAPE) == network_digest(again.train(), SHAPE)
    assert network_digest(once, SHAPE) != network_digest(once, (1, 9, 9))


@pytest.mark.thorough
def test_another_process_sees_the_same_digest() -> None:
    program = (
        "from test_versions import Net, SHAPE, network_digest\nprint(network_digest(Net(), SHAPE))"
    )
    tests = Path(__file__).parent
    paths = [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert told.stdout.strip() == network_digest(Net(), SHAPE)


def key(workload: Workload) -> str:
    plan = Plan(workload, formats=("FP32",), mc=(2,), batches=(1,), limit=9)
    (cell,) = plan.cells(load_networks(plan))
    return cell.key


class Louder(type(own_workload.DIGITS.model())):
    """The same layers, another forward function."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def louder() -> nn.Module:
    return Louder(OrderedDict(own_workload.DIGITS.model().named_children()))


def repainted(root: Path | None, part: str, index: int) -> object:
    found = own_workload.splits(root)
    images = getattr(found, part).images.clone()
    images[index, 0, 0, 0] ^= 1
    return replace(found, **{part: replace(getattr(found, part), images=images)})


def restated(root: Path | None) -> object:
    found = own_workload.splits(root)
    return replace(found, test=replace(found.test, std=(0.377,)))


def test_the_keys_of_a_users_own_workload_follow_its_network_and_its_images() -> None:
    own = own_workload.WORKLOAD
    assert key(own) == key(replace(own, title="other words"))
    others = [
        replace(own, model=louder),
        replace(own, splits=partial(repainted, part="test", index=8)),
        replace(own, splits=partial(repainted, part="train", index=1023)),
        replace(own, splits=restated),
    ]
    assert len({key(own), *map(key, others)}) == 5
    unseen = replace(own, splits=partial(repainted, part="test", index=9))
    assert key(unseen) == key(own), "neither scored nor calibrated on"


def test_a_shipped_workload_has_its_version_for_both() -> None:
    digits = own_workload.DIGITS
    plan = Plan(digits, formats=("FP32",), mc=(2,), batches=(1,))
    (cell,) = plan.cells(load_networks(plan))
    assert (cell.data, cell.network) == ("", "")
    assert digits.ships
    assert not replace(digits, title="a user's copy of the same name").ships


if __name__ == "__main__":
    data = os.environ.get("SIGMABENCH_DATA")
    for one in map(WORKLOADS.get, WORKLOADS):
        row = (one.version, network(one), parts(one, Path(data) if data else None))
        print(f"    {one.name!r}: {row!r},")
