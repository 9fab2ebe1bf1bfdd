"""Batch norm fitted to sampled weights, against the statistics it is to restore."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from sigmabench.harness.data import Split
from sigmabench.harness.errors import UserError
from sigmabench.harness.posterior import moped
from sigmabench.harness.posterior.norms import fitted


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 16, 4),
        nn.BatchNorm1d(4),
    )
    for layer in net:
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(layer.weight, 0.5, 2.0)
            nn.init.normal_(layer.bias)
    return net


def split(count: int = 64) -> Split:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Split("train", images, torch.zeros(count, dtype=torch.int64), (0.5,) * 3, (0.25,) * 3, 4)


def outputs(net: nn.Module, weights: dict, images: torch.Tensor) -> list[torch.Tensor]:
    """Of every batch norm, [values, C] float64."""
    seen: list[torch.Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _, __, y: seen.append(y.transpose(0, 1).flatten(1).T))
        for layer in net
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))
    ]
    with torch.no_grad():
        functional_call(net.eval(), weights, (images,))
    for handle in handles:
        handle.remove()
    return [one.double() for one in seen]


@pytest.mark.parametrize("folded", [False, True])
def test_sampled_outputs_have_the_mean_networks_moments(folded: bool) -> None:
    """One pass is fitted exactly: the second run of the same draw has these very statistics."""
    net, part = network(), split()
    images = part.batch(slice(0, 64))
    if not folded:  # statistics of the mean network's own, as training leaves them
        for layer in net:
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                layer.momentum = None
        net.train()(images)
    posterior = moped(net, 0.4)
    found = fitted(network(), posterior, part, passes=1, batch=64, seed=5)
    before = outputs(net, {**posterior.state, **posterior.mean}, images)
    weights = posterior.sample(torch.Generator().manual_seed(5))
    plain = outputs(net, {**posterior.state, **weights}, images)
    after = outputs(net, {**found.state, **weights}, images)
    worst = 0.0
    for wanted, corrected, uncorrected in zip(before, after, plain, strict=True):
        assert torch.allclose(corrected.mean(0), wanted.mean(0), atol=1e-4)
        assert torch.allclose(corrected.std(0), wanted.std(0), rtol=1e-3)
        worst = max(worst, float((uncorrected.std(0) / wanted.std(0) - 1).abs().max()))
    assert worst > 0.05, "without the fit they differ"
    assert torch.equal(found.mean["0.weight"], posterior.mean["0.weight"])
    assert torch.equal(found.state["1.weight"], posterior.state["1.weight"])


def test_without_noise_nothing_changes() -> None:
    net = network()
    posterior = moped(net, 0.0)
    found = fitted(network(), posterior, split(), passes=2, batch=16)
    for name, value in posterior.state.items():
        assert torch.allclose(found.state[name].float(), value.float(), atol=1e-5), name


def test_constant_channels_stay_finite() -> None:
    net = network()
    with torch.no_grad():
        net[0].weight[2] = 0.0
    found = fitted(network(), moped(net, 0.3), split(), passes=1, batch=64)
    assert all(torch.isfinite(value).all() for value in found.state.values())


def test_a_norm_without_statistics_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(UserError, match="1 keeps no statistics"):
        fitted(net, moped(net, 0.1), split(), passes=1, batch=64)
