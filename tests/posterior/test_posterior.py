from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call
from torch.nn import functional

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import (
    Posterior,
    bayesian_parameters,
    from_std,
    initial,
    inverse_softplus,
    moped,
)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )


WEIGHTS = ["0.weight", "0.bias", "4.weight", "4.bias"]


def random_posterior(module: nn.Module) -> Posterior:
    posterior = initial(module, 0.1)
    generator = torch.Generator().manual_seed(1)
    mean = {n: torch.randn(m.shape, generator=generator) for n, m in posterior.mean.items()}
    std = {n: torch.rand(m.shape, generator=generator) + 1e-3 for n, m in mean.items()}
    return from_std(mean, std, posterior.state)


def test_bayesian_parameters_are_weights_and_biases_but_never_norms() -> None:
    assert bayesian_parameters(network()) == WEIGHTS
    assert bayesian_parameters(network(), biases=False) == ["0.weight", "4.weight"]


def test_state_holds_everything_else() -> None:
    posterior = initial(network(), 0.1)
    assert set(posterior.mean) | set(posterior.state) == set(network().state_dict())
    assert not set(posterior.mean) & set(posterior.state)
    assert posterior.parameter_count == 4 * 9 + 4 + 144 * 3 + 3


@given(st.floats(min_value=1e-20, max_value=1e4))
def test_inverse_softplus_round_trip(std: float) -> None:
    rho = inverse_softplus(torch.tensor([std], dtype=torch.float64))
    assert float(functional.softplus(rho)) == pytest.approx(std, rel=1e-5)


def test_scaling_moves_sigma_alone_and_keeps_frozen_weights() -> None:
    posterior = moped(network(), 0.3)
    posterior.rho["0.weight"][0] = -torch.inf
    double = posterior.scaled(2.0)
    for name, std in posterior.std().items():
        torch.testing.assert_close(double.std()[name], 2 * std)
        assert torch.equal(double.mean[name], posterior.mean[name])
    assert torch.isneginf(double.rho["0.weight"][0]).all()
    assert double.state is posterior.state
    assert posterior.scaled(1.0) is posterior
    assert not any(std.any() for std in posterior.scaled(0.0).std().values())


def test_inverse_softplus_of_zero_is_exact() -> None:
    rho = inverse_softplus(torch.zeros(3))
    assert torch.isneginf(rho).all()
    assert torch.equal(functional.softplus(rho), torch.zeros(3))


def test_moped_is_delta_times_magnitude_and_freezes_zeros() -> None:
    module = network()
    with torch.no_grad():
        module.get_parameter("0.weight")[0, 0, 0, 0] = 0.0
    posterior = moped(module, 0.25)
    for name in WEIGHTS:
        weight = module.state_dict()[name]
        assert torch.equal(posterior.mean[name], weight)
        torch.testing.assert_close(posterior.std()[name], 0.25 * weight.abs(), rtol=1e-5, atol=0)
    assert posterior.std()["0.weight"][0, 0, 0, 0] == 0
    assert posterior.sample(torch.Generator().manual_seed(3))["0.weight"][0, 0, 0, 0] == 0
    assert moped(module, 0.25, floor=0.01).std()["0.weight"].min() >= 0.00999


def test_moped_copies_the_network() -> None:
    module = network()
    posterior = moped(module, 0.1)
    before = posterior.content_hash()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert posterior.content_hash() == before


@pytest.mark.parametrize("delta", [-0.1, float("nan"), float("inf")])
def test_moped_refuses_a_bad_delta(delta: float) -> None:
    with pytest.raises(UserError, match="delta"):
        moped(network(), delta)


def test_a_network_without_bayesian_layers_is_refused() -> None:
    with pytest.raises(UserError, match="no convolution or linear layer"):
        initial(nn.Sequential(nn.BatchNorm2d(2)))


@pytest.mark.parametrize(("prior_mean", "prior_std"), [(0.0, 1.0), (0.3, 0.25)])
def test_kl_is_the_sum_of_torch_distributions(prior_mean: float, prior_std: float) -> None:
    posterior = random_posterior(network())
    expected = sum(
        float(
            kl_divergence(
                Normal(posterior.mean[n].double(), posterior.std()[n].double()),
                Normal(
                    torch.tensor(prior_mean, dtype=torch.float64),
                    torch.tensor(prior_std, dtype=torch.float64),
                ),
            ).sum()
        )
        for n in posterior.mean
    )
    assert posterior.kl(prior_mean, prior_std) == pytest.approx(expected, rel=1e-12)


