from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Split, Splits
from sigmabench.harness.posterior import load, moped
from sigmabench.harness.posterior.augment import CropAndFlip, RandomAffine
from sigmabench.harness.posterior.checkpoint import checkpoint_path
from sigmabench.harness.posterior.recipe import OneCycle, Piecewise, Recipe
from sigmabench.harness.training.drop_inputs import drop_inputs
from sigmabench.harness.training.progress import Run
from sigmabench.harness.training.score import score
from sigmabench.harness.training.train import train
from sigmabench.harness.workload.workload import Workload


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Flatten(),
        nn.Linear(64, 2),
    )


def splits(root: Path | None) -> Splits:
    """Two classes: a bright upper or a bright lower half, in noise."""
    generator = torch.Generator().manual_seed(0)

    def part(name: str, count: int) -> Split:
        labels = torch.arange(count) % 2
        images = torch.randint(0, 120, (count, 1, 6, 6), generator=generator)
        images[labels == 0, :, :3] += 100
        images[labels == 1, :, 3:] += 100
        return Split(name, images.to(torch.uint8), labels, (0.4,), (0.2,), 2)

    return Splits(part("train", 90), part("validation", 40), part("test", 10))


RECIPE = Recipe(
    name="best",
    description="for tests",
    lr=0.02,
    batch=20,
    epochs=4,
    schedule=OneCycle(),
    kl_temperature=0.1,
    kl_warmup=1.5,
    augmentation=RandomAffine(5, 0.05, 0, 0.3),
)
WORKLOAD = Workload(
    name="toy",
    version="1",
    title="toy",
    model=model,
    splits=splits,
    input_shape=(1, 6, 6),
    classes=2,
    recipes={"best": RECIPE},
)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Ctrl-C in the middle of training, `steps` minibatches in."""
    original: Callable[[Run, Split, Tensor, float], tuple[float, float]] = Run._step
    done = 0

    def step(run: Run, split: Split, index: Tensor, epoch: float) -> tuple[float, float]:
        nonlocal done
        if done == steps:
            raise KeyboardInterrupt
        done += 1
        return original(run, split, index, epoch)

    monkeypatch.setattr(Run, "_step", step)


def test_training_learns_and_writes_what_it_reports(tmp_path: Path) -> None:
    out = tmp_path / "toy.safetensors"
    trained = train(WORKLOAD, replace(RECIPE, epochs=15), out=out, seed=1, progress=False)
    stored, metadata = load(out)
    assert stored.content_hash() == trained.posterior.content_hash()
    assert metadata["validation"]["accuracy_percent"] >= 95
    assert metadata["workload"] == "toy"
    assert metadata["seed"] == 1
    assert metadata["recipe"]["augmentation"]["kind"] == "RandomAffine"
    assert metadata["train_images"] == 90
    assert os.listdir(tmp_path) == ["toy.safetensors"]
    assert stored.state["1.num_batches_tracked"] == 15 * 5
    assert not torch.equal(stored.state["1.weight"], torch.ones(4))
    stored.validate(model())


def test_the_command_is_recorded_only_where_it_repeats_the_run(tmp_path: Path) -> None:
    out = tmp_path / "toy.safetensors"
    one = train(WORKLOAD, out=out, seed=2, progress=False).metadata
    assert one["command"] == "sigmabench train toy --recipe best --seed 2"
    other = train(WORKLOAD, out=tmp_path / "b", seed=2, limit=40, progress=False).metadata
    assert other["command"] == "sigmabench train toy --recipe best --seed 2 --limit 40"
    assert other["train_images"] == 40
    changed = replace(WORKLOAD.recipe("best"), lr=0.002)
    assert (
        "Python" in train(WORKLOAD, changed, out=tmp_path / "c", progress=False).metadata["command"]
    )


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "toy.safetensors"
    out.write_text("precious")
    with pytest.raises(UserError, match=r"toy\.safetensors is there already; choose another name"):
        train(WORKLOAD, out=out, progress=False)
    assert [file.name for file in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "precious"


@pytest.mark.parametrize("steps", [0, 3, 12])
def test_an_interrupted_run_resumes_bit_for_bit(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(WORKLOAD, out=tmp_path / "whole", seed=3, progress=False)
    out = tmp_path / "parts"
    with monkeypatch.context() as patched:
        interrupt_after(patched, steps)
        with pytest.raises(KeyboardInterrupt):
            train(WORKLOAD, out=out, seed=3, progress=False)
    assert not out.exists()
    torch.rand(17)
    resumed = train(WORKLOAD, out=out, seed=3, resume=True, progress=False)
    assert resumed.posterior.content_hash() == whole.posterior.content_hash()
    assert resumed.metadata == whole.metadata
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def test_seeds_differ_and_the_callers_generator_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    hashes = {
        train(
            WORKLOAD, out=tmp_path / f"{seed}", seed=seed, progress=False
        ).posterior.content_hash()
        for seed in (0, 1)
    }
    assert len(hashes) == 2
    assert torch.equal(torch.rand(1), expected)


class Doubled(nn.Sequential):
    """The same layers under the same names, another forward function."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(OrderedDict(network.named_children()))

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_resume_refuses_another_run_and_a_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "toy"
    with pytest.raises(UserError, match="no checkpoint"):
        train(WORKLOAD, out=out, resume=True, progress=False)
    with monkeypatch.context() as patched:
        interrupt_after(patched, 6)
        with pytest.raises(KeyboardInterrupt):
            train(WORKLOAD, out=out, progress=False)
    stopped = checkpoint_path(out).read_bytes()
    with pytest.raises(UserError, match="add --resume to go on from it"):
        train(WORKLOAD, out=out, progress=False)
    assert checkpoint_path(out).read_bytes() == stopped
    with pytest.raises(UserError, match="another seed"):
        train(WORKLOAD, out=out, seed=5, resume=True, progress=False)
    with pytest.raises(UserError, match="another recipe"):
        train(WORKLOAD, replace(RECIPE, lr=0.1), out=out, resume=True, progress=False)

    def repainted(root: Path | None) -> Splits:
        found = WORKLOAD.splits(root)
        return replace(found, train=replace(found.train, images=255 - found.train.images))

    with pytest.raises(UserError, match="another train_data"):
        train(replace(WORKLOAD, splits=repainted), out=out, resume=True, progress=False)
    louder = replace(WORKLOAD, model=lambda: Doubled(WORKLOAD.model()))
    with pytest.raises(UserError, match="another network"):
        train(louder, out=out, resume=True, progress=False)
    checkpoint = checkpoint_path(out)
    pickled = checkpoint.read_bytes()
    middle = len(pickled) // 2
    flipped = pickled[:middle] + bytes([pickled[middle] ^ 1]) + pickled[middle + 1 :]
    for foreign in (
        flipped,
        pickled[32:],
        pickled[:1000],
        b"0",
        b"X\x01\x00\x00\x00\x89",
        b"plain text",
        b"",
    ):
        checkpoint.write_bytes(foreign)
        with pytest.raises(UserError, match="damaged or of another version; remove it"):
            train(WORKLOAD, out=out, resume=True, progress=False)


