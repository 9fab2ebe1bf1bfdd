"""Networks trained for themselves and views of an image, held against PyTorch, one at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.methods.method import METHODS
from sigmabench.harness.methods.views import augmentation_of, generator_seed
from sigmabench.harness.posterior import save
from sigmabench.harness.posterior.content import content_hash_of
from sigmabench.harness.posterior.posterior import Posterior
from sigmabench.harness.predict.loop import predict
from sigmabench.harness.workload.choices import plan_from
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import Prepared, prepare
from sigmabench.harness.workload.workload import WORKLOADS, Workload

DIGITS = WORKLOADS.get("lenet-digits")


@pytest.fixture(scope="module")
def networks() -> list[Posterior]:
    """Three networks that differ: the shipped means, turned a little."""
    shipped = DIGITS.load_posterior()[0].scaled(0.0)
    generator = torch.Generator().manual_seed(3)

    def turned(by: float) -> Posterior:
        means = {
            name: value + by * value.std() * torch.randn(value.shape, generator=generator)
            for name, value in shipped.mean.items()
        }
        return replace(shipped, mean=means)

    return [shipped, turned(0.3), turned(0.5)]


@pytest.fixture(scope="module")
def workload(networks: list[Posterior], tmp_path_factory: pytest.TempPathFactory) -> Workload:
    folder = tmp_path_factory.mktemp("members")
    files = []
    for number, network in enumerate(networks):
        files.append(folder / f"{number}.safetensors")
        save(network, files[-1], {})
    return replace(
        DIGITS, name="own", members=tuple(files), equal_members={2: (files[1], files[2])}
    )


@pytest.fixture(scope="module")
def prepared(workload: Workload) -> Prepared:
    return prepare(planned(workload))


def planned(workload: Workload) -> Plan:
    return plan_from(workload, mc=(2,), batch=(1,), threads=1)


def images(prepared: Prepared) -> torch.Tensor:
    return prepared.splits.validation.batch(slice(0, 12))


def by_pytorch(network: Posterior, x: torch.Tensor) -> torch.Tensor:
    module = network.load_into(DIGITS.model()).eval()
    with torch.no_grad():
        found: torch.Tensor = module(x)
    return found


def test_each_pass_of_an_ensemble_is_that_of_one_network(
    networks: list[Posterior], prepared: Prepared
) -> None:
    x = images(prepared)
    ensemble = METHODS.get("ensemble").made(prepared, "FP32").load(1)
    logits = ensemble.passes.logits(x, 0, range(3))
    for t, network in enumerate(networks):
        torch.testing.assert_close(logits[t], by_pytorch(network, x), rtol=1e-4, atol=1e-4)
    assert ensemble.passes.logits(x, 7, range(1, 3)).equal(logits[1:])
    mean = predict(ensemble.passes, x, 3).probs
    expected = sum(by_pytorch(one, x).double().softmax(-1) for one in networks) / 3
    torch.testing.assert_close(mean.double(), expected, rtol=1e-4, atol=1e-5)
    assert len(set(ensemble.artefacts)) == 3


def test_equal_training_has_networks_of_its_own(
    networks: list[Posterior], prepared: Prepared
) -> None:
    x = images(prepared)
    logits = (
        METHODS.get("ensemble-equal-2").made(prepared, "FP32").load(1).passes.logits(x, 0, range(2))
    )
    for found, network in zip(logits, networks[1:], strict=True):
        torch.testing.assert_close(found, by_pytorch(network, x), rtol=1e-4, atol=1e-4)


def test_the_deterministic_network_is_the_first_member(prepared: Prepared) -> None:
    x = images(prepared)
    for format in ("FP32", "INT8"):
        alone = METHODS.get("deterministic").made(prepared, format).load(1)
        all_of_them = METHODS.get("ensemble").made(prepared, format).load(1)
        assert alone.artefacts == all_of_them.artefacts[:1]
        assert alone.passes.logits(x, 0, range(1)).equal(all_of_them.passes.logits(x, 0, range(1)))
        assert all_of_them.file_bytes > 2 * alone.file_bytes


def test_numbers_of_networks_are_those_that_ship(workload: Workload) -> None:
    plan = planned(workload)
    assert METHODS.get("ensemble").passes(plan, (1, 50)) == (2, 3)
    assert METHODS.get("deterministic").passes(plan, (1, 50)) == (1,)
    assert len(METHODS.get("ensemble").networks(plan)) == 3


@pytest.mark.parametrize(
    ("method", "format", "why"),
    [
        ("ensemble-equal-3", "FP32", "no 3 networks, each with 1/3 of the epochs, of own ship"),
        ("ensemble", "INT8_SIGMA1", "no σ to put into fewer bits"),
        ("augment", "INT8_SIGMA1", "no σ to put into fewer bits"),
    ],
)
def test_what_there_is_not_has_a_reason(
    workload: Workload, method: str, format: str, why: str
) -> None:
    assert why in str(METHODS.get(method).without(planned(workload), format))


def test_no_ensemble_of_none() -> None:
    plan = planned(DIGITS)
    assert METHODS.get("ensemble").without(plan, "FP32") == "no 2 networks of lenet-digits ship"
    told = METHODS.get("deterministic").without(plan, "FP32")
    assert told == "no deterministic network of lenet-digits ships"


def test_a_posterior_is_no_member(prepared: Prepared) -> None:
    posterior = replace(DIGITS, members=(DIGITS.posterior, DIGITS.posterior))
    asked = prepare(planned(posterior))
    with pytest.raises(UserError, match="is a posterior, and members of an ensemble draw no"):
        METHODS.get("ensemble").made(asked, "FP32").load(1)


def test_a_network_of_other_classes_is_no_member(networks: list[Posterior], tmp_path: Path) -> None:
    head = max(networks[0].mean, key=lambda name: name.startswith("fc"))
    other = {**networks[0].mean, head: networks[0].mean[head][:5]}
    rho = {**networks[0].rho, head: networks[0].rho[head][:5]}
    path = tmp_path / "other.safetensors"
    save(replace(networks[0], mean=other, rho=rho), path, {})
    asked = prepare(planned(replace(DIGITS, members=(path, path))))
    with pytest.raises(UserError, match=r"other\.safetensors"):
        METHODS.get("ensemble").made(asked, "FP32").load(1)


def test_a_view_is_the_workload_s_own_augmentation_of_every_image_alike(
    networks: list[Posterior], prepared: Prepared
) -> None:
    x, split = images(prepared), prepared.splits.validation
    augmentation = augmentation_of(DIGITS)
    assert augmentation is not None
    views = METHODS.get("augment").made(prepared, "FP32").load(1).passes
    logits = views.logits(x, 5, range(3))
    pixels = split.pixels(slice(0, 12))
    for t in range(3):
        for image in (0, 7):
            generator = torch.Generator().manual_seed(generator_seed(5, t))
            view = augmentation(pixels[image : image + 1], generator)
            alone = by_pytorch(networks[0], (view - split.mean[0]) / split.std[0])
            torch.testing.assert_close(logits[t, image], alone[0], rtol=1e-3, atol=1e-3)
    assert views.logits(x[4:6], 5, range(1, 3)).allclose(logits[1:, 4:6], atol=1e-5)
    assert not logits[0].allclose(logits[1], atol=1e-2)
    assert not views.logits(x, 6, range(1)).allclose(logits[:1], atol=1e-2)


def test_views_differ_between_seeds_and_passes() -> None:
    seeds = {generator_seed(seed, t) for seed in range(40) for t in range(40)}
    assert len(seeds) == 1600
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_without_augmentation_there_are_no_views() -> None:
    plain = replace(DIGITS, recipes={})
    told = METHODS.get("augment").without(planned(plain), "FP32")
    assert told == "lenet-digits was trained without augmentation"


def test_what_ships_is_listed_with_its_hash() -> None:
    told = CliRunner().invoke(main, ["list", "--posteriors", "--json"])
    assert told.exit_code == 0, told.output
    listed = {row["file"]: row for row in json.loads(told.stdout)}
    for name in WORKLOADS:
        for role, path in WORKLOADS.get(name).shipped_files():
            row = listed.pop(path.name)
            assert (row["workload"], row["is"]) == (name, role)
            assert row["content hash"] == str(content_hash_of(path))[:16]
            assert row["epochs"] == row_epochs(path)
    assert not listed
    shown = CliRunner().invoke(main, ["list", "--posteriors"])
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())


def row_epochs(path: Path) -> int:
    """From the file itself."""
    with safe_open(path, framework="np") as opened:
        (text,) = opened.metadata().values()
    return int(json.loads(text.partition("\n")[2])["epochs"])
