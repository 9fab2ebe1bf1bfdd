"""Means, variances and slopes of each operation of a folded network, in closed form.

The elements of an activation, its pixels and channels, are taken as Gaussian and as independent of
one another. What an operation makes of that is exact where its docstring names no other assumption.

For autograd the mean of y = f(x) is the line through E[y] with the slope E[f′(x)]. By Stein's lemma
that is Cov[x, y] / Var[x], so this line is the best one in mean square (statistical linearisation:
Gelb, "Applied Optimal Estimation", 1974, section 6.2). `linearised` carries covariances by it. No
gradient goes through variances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..quantize import forward
from ..quantize.fold import FloatLayer
from ..quantize.forward import covers_input
from ..quantize.graph import Conv, Pool

_FARTHEST = 6.0  # standard deviations: a tail beyond has 1e-9 of a Gaussian, and is taken as none
_TINY = 1e-30  # in place of a standard deviation of 0


@dataclass(frozen=True, eq=False)
class Moments:
    """Of independent Gaussian numbers.

    Attributes:
        mean: float32 [N, C, H, W]; autograd follows it.
        var: variance, the same shape; 0 where a number is certain.
    """

    mean: Tensor
    var: Tensor


@dataclass(frozen=True, eq=False)
class WeightMoments:
    """Of a layer's weights, which are independent Gaussian numbers; float32.

    Attributes:
        mean: μ, [O, I, KH, KW].
        std: σ, the same shape; None where the whole weight is certain.
        square: μ² + σ², the same shape.
        bias: μ of the bias, [O].
        bias_std: σ of the bias, [O].
    """

    mean: Tensor
    std: Tensor | None
    square: Tensor
    bias: Tensor
    bias_std: Tensor

    @classmethod
    def of(cls, layer: FloatLayer) -> WeightMoments:
        """From μ and σ."""
        return cls(
            mean=layer.mean,
            std=layer.std if bool(layer.std.any()) else None,
            square=layer.mean.square() + layer.std.square(),
            bias=layer.bias,
            bias_std=layer.bias_std,
        )


def convolve(conv: Conv, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution or a linear layer, [N, O, H', W'], without residual sum and ReLU."""
    if covers_input(conv, tuple(x.shape[2:])):
        return functional.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def layer(conv: Conv, weights: WeightMoments, x: Moments) -> Moments:
    """Of a convolution or a linear layer, before its residual sum and its ReLU.

    E[y] = μ * E[x] + E[b] and Var[y] = (μ² + σ²) * Var[x] + σ² * E[x]² + Var[b], where * is the
    convolution (the moments of Kingma, Salimans and Welling, "Variational dropout and the local
    reparameterization trick", NeurIPS 2015, equation 6, of inputs that are random too).
    """
    mean = convolve(conv, x.mean, weights.mean, weights.bias)
    var = convolve(conv, x.var, weights.square, weights.bias_std.square())
    if weights.std is not None:
        var = var + convolve(conv, x.mean.detach().square(), weights.std.square())
    return Moments(mean, var.clamp(min=0.0))


def beside(sources: Sequence[Moments]) -> Moments:
    """Of activations side by side in channels."""
    means, variances = [one.mean for one in sources], [one.var for one in sources]
    return Moments(torch.cat(means, 1), torch.cat(variances, 1))


def plus(x: Moments, y: Moments) -> Moments:
    """Of a residual sum, as if its two sides were independent, which come from one activation."""
    return Moments(x.mean + y.mean, x.var + y.var)