def test_training_starts_from_a_moped_posterior_with_frozen_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pretrained = model()
    with torch.no_grad():
        pretrained.get_parameter("0.weight").zero_()
    start = moped(pretrained, 0.2)
    found = train(WORKLOAD, start=start, out=tmp_path / "p", progress=False).posterior
    assert torch.equal(found.std()["0.weight"], torch.zeros(4, 1, 3, 3))
    assert not torch.equal(found.mean["0.weight"], torch.zeros(4, 1, 3, 3))
    assert (found.std()["5.weight"] > 0).all()


TWIN = replace(
    RECIPE,
    name="twin",
    optimizer="sgd",
    weight_decay=1e-3,
    deterministic=True,
    augmentation=CropAndFlip(1),
)
FROM_TWIN = replace(RECIPE, optimizer="sgd", rho_lr=0.01, delta=0.2, precision="bf16")


def test_a_deterministic_twin_is_a_posterior_without_spread(tmp_path: Path) -> None:
    trained = train(WORKLOAD, TWIN, out=tmp_path / "p", progress=False)
    assert not any(std.any() for std in trained.posterior.std().values())
    assert trained.metadata["validation"]["mc"] == 1
    assert trained.metadata["validation"]["accuracy_percent"] >= 90
    assert [one["epoch"] for one in trained.metadata["log"]] == [1, 2, 3, 4]
    assert all(one["loss"] == one["nll_nats"] for one in trained.metadata["log"])