def test_kl_leaves_frozen_weights_out() -> None:
    mean = {"w": torch.tensor([0.5, 2.0])}
    both = from_std(mean, {"w": torch.tensor([0.1, 0.0])})
    one = from_std({"w": torch.tensor([0.5])}, {"w": torch.tensor([0.1])})
    assert both.kl() == one.kl()


def test_samples_have_the_posteriors_moments() -> None:
    posterior = from_std({"w": torch.full((200_000,), 0.7)}, {"w": torch.full((200_000,), 0.2)})
    draw = posterior.sample(torch.Generator().manual_seed(5))["w"].double()
    assert abs(float(draw.mean()) - 0.7) < 5 * 0.2 / 200_000**0.5
    assert abs(float(draw.std()) - 0.2) < 5 * 0.2 / 400_000**0.5


def test_samples_follow_the_generator() -> None:
    posterior = random_posterior(network())
    generator = torch.Generator().manual_seed(7)
    first, second = posterior.sample(generator), posterior.sample(generator)
    again = posterior.sample(torch.Generator().manual_seed(7))
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not any(torch.equal(first[n], second[n]) for n in first)


def test_a_sample_runs_the_network() -> None:
    module = network().eval()
    posterior = random_posterior(module)
    weights = posterior.sample(torch.Generator().manual_seed(0))
    x = torch.randn(2, 1, 8, 8)
    found = functional_call(module, {**posterior.state, **weights}, (x,))
    module.load_state_dict({**posterior.state, **weights})
    assert torch.equal(found, module(x))


def test_load_into_gives_the_mean_network() -> None:
    posterior = random_posterior(network())
    twin = posterior.load_into(network())
    assert all(torch.equal(twin.state_dict()[n], posterior.mean[n]) for n in WEIGHTS)


def test_content_hash_ignores_order_and_sees_every_value() -> None:
    posterior = random_posterior(network())
    shuffled = Posterior(
        dict(reversed(posterior.mean.items())),
        dict(reversed(posterior.rho.items())),
        dict(reversed(posterior.state.items())),
    )
    assert shuffled.content_hash() == posterior.content_hash()
    changed = {n: m.clone() for n, m in posterior.mean.items()}
    changed["4.bias"][2] += 1e-3
    assert Posterior(changed, posterior.rho, posterior.state).content_hash() != (
        posterior.content_hash()
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_mean_must_be_finite(bad: float) -> None:
    posterior = random_posterior(network())
    posterior.mean["4.bias"][0] = bad
    with pytest.raises(UserError, match=r"μ of 4\.bias in here"):
        posterior.validate(network(), "here")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_std_must_be_finite(bad: float) -> None:
    posterior = random_posterior(network())
    posterior.rho["0.weight"][0] = bad
    with pytest.raises(UserError, match=r"σ of 0\.weight in here"):
        posterior.validate(network(), "here")


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_from_std_refuses_what_is_no_standard_deviation(bad: float) -> None:
    with pytest.raises(UserError, match="σ of w"):
        from_std({"w": torch.zeros(2)}, {"w": torch.tensor([0.1, bad])})


def test_from_std_needs_equal_names_and_shapes() -> None:
    with pytest.raises(UserError, match="v has a μ or a σ but not both"):
        from_std({"w": torch.zeros(2)}, {"v": torch.ones(2)})
    with pytest.raises(UserError, match=r"shapes \(2,\) and \(3,\)"):
        from_std({"w": torch.zeros(2)}, {"w": torch.ones(3)})


@pytest.mark.parametrize(
    ("number", "says"),
    [(-torch.inf, "put the largest finite number"), (torch.nan, "NaN; train or export")],
)
def test_a_bound_that_bounds_nothing_is_told_from_what_diverged(number: float, says: str) -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    module.register_buffer("low", torch.tensor(number))
    with pytest.raises(UserError, match=f"low in the posterior holds .*{says}"):
        moped(module, 0.1)


def test_validate_names_the_tensor_that_does_not_fit() -> None:
    posterior = random_posterior(network())
    other = network()
    other[4] = nn.Linear(144, 5)
    with pytest.raises(UserError, match=r"4\.weight in here has shape \(3, 144\)"):
        posterior.validate(other, "here")
    with pytest.raises(UserError, match=r"4\.weight of the network is missing from here"):
        Posterior(
            {n: m for n, m in posterior.mean.items() if n != "4.weight"},
            {n: r for n, r in posterior.rho.items() if n != "4.weight"},
            posterior.state,
        ).validate(network(), "here")
    with pytest.raises(UserError, match="extra in here is not a tensor of the network"):
        Posterior(
            posterior.mean, posterior.rho, {**posterior.state, "extra": torch.zeros(1)}
        ).validate(network(), "here")
