"""docs/data.md: the digests that it prints are those of the files."""

from __future__ import annotations

import re
from pathlib import Path

from torchvision.datasets import CIFAR10, MNIST
from torchvision.models import get_model_weights

from sigmabench.harness.data.splits import MNIST_FILES
from sigmabench.harness.posterior.content import content_hash_of
from sigmabench.harness.workload.workload import WORKLOADS
from sigmabench.workloads import resnet50_imagenet

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/data.md").read_text()


def test_every_posterior_that_ships_is_named_by_its_content():
    told = dict(re.findall(r"^\| `([\w-]+)`.*\| `([0-9a-f]{16})` \|$", PAGE, re.MULTILINE))
    files = sorted((ROOT / "workloads/posteriors").glob("*.safetensors"))
    assert told == {file.stem: content_hash_of(file)[:16] for file in files}


def test_downloads_have_the_digests_that_are_checked():
    told = dict(re.findall(r"^\| `([\w.-]+)` \| `([0-9a-f]{32})` \|$", PAGE, re.MULTILINE))
    wanted = {f"{name}.gz": md5 for name, (md5, _) in MNIST_FILES.items()}
    assert told == {**wanted, CIFAR10.filename: CIFAR10.tgz_md5}
    assert wanted == dict(MNIST.resources)


def test_test_splits_have_the_digests_that_versions_hold():
    told = re.findall(r"^\| `([\w-]+)`.* \| `([0-9a-f]{16})` \| [\d,]+ \|$", PAGE, re.MULTILINE)
    held = Path(__file__).with_name("test_versions.py").read_text()
    assert {name for name, _ in told} == set(WORKLOADS) - {"resnet50-imagenet"}
    assert all(f'"test": "{digest}"' in held for _, digest in told)


def test_the_resnet_50_is_the_one_that_is_fetched():
    chosen = get_model_weights("resnet50")[resnet50_imagenet.WEIGHTS]
    assert f"`{chosen.url.rpartition('/')[2]}`" in PAGE
    assert f"{resnet50_imagenet.DELTA}·|w|" in " ".join(PAGE.split())


def test_every_workload_says_where_its_images_are_from():
    assert all(f"`{name}`" in PAGE for name in WORKLOADS)