DROPPING = replace(TWIN, name="dropping", dropout=0.5, dropout_at=("0", "5"))


def test_inputs_are_dropped_out_while_training_alone(tmp_path: Path) -> None:
    plain = train(WORKLOAD, TWIN, out=tmp_path / "plain", progress=False)
    dropped = train(WORKLOAD, DROPPING, out=tmp_path / "dropped", progress=False)
    first, last = dropped.metadata["log"][0]["nll_nats"], dropped.metadata["log"][-1]["nll_nats"]
    assert plain.metadata["log"][0]["nll_nats"] < first
    assert dropped.metadata["recipe"]["dropout_at"] == ["0", "5"]
    assert list(dropped.posterior.mean) == list(plain.posterior.mean)
    assert dropped.metadata["validation"]["nll_nats"] < last  # without a mask
    again = train(WORKLOAD, DROPPING, out=tmp_path / "again", progress=False)
    assert again.posterior.content_hash() == dropped.posterior.content_hash()


def test_masks_are_pytorch_s_of_channels_and_of_features() -> None:
    module = nn.Sequential(nn.Conv2d(64, 1, 1, bias=False), nn.Flatten(), nn.Linear(64, 1, False))
    seen = []
    drop_inputs(module, replace(DROPPING, dropout_at=("0", "2")))
    for name in (0, 2):
        module[name].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    for layer in (module[0], module[2]):
        nn.init.constant_(layer.weight, 1.0)
    module.eval()(torch.ones(20, 64, 8, 8))
    maps, features = seen
    assert maps.unique().tolist() == [0.0, 2.0]
    assert bool((maps == maps[:, :, :1, :1]).all())  # whole channels
    assert abs(float((maps == 0).float().mean()) - 0.5) < 0.06
    assert 0.4 < float((features == 0).float().mean()) < 0.6
    assert not bool((features == features[:1]).all())  # each image has its own


@pytest.mark.parametrize("layer", ["6", "1", ""])
def test_dropout_at_what_is_no_layer_is_refused(layer: str, tmp_path: Path) -> None:
    recipe = replace(DROPPING, dropout_at=(layer,))
    message = "is not a convolution or linear layer of the network; give some of 0, 5"
    with pytest.raises(UserError, match=message):
        train(WORKLOAD, recipe, out=tmp_path / "p", progress=False)


