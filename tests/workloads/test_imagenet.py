"""ImageNet from image files: parts, weights, MOPED, and images that cannot be read."""

from __future__ import annotations

import csv
import json
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from imagenet_toy import WORKLOAD, downloaded, network
from PIL import Image
from safetensors.torch import save_file

from sigmabench.harness import imagenet
from sigmabench.harness.cli import main
from sigmabench.harness.errors import UserError
from sigmabench.harness.imagenet import synsets, with_weights
from sigmabench.harness.plan import Plan
from sigmabench.harness.prepare import load_networks, prepare
from sigmabench.harness.store import RECORDS, Store
from sigmabench.harness.sweep import run
from sigmabench.harness.workload import resolve_workload

TENCH, GOLDFISH = 0, 1


def paint(path: Path, label: int, seed: int) -> None:
    """Class 0 dark, class 1 bright."""
    rng = np.random.default_rng([label, seed])
    pixels = rng.integers(0, 100, (18, 20, 3)) + 150 * label
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """512 images in folders of their classes."""
    home = tmp_path_factory.mktemp("calibration")
    for index in range(512):
        label = index // 256
        paint(home / synsets()[label] / f"{index}.png", label, index)
    return home


@pytest.fixture
def root(tmp_path: Path, calibration: Path) -> Path:
    """The calibration images, and 6 test images beside a table."""
    home = tmp_path / "imagenet"
    home.mkdir()
    (home / "calibration").symlink_to(calibration)
    rows = []
    for index in range(6):
        paint(home / "test" / "images" / f"{index}.jpg", index % 2, 1000 + index)
        rows.append((f"images/{index}.jpg", index % 2))
    with (home / "test" / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label"), *rows])
    return tmp_path


def test_parts_and_their_order(root: Path) -> None:
    splits = WORKLOAD.splits(root)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (512, 512, 6)
    assert splits.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    first = splits.train.labels[:64].bincount()
    assert first.min() > 16, "the first images are of all classes"
    assert sorted(splits.train.images.names) == sorted(splits.validation.images.names)
    again = WORKLOAD.splits(root)
    assert list(again.train.images.names) == list(splits.train.images.names)
    bright = splits.train.images[:64].float().mean((1, 2, 3)) > 125
    assert torch.equal(bright.long(), splits.train.labels[:64]), "labels go with their images"


def test_a_tar_and_a_validation_part(root: Path) -> None:
    home = root / "imagenet"
    with tarfile.open(home / "validation.tar", "w:") as archive:
        archive.add(home / "test", ".")
    assert len(WORKLOAD.splits(root).validation) == 6


def test_validation_is_held_out_where_there_are_enough(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "KEPT", 412)
    splits = WORKLOAD.splits(root)
    assert (len(splits.train), len(splits.validation)) == (412, 100)
    assert not set(splits.train.images.names) & set(splits.validation.images.names)
    monkeypatch.setattr(imagenet, "HELD_OUT", 50)
    assert len(WORKLOAD.splits(root).validation) == 50


@pytest.mark.parametrize("part", ["calibration", "test"])
def test_a_part_that_is_missing(root: Path, part: str) -> None:
    (root / "imagenet" / part).rename(root / "elsewhere")
    with pytest.raises(UserError, match=f"no folder or .tar {part} or (train|val) in .*imagenet"):
        WORKLOAD.splits(root)


def test_no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMABENCH_DATA", raising=False)
    with pytest.raises(UserError, match="There is no data directory; put ImageNet into"):
        WORKLOAD.splits(None)


def weights(root: Path, state: dict[str, torch.Tensor]) -> None:
    (root / "weights").mkdir(exist_ok=True)
    save_file(state, root / "weights" / "toy.safetensors")


def test_weights_come_from_the_data_root_first(root: Path) -> None:
    state = {name: value + 1 for name, value in downloaded().items() if value.is_floating_point()}
    assert torch.equal(WORKLOAD.load_twin(root)[0].mean["conv.weight"], downloaded()["conv.weight"])
    weights(root, state)  # without the counter of batches
    posterior, _ = WORKLOAD.load_posterior(data=root)
    assert torch.equal(posterior.mean["conv.weight"], state["conv.weight"])
    assert torch.equal(posterior.state["norm.running_mean"], state["norm.running_mean"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("fc.bias"), "lacks fc.bias"),
        (lambda s: s.update({"fc.bias": torch.zeros(10)}), r"fc.bias .* has shape \[10\] and"),
        (lambda s: s.update({"fc2.bias": torch.zeros(10)}), "has fc2.bias, which the network has"),
        (lambda s: s.update({"fc.bias": torch.full((1000,), torch.nan)}), "holds NaN"),
    ],
)
def test_weights_of_another_architecture(root: Path, change, said: str) -> None:
    state = downloaded()
    change(state)
    weights(root, state)
    with pytest.raises(UserError, match=f"toy.safetensors.*{said}|{said}"):
        WORKLOAD.load_posterior(data=root)


