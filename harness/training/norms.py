"""Batch norm fitted to sampled weights.

Noise in the weights widens what batch norm sees: its input's variance under sampled weights is
above that in the mean network, for which its statistics were kept. Each layer is given statistics
by which its output has, under sampled weights and channel by channel, the mean and the variance
that it has in the mean network. Unlike plain re-estimation this also holds for networks whose batch
norm was folded to a scale and an offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.errors import UserError
from ..data.splits import Split
from ..posterior.posterior import Posterior

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Moments:
    """Mean and variance per channel over all that was seen, float64 [C]."""

    def __init__(self, x: Tensor | None = None) -> None:
        self.count = 0
        self.sum = self.squares = torch.zeros((), dtype=torch.float64)
        if x is not None:
            self.add(x)

    def add(self, x: Tensor) -> None:
        wide = x.transpose(0, 1).flatten(1).double()
        self.count += wide.shape[1]
        self.sum = self.sum + wide.sum(1)
        self.squares = self.squares + wide.square().sum(1)

    @property
    def mean(self) -> Tensor:
        return self.sum / self.count

    @property
    def variance(self) -> Tensor:
        return (self.squares / self.count - self.mean.square()).clamp_min(0.0)


def fitted(
    module: nn.Module, posterior: Posterior, split: Split, passes: int, batch: int, seed: int = 0
) -> Posterior:
    """The posterior with batch-norm statistics that fit its sampled weights.

    With mean m and variance v of the kept statistics, m₀ and v₀ of the layer's input in the mean
    network, m₁ and v₁ under sampled weights: v + ε becomes (v + ε)·v₁/v₀, and m becomes
    m₁ + (m − m₀)·√(v₁/v₀). While m₁ and v₁ are observed, earlier layers already have their output
    corrected, minibatch by minibatch, to the moments that the mean network has on the same one.

    Args:
        module: the network; it is put into evaluation mode.
        posterior: the distribution of its weights.
        split: training images.
        passes: draws of the weights, each over the whole split.
        batch: images per forward call; statistics of few images are poor.
        seed: of the draws.

    A layer that is not called (an auxiliary head in training alone) keeps its statistics.

    Raises:
        UserError: a layer that keeps no statistics, or is called more than once for an image.
    """
    norms = {n: layer for n, layer in module.named_modules() if isinstance(layer, _NORMS)}
    for name, layer in norms.items():
        if layer.running_mean is None:
            raise UserError(f"{name} keeps no statistics; set norm_passes to 0.")
    mean, sampled = {n: _Moments() for n in norms}, {n: _Moments() for n in norms}
    wanted: dict[str, _Moments] = {}
    module = posterior.load_into(module).eval()
    generator = torch.Generator().manual_seed(seed)

    def observe(name: str, x: Tensor) -> None:
        if name in wanted:
            raise UserError(
                f"{name} is used more than once in a pass, and no one set of statistics fits that; "
                "set norm_passes to 0."
            )
        wanted[name] = _Moments(x)
        mean[name].add(x)

    def correct(name: str, x: Tensor) -> Tensor:
        found = _Moments(x)
        sampled[name].add(x)
        scale = _scale(wanted[name], found)
        offset = wanted[name].mean - scale * found.mean
        shape = (1, -1, *(1,) * (x.dim() - 2))
        return x * scale.float().view(shape) + offset.float().view(shape)

    with torch.inference_mode():
        for _ in range(passes):
            weights = {**posterior.state, **posterior.sample(generator)}
            for x in _batches(split, batch):
                wanted.clear()
                with _watched(norms, observe):
                    module(x)
                with _watched(norms, correct):
                    functional_call(module, weights, (x,))
    state = dict(posterior.state)
    for name in wanted:
        layer = norms[name]
        widened = 1.0 / _scale(mean[name], sampled[name])
        kept_mean = state[f"{name}.running_mean"].double()
        kept_variance = state[f"{name}.running_var"].double() + layer.eps
        shifted = sampled[name].mean + (kept_mean - mean[name].mean) * widened
        state[f"{name}.running_mean"] = shifted.float()
        state[f"{name}.running_var"] = (kept_variance * widened.square() - layer.eps).float()
    return replace(posterior, state=state)


def _scale(wanted: _Moments, found: _Moments) -> Tensor:
    """√(v₀ / v₁); 1 where a channel is constant."""
    ratio = (wanted.variance / found.variance).sqrt()
    return torch.where(torch.isfinite(ratio) & (ratio > 0), ratio, torch.ones_like(ratio))


def _batches(split: Split, batch: int) -> Iterator[Tensor]:
    for start in range(0, len(split), batch):
        yield split.batch(slice(start, start + batch))


@contextmanager
def _watched(
    layers: Mapping[str, nn.Module], watch: Callable[[str, Tensor], Tensor | None]
) -> Iterator[None]:
    """While it lasts, `watch` sees each layer's input by its name, and may give another."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor] | None]:
        def before(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
            other = watch(name, inputs[0])
            return None if other is None else (other,)

        return before

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