def clipped(x: Moments, ceiling: float | None = None) -> Moments:
    """Of min(relu(x), ceiling): a Gaussian rectified at 0, and at a ceiling c.

    With s² = Var[x], m = E[x], a = −m/s, b = (c − m)/s, P = Φ(b) − Φ(a) and any number t,

        E[y] − t    = −t Φ(a) + (c − t) Φ(−b) + (m − t) P + s (φ(a) − φ(b))
        E[(y − t)²] = t² Φ(a) + (c − t)² Φ(−b) + (m − t)² P + 2 (m − t) s (φ(a) − φ(b))
                      + s² (P + a φ(a) − b φ(b))

    (Frey and Hinton, "Variational learning in nonlinear Gaussian belief networks", Neural
    Computation 1999, have the case without a ceiling and t = 0). Here t = min(relu(m), c), so that
    no large numbers cancel in either tail. The slope is P.
    """
    s, m = x.var.sqrt(), x.mean.detach()
    t = m.clamp(0.0, ceiling)
    a = _standard(-m, s)
    below, inside, dense = _upper(-a), _upper(a), _density(a)
    edge = a * dense
    shift, spread = -t * below, t.square() * below
    if ceiling is not None:
        b = _standard(ceiling - m, s)
        above, rest, far = _upper(b), ceiling - t, _density(b)
        inside = torch.where(a > 0, inside - above, _upper(-b) - below)  # of the smaller tails
        dense, edge = dense - far, edge - b * far
        shift, spread = shift + rest * above, spread + rest.square() * above
    off = m - t
    shift = shift + off * inside + s * dense
    spread = spread + off.square() * inside + 2.0 * off * s * dense + x.var * (inside + edge)
    mean = t + shift + inside * (x.mean - m)  # which adds 0, and the slope
    return Moments(mean, (spread - shift.square()).clamp(min=0.0))


#: Of what a join applies: moments and parameter to moments. Others have no closed form.
FUNCTION_MOMENTS: dict[str, Callable[[Moments, float], Moments]] = {
    "identity": lambda x, _: x,
    "relu": lambda x, end: clipped(x, end if math.isfinite(end) else None),
    "scale": lambda x, factor: Moments(factor * x.mean, factor**2 * x.var),
    "shift": lambda x, number: Moments(x.mean + number, x.var),
}


def pooled(pool: Pool, x: Moments) -> Moments:
    """Of a pool.

    A maximum is taken as if a window's elements moved together, so that the one of the largest mean
    is the largest in every draw. They are neighbours under one filter, whose draws move them alike:
    the maximum of independent Gaussians (Clark, "The greatest of a finite set of random variables",
    Operations Research 1961) has a mean that is far too large. An average is taken as if its n
    pixels were independent: Var[y] = Σ Var[x] / n².
    """
    if pool.kind == "max":
        size = pool.kernel, pool.stride, pool.padding, pool.dilation, pool.ceil
        mean, index = functional.max_pool2d(x.mean, *size, return_indices=True)
        return Moments(mean, x.var.flatten(2).gather(2, index.flatten(2)).view_as(mean))
    return Moments(forward.pooled(pool, x.mean), forward.pooled(pool, x.var) / _pixels(pool, x.var))


def _pixels(pool: Pool, x: Tensor) -> Tensor:
    """How many pixels each window of an average counts, [..., H', W'], of x [N, C, H, W]."""
    if pool.out is None:
        ones, size = torch.ones_like(x[:1, :1]), (pool.kernel, pool.stride, pool.padding, pool.ceil)
        return functional.avg_pool2d(ones, *size, divisor_override=1)
    rows, columns = (
        torch.tensor([-(-(i + 1) * before // after) - i * before // after for i in range(after)])
        for before, after in zip(x.shape[2:], pool.out, strict=True)
    )
    return rows[:, None] * columns


def _standard(x: Tensor, s: Tensor) -> Tensor:
    """x / s, as far out as tails are none."""
    return (x / s.clamp(min=_TINY)).clamp(-2 * _FARTHEST, 2 * _FARTHEST)


def _upper(z: Tensor) -> Tensor:
    """Φ(−z), with every digit in the upper tail, but 0 where that is none: products of such tails
    over several layers would be denormal numbers, which CPUs are slow with."""
    return torch.where(z > _FARTHEST, 0.0, 0.5 * torch.special.erfc(z * math.sqrt(0.5)))


def _density(z: Tensor) -> Tensor:
    """φ(z), 0 where the tail is none."""
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
    return torch.where(z.abs() > _FARTHEST, 0.0, density)
