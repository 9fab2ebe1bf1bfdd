"""ImageNet from image files: parts, weights, MOPED, and images that cannot be read."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import re
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from imagenet_toy import WORKLOAD, downloaded, network
from PIL import Image
from safetensors.torch import save_file
from studied import studied
from timm import get_pretrained_cfg
from timm.data import ImageNetInfo

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data import imagenet
from sigmabench.harness.data.imagenet import check_hash_in_name, synsets, with_weights
from sigmabench.harness.data.images import Crop
from sigmabench.harness.posterior import moped
from sigmabench.harness.posterior.recipe import Recipe
from sigmabench.harness.training.train import train
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import load_networks, prepare
from sigmabench.harness.workload.workload import resolve_workload
from sigmabench.workloads.imagenet import torchvision_pretrained
from sigmabench.workloads.networks import torchvision_network
from sigmabench.workloads.resnet50_imagenet import NORMS_RECIPE

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
    assert sorted(splits.test.images.names) == [f"images/{i}.jpg" for i in range(6)]
    first = splits.train.labels[:64].bincount()
    assert first.min() > 16, "the first images are of all classes"
    assert sorted(splits.train.images.names) == sorted(splits.validation.images.names)
    assert splits.validation.findings == (
        "validation images are training images too: 512 are too few to part",
    )
    again = WORKLOAD.splits(root)
    assert list(again.train.images.names) == list(splits.train.images.names)
    bright = splits.train.images[:64].float().mean((1, 2, 3)) > 125
    assert torch.equal(bright.long(), splits.train.labels[:64]), "labels go with their images"


def test_the_first_images_of_every_part_are_of_all_classes(root: Path) -> None:
    home = root / "imagenet"
    shutil.rmtree(home / "test")
    for part in ("test", "validation"):
        (home / part).symlink_to(home / "calibration")
    splits = WORKLOAD.splits(root)
    for split in (splits.train, splits.validation, splits.test):
        assert split.limit(64).labels.bincount().min() > 16
        bright = split.images[:64].float().mean((1, 2, 3)) > 125
        assert torch.equal(bright.long(), split.labels[:64]), "labels go with their images"


def test_a_tar_and_a_validation_part(root: Path) -> None:
    home = root / "imagenet"
    with tarfile.open(home / "validation.tar", "w:") as archive:
        archive.add(home / "test", ".")
    assert len(WORKLOAD.splits(root).validation) == 6


def test_validation_is_held_out_where_there_are_enough(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "KEPT", 412)
    assert len(WORKLOAD.splits(root).validation) == 512, "100 are too few to choose by"
    monkeypatch.setattr(imagenet, "HELD_OUT_LEAST", 100)
    splits = WORKLOAD.splits(root)
    assert (len(splits.train), len(splits.validation)) == (412, 100)
    assert splits.validation.findings == ()
    assert not set(splits.train.images.names) & set(splits.validation.images.names)
    monkeypatch.setattr(imagenet, "HELD_OUT", 101)
    monkeypatch.setattr(imagenet, "KEPT", 300)
    assert len(WORKLOAD.splits(root).validation) == 101


@pytest.mark.parametrize("part", ["calibration", "test"])
def test_a_part_that_is_missing(root: Path, part: str) -> None:
    (root / "imagenet" / part).rename(root / "elsewhere")
    with pytest.raises(UserError, match=f"no folder or .tar {part} or (train|val) in .*imagenet"):
        WORKLOAD.splits(root)


def test_no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMABENCH_DATA", raising=False)
    with pytest.raises(UserError, match="There is no data directory; put ImageNet into"):
        WORKLOAD.splits(None)


def weights(root: Path, state: dict[str, torch.Tensor], name: str = "toy") -> None:
    (root / "weights").mkdir(exist_ok=True)
    save_file(state, root / "weights" / f"{name}.safetensors")


def test_weights_come_from_the_data_root_first(root: Path) -> None:
    state = {name: value + 1 for name, value in downloaded().items() if value.is_floating_point()}
    assert torch.equal(WORKLOAD.load_twin(root)[0].mean["conv.weight"], downloaded()["conv.weight"])
    weights(root, state)  # without the counter of batches
    posterior, _ = WORKLOAD.load_posterior(data=root)
    assert torch.equal(posterior.mean["conv.weight"], state["conv.weight"])
    assert torch.equal(posterior.state["norm.running_mean"], state["norm.running_mean"])


def test_weights_of_one_version_go_before_those_of_any(root: Path) -> None:
    def found() -> tuple[float, tuple[str, ...]]:
        networks = load_networks(Plan(WORKLOAD, data=root))
        first = networks.twin.mean["fc.bias"][0] - downloaded()["fc.bias"][0]
        return round(float(first)), networks.findings

    def shifted(by: int) -> dict[str, torch.Tensor]:
        return {name: value + by for name, value in downloaded().items()}

    assert found() == (0, ("pretrained weights are from their hub (toy-v1)",))
    weights(root, shifted(1), "toy")
    assert found() == (1, ("pretrained weights are from weights/toy.safetensors",))
    weights(root, shifted(2), "toy-v1")
    assert found() == (2, ("pretrained weights are from weights/toy-v1.safetensors",))


def test_collections_and_versions_have_weights_of_their_own(tmp_path: Path) -> None:
    names = ("resnet50-imagenet", "torchvision:resnet50", "torchvision:resnet18", "timm:resnet18")
    (tmp_path / "weights").mkdir()
    for file in ("resnet18", "resnet50"):
        (tmp_path / "weights" / f"{file}.safetensors").touch()
    origins = [resolve_workload(name).weights_origin(tmp_path) for name in names]
    plain = [f"weights/{file}.safetensors" for file in ("resnet50", "resnet50", *["resnet18"] * 2)]
    assert origins == plain
    own = [
        "torchvision-resnet50-IMAGENET1K_V1",
        "torchvision-resnet50-IMAGENET1K_V2",
        "torchvision-resnet18-IMAGENET1K_V1",
        "timm-resnet18.a1_in1k",
    ]
    for file in own:
        (tmp_path / "weights" / f"{file}.safetensors").touch()
    origins = [resolve_workload(name).weights_origin(tmp_path) for name in names]
    assert origins == [f"weights/{file}.safetensors" for file in own]


def test_downloads_are_renamed_as_torchvision_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of DenseNets have names that no module may have any more."""
    wanted = torchvision_network("densenet121").state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): value + 1
        for name, value in wanted.items()
        if "num_batches" not in name
    }
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: dict(old)
    )
    monkeypatch.delenv("SIGMABENCH_DATA", raising=False)
    found = torchvision_pretrained("densenet121", "IMAGENET1K_V1", None).state_dict()
    name = "features.denseblock1.denselayer1.norm1.weight"
    assert torch.equal(found[name], wanted[name] + 1)