def test_sgd_decays_the_weights_and_nothing_else(tmp_path: Path) -> None:
    """Against PyTorch's own SGD on the whole module, step by step."""
    recipe = replace(TWIN, augmentation=None, epochs=1, batch=90, schedule=Piecewise())
    recipe = replace(recipe, lr=0.1, weight_decay=0.5)
    torch.manual_seed(4)
    module = model().train()
    module[3].p = 0.0
    workload = replace(WORKLOAD, model=lambda: copy.deepcopy(module))
    found = train(workload, recipe, out=tmp_path / "p", seed=4, progress=False).posterior
    decayed = [module[0].weight, module[0].bias, module[5].weight, module[5].bias]
    groups = [
        {"params": decayed, "weight_decay": 0.5},
        {"params": list(module[1].parameters())},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    data = splits(None).train
    logits = module(data.batch(slice(0, 90)))
    torch.nn.functional.cross_entropy(logits, data.labels).backward()
    optimizer.step()
    for name, value in module.named_parameters():
        stored = found.mean.get(name, found.state.get(name))
        torch.testing.assert_close(stored, value.detach(), atol=1e-5, rtol=1e-4)


def test_a_recipe_may_start_from_the_workloads_twin(tmp_path: Path) -> None:
    train(WORKLOAD, TWIN, out=tmp_path / "twin", progress=False)
    with pytest.raises(UserError, match="toy has no deterministic twin"):
        train(WORKLOAD, FROM_TWIN, out=tmp_path / "p", progress=False)
    workload = replace(WORKLOAD, twin=tmp_path / "twin", recipes={"best": FROM_TWIN})
    trained = train(workload, out=tmp_path / "p", progress=False)
    twin, _ = load(tmp_path / "twin")
    assert trained.metadata["start"] == twin.content_hash()
    assert trained.metadata["command"] == "sigmabench train toy --recipe best --seed 0"
    assert trained.posterior.std()["0.weight"].all()
    assert not torch.equal(trained.posterior.mean["0.weight"], twin.mean["0.weight"])


def test_a_recipe_may_learn_sigma_alone(tmp_path: Path) -> None:
    train(WORKLOAD, TWIN, out=tmp_path / "twin", progress=False)
    twin, _ = load(tmp_path / "twin")
    recipe = replace(RECIPE, delta=0.2, initial_std=1e-5, mean_fixed=True)
    workload = replace(WORKLOAD, twin=tmp_path / "twin")
    found = train(workload, recipe, out=tmp_path / "p", progress=False).posterior
    start = moped(twin.load_into(model()), 0.2, floor=1e-5)
    for name, mean in twin.mean.items():
        assert torch.equal(found.mean[name], mean)
        assert (found.std()[name] != start.std()[name]).all()
    for name, value in twin.state.items():
        assert torch.equal(found.state[name], value), "batch norm stays, its statistics too"


@pytest.mark.parametrize("steps", [3, 12])
def test_mixed_precision_with_two_optimizers_resumes_bit_for_bit(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    start = moped(model(), 0.1)
    whole = train(WORKLOAD, FROM_TWIN, start=start, out=tmp_path / "whole", progress=False)
    with monkeypatch.context() as patched:
        interrupt_after(patched, steps)
        with pytest.raises(KeyboardInterrupt):
            train(WORKLOAD, FROM_TWIN, start=start, out=tmp_path / "parts", progress=False)
    train(WORKLOAD, FROM_TWIN, start=start, out=tmp_path / "parts", resume=True, progress=False)
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert whole.posterior.mean["0.weight"].dtype == torch.float32


def test_deterministic_biases_are_trained_as_state(tmp_path: Path) -> None:
    recipe = replace(RECIPE, bayesian_biases=False)
    found = train(WORKLOAD, recipe, out=tmp_path / "p", progress=False).posterior
    assert list(found.mean) == ["0.weight", "5.weight"]
    torch.manual_seed(0)
    assert not torch.equal(found.state["5.bias"], model().get_parameter("5.bias"))


def test_the_default_recipe_is_best_or_the_first(tmp_path: Path) -> None:
    other = replace(RECIPE, name="other", epochs=1)
    last = replace(RECIPE, name="last")
    workload = replace(WORKLOAD, recipes={"other": other, "best": RECIPE})
    assert workload.recipe() is RECIPE
    workload = replace(WORKLOAD, recipes={"other": other, "last": last})
    found = train(workload, out=tmp_path / "p", progress=False)
    assert found.metadata["command"] == "sigmabench train toy --recipe other --seed 0"


@pytest.mark.parametrize("name", [None, "best"])
def test_without_recipes_there_is_a_way_out(name: str | None) -> None:
    bare = replace(WORKLOAD, recipes={})
    with pytest.raises(UserError, match=r"^toy has no recipes .* a Workload of your own\.$"):
        bare.recipe(name)
    with pytest.raises(UserError, match=r"of your own, or make a posterior .* --delta`\.$"):
        replace(bare, pretrained=lambda root: model()).recipe(name)


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe of toy named 'bets'; did you mean best"):
        train(WORKLOAD, "bets", out=tmp_path / "p", progress=False)
    with pytest.raises(UserError, match="The device 'tpu' cannot be used"):
        train(WORKLOAD, out=tmp_path / "p", device="tpu", progress=False)
    with pytest.raises(UserError, match=r"diverged.*lower the recipe's lr"):
        train(WORKLOAD, replace(RECIPE, lr=1e30), out=tmp_path / "p", progress=False)


def test_sigma_is_scaled_after_training_and_scored_as_it_is_shipped(tmp_path: Path) -> None:
    plain = train(WORKLOAD, RECIPE, out=tmp_path / "plain", progress=False)
    half = train(WORKLOAD, replace(RECIPE, sigma_scale=0.5), out=tmp_path / "half", progress=False)
    for name, std in plain.posterior.std().items():
        torch.testing.assert_close(half.posterior.std()[name], 0.5 * std)
        assert torch.equal(half.posterior.mean[name], plain.posterior.mean[name])
    assert half.metadata["recipe"]["sigma_scale"] == 0.5
    assert half.metadata["log"] == plain.metadata["log"]
    stored = score(WORKLOAD.model(), half.posterior, splits(None).validation, mc=50, seed=0)
    assert {key: half.metadata["validation"][key] for key in stored} == stored