def test_weights_that_are_damaged_or_out_of_reach(root: Path) -> None:
    def offline() -> dict[str, torch.Tensor]:
        raise OSError("no route to host\nmore")

    with pytest.raises(
        UserError, match=r"toy cannot be downloaded \(no route to host\); put weights/toy.safet"
    ):
        with_weights(network(), "toy", root, offline)
    (root / "weights").mkdir()
    (root / "weights" / "toy.safetensors").write_bytes(b"what is this")
    with pytest.raises(UserError, match=r"toy\.safetensors cannot be read"):
        WORKLOAD.load_posterior(data=root)


def test_moped_by_the_delta_that_is_asked_for(root: Path) -> None:
    mean = downloaded()["conv.weight"]
    for delta in (None, 0.3):
        networks = load_networks(Plan(WORKLOAD, data=root, delta=delta))
        std = networks.posterior.std()["conv.weight"]
        assert torch.allclose(std, (delta or 0.1) * mean.abs(), rtol=1e-5)
        assert not networks.twin.std()["conv.weight"].any()
        assert torch.equal(networks.twin.mean["conv.weight"], mean)


def test_delta_wants_a_twin_and_no_file(root: Path) -> None:
    with pytest.raises(UserError, match=r"--posterior names .* --delta"):
        WORKLOAD.load_posterior(Path("x"), data=root, delta=0.1)
    for delta in (-1.0, 0.0, 10.1, 1e39, float("nan"), float("inf")):
        with pytest.raises(UserError, match=f"--delta is {re.escape(str(delta))}; give"):
            WORKLOAD.load_posterior(data=root, delta=delta)
    with pytest.raises(UserError, match="lenet-digits has no deterministic twin"):
        resolve_workload("lenet-digits").load_posterior(delta=0.1)


def test_the_deterministic_formats_are_the_pretrained_network(root: Path) -> None:
    prepared = prepare(Plan(WORKLOAD, data=root))
    images = prepared.splits.test.batch(slice(0, 6))
    model = network()
    model.load_state_dict(downloaded())
    with torch.no_grad():
        expected = model(images)
    from sigmabench.harness.backends.base import BACKENDS

    predictor = BACKENDS.get("float").load(prepared.artefact("DNN_FP32"), threads=1)
    assert torch.allclose(predictor.logits(images, 0, range(1))[0], expected, atol=1e-5)


def test_an_image_that_cannot_be_read_is_counted_and_named(root: Path, tmp_path: Path) -> None:
    (root / "imagenet" / "test" / "images" / "2.jpg").write_bytes(b"\xff\xd8\xff torn")
    plan = Plan(
        WORKLOAD, formats=("FP32", "INT8"), mc=(2,), batches=(2,), data=root, seeds=1, seconds=0.01
    )
    store = Store(tmp_path / "results", RECORDS)
    records = run(plan, store, "sigmabench run")
    assert [r.quality.images for r in records] == [5, 5]
    assert {r.quality.skipped for r in records} == {("images/2.jpg",)}
    assert all("cannot be read: 1 (images/2.jpg)" in r.verdict.findings[0] for r in records)
    assert store.records(WORKLOAD.name)[0].quality.skipped == ("images/2.jpg",)


def test_it_goes_to_other_processes() -> None:
    copy = pickle.loads(pickle.dumps(resolve_workload("resnet50-imagenet")))
    assert copy.name == "resnet50-imagenet"
    assert copy.pretrained.args == ("resnet50", "IMAGENET1K_V1")


def test_networks_of_collections() -> None:
    one = resolve_workload("torchvision:resnet18")
    assert (one.name, one.input_shape) == ("torchvision-resnet18", (3, 224, 224))
    other = resolve_workload("timm:resnet18.a1_in1k")
    crop = other.splits.keywords["crop"]
    assert (other.name, crop.interpolation) == ("timm-resnet18-a1-in1k", "bicubic")
    for name, said in (
        ("torchvision:resnet5", "resnet5'; did you mean resnet50"),
        ("timm:resnet1", "did you mean"),
        ("timm:vit_base_patch14_dinov2", "no classifier of ImageNet's 1000"),
    ):
        with pytest.raises(UserError, match=said):
            resolve_workload(name)


def test_the_command_line(root: Path, tmp_path: Path) -> None:
    arguments = "run imagenet_toy:WORKLOAD --formats FP32,INT8 --mc 2 --batch 2 --seeds 1"
    where = ["--seconds", "0.01", "--data", str(root), "--results", str(tmp_path / "r"), "--json"]
    result = CliRunner().invoke(main, [*arguments.split(), "--delta", "0.2", *where])
    assert result.exit_code == 0, result.output
    cells = [record["cell"] for record in json.loads(result.output)]
    assert [cell["format"] for cell in cells] == ["FP32", "INT8"]