def test_a_download_of_another_architecture_is_no_failure_to_download(root: Path) -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        with_weights(network(), ["toy"], root, dict)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network's weights as torchvision's download leaves them, in PyTorch's own folder."""
    from torchvision.models import get_model, get_model_weights

    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))
    monkeypatch.delenv("SIGMABENCH_DATA", raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(get_model(SMALL).state_dict(), folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    path = (folder / "new.pth").rename(folder / f"{SMALL}-{digest[:8]}.pth")
    entry = get_model_weights(SMALL)["IMAGENET1K_V1"].value
    monkeypatch.setattr(entry, "url", f"https://nowhere.invalid/{path.name}")
    return path


SMALL = "squeezenet1_1"


def test_a_download_that_is_there_is_taken(published: Path) -> None:
    first, again = (
        torchvision_pretrained(SMALL, "IMAGENET1K_V1", None).state_dict() for _ in range(2)
    )
    kept = torch.load(published, weights_only=True)
    assert all(torch.equal(first[name], kept[name]) for name in kept)
    assert all(torch.equal(first[name], again[name]) for name in kept)


def test_a_download_that_was_changed_since_is_refused(published: Path) -> None:
    published.write_bytes(published.read_bytes() + b"more")
    with pytest.raises(UserError, match=r"squeezenet1_1-\w{8}\.pth is not what was published"):
        torchvision_pretrained(SMALL, "IMAGENET1K_V1", None)


@pytest.mark.parametrize("name", ["resnet50.pth", "vit-large.pth", "a-0123abc.pth"])
def test_a_name_that_tells_no_hash_passes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"any")
    check_hash_in_name(tmp_path / name)


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_inputs_are_transformed_as_the_weights_were_trained(name: str) -> None:
    assert torchvision_network(name).transform_input


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("fc.bias"), "lacks fc.bias"),
        (lambda s: s.update({"fc.bias": torch.zeros(10)}), r"fc.bias .* has shape \[10\] and"),
        (lambda s: s.update({"fc2.bias": torch.zeros(10)}), "fc2.bias, which the network lacks"),
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
        UserError,
        match=r"The weights toy cannot be downloaded \(no route to host\); put .*/toy.safe",
    ):
        with_weights(network(), ["toy"], root, offline)
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
    home = root / "imagenet"
    (home / "test" / "images" / "2.jpg").write_bytes(b"\xff\xd8\xff torn")
    (home / "train").mkdir()
    for folder in (home / "calibration").resolve().iterdir():
        (home / "train" / folder.name).symlink_to(folder)
    (home / "calibration").unlink()
    torn = f"{synsets()[2]}/torn.jpg"
    (home / "train" / torn).parent.mkdir()
    (home / "train" / torn).write_bytes(b"torn")
    plan = Plan(
        WORKLOAD, formats=("FP32", "INT8"), mc=(2,), batches=(2,), data=root, seeds=1, seconds=0.01
    )
    records = studied("run", plan, tmp_path / "results")
    assert [r.body.quality.images for r in records] == [5, 5]
    assert {r.body.quality.skipped for r in records} == {("images/2.jpg",)}
    lost = "images left out because they cannot be read: 1"
    origin = "pretrained weights are from their hub (toy-v1)"
    told = [record.verdict.findings for record in records]
    assert told[0][:2] == (f"{lost} (images/2.jpg)", origin)
    assert told[1][:3] == (f"{lost} (images/2.jpg)", f"calibration {lost} ({torn})", origin)


