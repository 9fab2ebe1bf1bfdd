"""Batch norm fitted to sampled weights, against the statistics it is to restore."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Split
from sigmabench.harness.posterior import moped
from sigmabench.harness.training.norms import fitted


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
    posterior = moped(net, 0.3)
    found = fitted(network(), posterior, split(), passes=1, batch=64, seed=5)
    assert all(torch.isfinite(value).all() for value in found.state.values())
    for kind in ("mean", "var"):  # such a channel reads 0 whatever is drawn
        before, after = (one.state[f"1.running_{kind}"] for one in (posterior, found))
        assert torch.allclose(after[2], before[2], atol=1e-6)
    images = split().batch(slice(0, 64))
    wanted = outputs(net, {**posterior.state, **posterior.mean}, images)
    weights = posterior.sample(torch.Generator().manual_seed(5))
    for one, other in zip(wanted, outputs(net, {**found.state, **weights}, images), strict=True):
        assert torch.allclose(one.mean(0), other.mean(0), atol=1e-4)
        assert torch.allclose(one.std(0), other.std(0), rtol=1e-3, atol=1e-6)


class Odd(nn.Module):
    """A norm that is called so many times, and one that only training would call."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.auxiliary = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        for _ in range(self.times):
            y = self.norm(y)
        return y.mean((2, 3))


def test_a_norm_that_nothing_calls_keeps_its_statistics() -> None:
    posterior = moped(Odd(1), 0.3)
    found = fitted(Odd(1), posterior, split(), passes=2, batch=16)
    assert torch.equal(found.state["auxiliary.running_mean"], torch.zeros(4))
    assert torch.equal(found.state["auxiliary.running_var"], torch.ones(4))
    assert not torch.equal(found.state["norm.running_var"], torch.ones(4))


def test_a_norm_that_is_used_twice_is_refused() -> None:
    with pytest.raises(UserError, match="norm is used more than once in a pass"):
        fitted(Odd(2), moped(Odd(2), 0.0), split(), passes=1, batch=64)


def test_a_norm_without_statistics_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(UserError, match="1 keeps no statistics"):
        fitted(net, moped(net, 0.1), split(), passes=1, batch=64)
