from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sigmabench.harness.posterior.elbo import gaussian_kl, negative_elbo


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    noise = torch.randn(3, 4, generator=generator, dtype=torch.float64)

    def loss(mean: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        std = functional.softplus(rho)
        logits = x @ (mean + std * noise).T
        return negative_elbo(logits, labels, gaussian_kl(mean, std, 0.1, 0.5), 60, 0.7)

    mean = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    rho = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (mean, rho))


def test_negative_elbo_is_mean_nll_plus_summed_kl_over_train_size() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 0])
    nll = -(logits.log_softmax(1)[0, 0] + logits.log_softmax(1)[1, 0]) / 2
    found = negative_elbo(logits, labels, torch.tensor(300.0), train_size=100, temperature=0.5)
    assert float(found) == pytest.approx(float(nll) + 1.5)


def test_kl_grows_with_the_number_of_weights() -> None:
    one = gaussian_kl(torch.ones(1), torch.full((1,), 0.1), 0.0, 1.0)
    many = gaussian_kl(torch.ones(1000), torch.full((1000,), 0.1), 0.0, 1.0)
    assert float(many) == pytest.approx(1000 * float(one), rel=1e-5)


def test_kl_is_least_and_flat_at_the_prior() -> None:
    mean = torch.full((5,), 0.2, requires_grad=True)
    std = torch.full((5,), 0.3, requires_grad=True)
    kl = gaussian_kl(mean, std, 0.2, 0.3)
    kl.backward()
    assert kl.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(mean.grad, torch.zeros(5))
    torch.testing.assert_close(std.grad, torch.zeros(5), atol=1e-6, rtol=0)


def test_frozen_weights_have_no_gradient_and_stay_frozen() -> None:
    mean = torch.tensor([1.0, 2.0], requires_grad=True)
    rho = torch.tensor([-3.0, -float("inf")], requires_grad=True)
    gaussian_kl(mean, functional.softplus(rho), 0.0, 1.0).backward()
    assert mean.grad is not None
    assert rho.grad is not None
    assert mean.grad[1] == 0
    assert rho.grad[1] == 0
    assert rho.grad[0] != 0
    torch.optim.Adam([rho], lr=0.1).step()
    assert torch.isneginf(rho[1])
