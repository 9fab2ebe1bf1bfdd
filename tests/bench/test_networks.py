"""Networks with synthetic posteriors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.race.networks import DELTA, NETWORKS, settle


def test_names():
    assert NETWORKS.names()[:3] == ["resnet50", "resnet20", "lenet5"]
    with pytest.raises(UserError, match="did you mean resnet50 or resnet20"):
        NETWORKS.get("resnet")


@pytest.mark.parametrize(
    ("name", "weights"), [("resnet50", 25_557_032), ("resnet20", 269_722), ("lenet5", 61_706)]
)
def test_sizes(name, weights):
    module = NETWORKS.get(name).module()
    assert sum(parameter.numel() for parameter in module.parameters()) == weights


@pytest.mark.parametrize("name", ["resnet20", "lenet5"])
def test_synthetic_posterior(name):
    network = NETWORKS.get(name)
    state = torch.random.get_rng_state()
    one, same, other = (network.synthetic(seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    for layer, values in one.model.layers.items():
        assert torch.equal(values.mean, same.model.layers[layer].mean)
        if values.std.any():
            assert not torch.equal(values.mean, other.model.layers[layer].mean)
            torch.testing.assert_close(values.std, DELTA * values.mean.abs(), rtol=1e-4, atol=1e-9)
    assert one.calibration == same.calibration
    scales = [a.scale for n, a in one.calibration.graph.activations.items()]
    assert 1e-4 < sorted(scales)[1] <= max(scales) < 1
    assert max(one.calibration.saturation.values()) < 0.05


def test_settled_statistics_are_the_images():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    images = torch.randn(8, 2, 9, 9)
    settle(module, images)
    assert not module.training
    with torch.no_grad():
        maps = module[0](images)
        normal = module(images)
    torch.testing.assert_close(module[1].running_mean, maps.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(normal.mean(dim=(0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