def test_other_images_are_another_cell(root: Path) -> None:
    def cells(split: str = "test") -> set[str]:
        plan = Plan(WORKLOAD, formats=("FP32",), mc=(2,), data=root, split=split)
        return {cell.data for cell in plan.cells(load_networks(plan))}

    before, test = cells(), root / "imagenet" / "test"
    assert cells() == before
    assert len(next(iter(before))) == 16
    assert cells("validation") != before
    rows = (test / "labels.csv").read_text().splitlines()
    (test / "labels.csv").write_text("\n".join([rows[0], *rows[:0:-1]]))
    assert cells() != before, "records are paired image by image"
    (test / "labels.csv").write_text("\n".join(rows))
    assert cells() == before
    (test / "images" / "2.jpg").write_bytes(b"\xff\xd8\xff torn")
    torn = cells()
    assert torn != before
    (test / "labels.csv").write_text("\n".join(rows[:-1]))
    assert cells() not in (torn, before)
    (root / "imagenet" / "calibration").unlink()
    shutil.copytree(test, root / "imagenet" / "calibration")
    assert len({*before, *torn, *cells()}) == 3, "calibration images count too"


def test_images_in_memory_are_known_by_their_pixels() -> None:
    split = resolve_workload("lenet-digits").splits(None).validation
    turned = split.take(torch.arange(len(split)).flip(0))
    assert turned.digest() != split.digest(), "records are paired image by image"
    assert turned.take(torch.arange(len(split)).flip(0)).digest() == split.digest()
    assert split.take(torch.arange(1, len(split))).digest() != split.digest()
    other = replace(split, labels=(split.labels + 1) % split.classes)
    assert other.digest() != split.digest()
    plan = Plan(resolve_workload("lenet-digits"))
    assert {cell.data for cell in plan.cells(load_networks(plan))} == {""}


def test_a_validation_split_of_training_images_is_told_of(root: Path) -> None:
    plan = Plan(WORKLOAD, formats=("FP32",), data=root, split="validation")
    found = prepare(plan).splits.scored("validation").limit(20).readable().findings
    assert len(found) == 1
    assert "training images too" in found[0]


def test_training_leaves_out_what_cannot_be_read(root: Path, tmp_path: Path) -> None:
    home = root / "imagenet"
    (home / "validation").symlink_to(home / "test")
    (home / "test" / "images" / "2.jpg").write_bytes(b"torn")
    recipe = Recipe(name="short", description="one epoch", lr=1e-4, batch=8, epochs=1)
    order = WORKLOAD.splits(root).train.images.names
    real = (home / "calibration").resolve()
    (home / "calibration").unlink()
    for name in order[:16]:
        (home / "calibration" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real / name, home / "calibration" / name)
    (home / "calibration" / order[3]).write_bytes(b"torn")
    found = train(WORKLOAD, recipe, out=tmp_path / "p.safetensors", data=root, progress=False)
    assert found.metadata["skipped"] == [order[3], "images/2.jpg"]
    assert (found.metadata["train_images"], found.metadata["validation"]["images"]) == (15, 5)


