"""How the NLL of images changes around a fitted temperature, and what another fit would have given.

The temperature of another draw of the validation images follows from one step of Newton's method
around τ̂: with g_i and h_i the first and second derivatives of image i's NLL with respect to log τ,
weights w_i make it log τ̂ − Σ w_i g_i / Σ w_i h_i (Davidson and MacKinnon, "Bootstrap Testing in
Nonlinear Models", International Economic Review 40, 1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: Between its inverse and itself a temperature is looked for.
MOST = 20.0


@dataclass(frozen=True, eq=False)
class Derivatives:
    """NLL of single images around a temperature.

    Attributes:
        nll: [N] float64, nats.
        slope: [N] float64, its derivative with respect to log τ.
        curvature: [N] float64, its second derivative.
    """

    nll: F64
    slope: F64
    curvature: F64

    def take(self, index: NDArray[np.bool_]) -> Derivatives:
        """Of some of the images."""
        return Derivatives(self.nll[index], self.slope[index], self.curvature[index])

    @staticmethod
    def cat(parts: Sequence[Derivatives]) -> Derivatives:
        """Of the images of all parts."""
        names = ("nll", "slope", "curvature")
        return Derivatives(*(np.concatenate([getattr(one, n) for one in parts]) for n in names))


def refitted(found: Derivatives, weights: F64) -> F64:
    """By how much log τ would be another, had images counted so often, [B] float64.

    Where the weighted curvature is not positive τ has no minimum near by and stays as it is; a step
    ends where `MOST` would be exceeded twice over.

    Args:
        found: of the images that it was fitted on, N of them.
        weights: how often each image counts, [B, N].
    """
    slope, curvature = weights @ found.slope, weights @ found.curvature
    step = np.divide(-slope, curvature, out=np.zeros_like(slope), where=curvature > 0)
    end = 2 * math.log(MOST)
    return np.asarray(np.clip(step, -end, end))


def moved(found: Derivatives, change: F64, weights: F64) -> F64:
    """Mean NLL at other temperatures, by the second-order expansion around this one, [B] float64.

    Args:
        found: of the images that are scored, N of them.
        change: of log τ, [B].
        weights: how often each image counts, [B, N].
    """
    count = weights.sum(axis=1)
    parts = (weights @ each / count for each in (found.nll, found.slope, found.curvature))
    nll, slope, curvature = parts
    return np.asarray(nll + change * slope + change**2 * curvature / 2)
