"""What draws of T passes say: means over them, how far they agree, and what a draw does to all
images alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...records.samples_record import AtCount, DrawLuck

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.units import Units
    from ...predict.stretches import Stretches

#: Of longer stretches the luck in NLL is told by those of so many passes: what is linear in the
#: passes has the same luck, and there are more of them to tell it.
LUCK_PASSES = 20


def at_count(
    mc: int, found: Mapping[int, Stretches], reference: Stretches, units: Units
) -> tuple[AtCount, NDArray[np.float64]]:
    """What T passes give; and of each image the share of pairs of draws that decide it alike, [N]
    float64."""
    pairs = found[mc].decision.numpy(), reference.decision.numpy()
    own, others = alike(*pairs), alike(*reversed(pairs))
    luck = (luck_of(own, units), luck_of(others, units))
    return _counted(mc, found, float(own.mean()), luck, units), own.mean(axis=0)


def of_reference(mc: int, found: Mapping[int, Stretches], units: Units) -> AtCount:
    """Of the reference, whose draws are held against one another."""
    decision = found[mc].decision.numpy()
    draws = len(decision)
    others = (alike(decision, decision) * draws - 1) / (draws - 1)  # each is like itself
    luck = luck_of(others, units)
    return _counted(mc, found, float(others.mean()), (luck, luck), units)


def _counted(
    mc: int,
    found: Mapping[int, Stretches],
    agreeing: float,
    luck: tuple[DrawLuck, DrawLuck],
    units: Units,
) -> AtCount:
    nll = found[mc].nll.double().numpy()
    return AtCount(
        mc=mc,
        stretches=len(nll),
        nll_nats=float(nll.mean()),
        nll_spread_nats=float(nll.mean(axis=1).std(ddof=1)),
        nll_luck=luck_of(found[min(mc, LUCK_PASSES)].nll.double().numpy(), units),
        agreeing=agreeing,
        agreeing_luck=luck,
    )


def mean_nll(found: Stretches) -> NDArray[np.float64]:
    """[N] over the draws."""
    return np.asarray(found.nll.double().mean(dim=0))


def luck_of(values: NDArray[np.float64], units: Units) -> DrawLuck:
    """Of the mean of [R, N] over draws and images."""
    draws, images = values.shape
    whole = float(values.mean(axis=1).var(ddof=1)) / draws
    each = np.stack([units.sums(one) for one in values])
    own = float(each.var(axis=0, ddof=1).sum()) / images**2 / draws
    return DrawLuck(draws, whole, whole - own)


def alike(decision: NDArray[np.int32], others: NDArray[np.int32]) -> NDArray[np.float64]:
    """[R, N] of each draw and image the share of the other draws that decide it alike.

    Args:
        decision: [R, N].
        others: [L, N].
    """
    found = np.zeros(decision.shape)
    for one in others:
        found += decision == one
    return found / len(others)