@pytest.mark.thorough
def test_norms_keeps_mopeds_sigma_and_fits_batch_norm(root: Path, tmp_path: Path) -> None:
    net = network()
    net.load_state_dict(downloaded())
    with torch.no_grad():
        net.get_parameter("fc.weight")[0] = 0.0
    workload = replace(WORKLOAD, pretrained=lambda _: net)
    out = tmp_path / "p.safetensors"
    found = train(workload, NORMS_RECIPE, out=out, data=root, limit=64, progress=False).posterior
    exact = moped(net, NORMS_RECIPE.delta)
    for name, mean in exact.mean.items():
        assert torch.equal(found.mean[name], mean)
        assert torch.equal(found.rho[name], exact.rho[name])
        expected = NORMS_RECIPE.delta * mean.abs()
        torch.testing.assert_close(found.std()[name], expected, rtol=1e-5, atol=0.0)
    assert not torch.equal(found.state["norm.running_var"], exact.state["norm.running_var"])


def test_it_goes_to_other_processes() -> None:
    copy = pickle.loads(pickle.dumps(resolve_workload("resnet50-imagenet")))
    assert copy.name == "resnet50-imagenet"
    assert copy.pretrained.function.args == ("resnet50", "IMAGENET1K_V1")


def test_synsets_are_timms() -> None:
    assert synsets() == tuple(ImageNetInfo("imagenet-1k").label_names())


@pytest.mark.parametrize(
    ("name", "size", "resize", "mean"),
    [
        ("inception_v3", 299, 341, 0.5),
        ("vit_base_patch16_224", 224, 248, 0.5),
        ("tf_efficientnet_b3.aa_in1k", 300, 331, 0.485),
        ("resnet18.tv_in1k", 224, 256, 0.485),
    ],
)
def test_images_are_prepared_as_timm_does(name: str, size: int, resize: int, mean: float) -> None:
    chosen = resolve_workload(f"timm:{name}").splits.function.keywords
    way = "bilinear" if name == "resnet18.tv_in1k" else "bicubic"
    assert chosen["crop"] == Crop(size, resize, way)
    assert chosen["mean"][0] == mean


def test_images_of_some_networks_are_squashed() -> None:
    chosen = resolve_workload("timm:convnext_tiny.in12k_ft_in1k_384").splits.function.keywords
    assert chosen["crop"] == Crop(384, 384, "bicubic", squash=True)


@pytest.mark.parametrize("odd", [{"crop_mode": "border"}, {"input_size": (3, 224, 256)}])
def test_images_prepared_in_another_way_are_refused(
    monkeypatch: pytest.MonkeyPatch, odd: dict[str, object]
) -> None:
    config = replace(get_pretrained_cfg("resnet18"), **odd)
    monkeypatch.setattr("timm.get_pretrained_cfg", lambda _: config)
    with pytest.raises(UserError, match=r"timm's resnet18 takes 3 × .* give a network of square"):
        resolve_workload("timm:resnet18")


def test_without_timm_there_is_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"timm cannot be imported .*install sigmabench\[models\]"):
        resolve_workload("timm:resnet18")


def test_networks_of_collections() -> None:
    one = resolve_workload("torchvision:resnet18")
    assert (one.name, one.input_shape) == ("torchvision-resnet18", (3, 224, 224))
    other = resolve_workload("timm:resnet18.a1_in1k")
    crop = other.splits.function.keywords["crop"]
    assert (other.name, crop.interpolation) == ("timm-resnet18-a1-in1k", "bicubic")
    for name, said in (
        ("torchvision:resnet5", "resnet5'; did you mean resnet50"),
        ("timm:resnet1", "did you mean"),
        ("timm:resnet18.a1_in2k", "tag of timm's resnet18 named 'a1_in2k'; did you mean a1_in1k"),
        ("timm:vit_base_patch14_dinov2", "not a classifier of ImageNet's 1000"),
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
