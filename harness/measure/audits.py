"""Audits: whether a record may be believed.

Each is a function of plain inputs that returns `pass`, `not applicable: why` or `fail: why`, and
knows nothing of how its inputs were made, so a test can hand it a broken case. What each is about
stands in `verdict.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from ..core.words import beyond, plural
from ..records.run_record import Fidelity
from ..records.verdict import PASS
from ..stats.latency import ratio_of_medians
from .clock import Samples
from .fidelity import MIN_DRAWS

if TYPE_CHECKING:
    from torch import Tensor

DETERMINISTIC = "not applicable: the network is deterministic"

#: Chance of a false alarm over all layers and both moments together.
FALSE_ALARM = 1e-3
FLOAT_TOLERANCE = 1e-4
RING_TOLERANCE = 1.10
NOISE_BOUND = 0.15

SKIPPED_NAMED = 3  # of images that cannot be read
_PASSES = 8
_MANY = 8  # weights that differ: not one rare event

#: (layer, seed, MC index) to sampled weights.
Sample = Callable[[str, int, int], NDArray]


def moments(fidelities: Sequence[Fidelity]) -> str:
    """Mean and second moment of the draws match their exact law, each layer in 10^5 draws or more.

    A two-sided z-test of two moments per layer at a family-wise level of 10^-3 (Bonferroni).
    """
    if not fidelities:
        return DETERMINISTIC
    limit = float(norm.isf(FALSE_ALARM / (2 * 2 * len(fidelities))))
    for layer in fidelities:
        if layer.moment_draws < MIN_DRAWS:
            return f"fail: {layer.layer} was judged by {plural(layer.moment_draws, 'draw')}"
        for moment, z in (("mean", layer.moment_mean_z), ("variance", layer.moment_var_z)):
            if not abs(z) < limit:
                return f"fail: {layer.layer}, {moment} of the draws: |z| {abs(z):.1f} ≥ {limit:.1f}"
    return PASS


def draws_differ(sample: Sample, layers: Sequence[str], seed: int = 0) -> str:
    """Weights differ between MC passes and between seeds, and repeat under the same of both.

    A layer whose weights (nearly) never move cannot show that it is drawn anew; at least one layer
    has to. That such a layer moves as rarely as it should is for `moments` to say.
    """
    if not layers:
        return DETERMINISTIC
    moved = False
    for layer in layers:
        passes = [np.array(sample(layer, seed, mc)) for mc in range(_PASSES)]
        other = np.array(sample(layer, seed + 1, 0))
        if not np.array_equal(passes[0], sample(layer, seed, 0)):
            return f"fail: {layer} does not repeat under one seed and MC index"
        changes = [
            int(np.count_nonzero(a != b)) for i, a in enumerate(passes) for b in passes[i + 1 :]
        ]
        reseeded = int(np.count_nonzero(passes[0] != other))
        most = max(*changes, reseeded)
        moved |= most > 0
        if most >= _MANY and min(changes) == 0:
            return f"fail: {layer} has the same weights in two MC passes"
        if most >= _MANY and reseeded == 0:
            return f"fail: {layer} has the same weights under two seeds"
    return PASS if moved else "fail: no layer's weights ever change"


def every_pass_drew(draws_before: int, draws_after: int, passes: int, weights: int) -> str:
    """The sampler's counter moved by every Bayesian weight in each of the timed passes."""
    if weights == 0:
        return DETERMINISTIC
    drawn, expected = draws_after - draws_before, passes * weights
    if drawn == expected:
        return PASS
    made = f"{plural(drawn, 'weight')} drawn in {plural(passes, 'pass', 'passes')}"
    return f"fail: {made}, {expected:,} expected"


def passes_differ(queries: Sequence[ArrayLike], weights: int) -> str:
    """More than half of a timed query's passes have outputs of their own.

    A posterior whose weights hardly move may give a few passes equal outputs; weights that are
    reused give them to half or more.

    Args:
        queries: logits of timed queries, [T, N, classes] each.
        weights: Bayesian weights that a pass should draw.
    """
    if weights == 0:
        return DETERMINISTIC
    for query in queries:
        passes = np.asarray(query)
        if len(passes) < 2:
            return "not applicable: a query has one pass"
        distinct = len(np.unique(passes.reshape(len(passes), -1), axis=0))
        if distinct <= len(passes) // 2:
            return (
                f"fail: {plural(distinct, 'distinct output')} in the {len(passes)} passes of a "
                "timed query"
            )
    return PASS


def outputs_match(
    timed: ArrayLike, rescored: ArrayLike, exact: bool, tolerance: float = FLOAT_TOLERANCE
) -> str:
    """Outputs of the timed path are those that were scored.

    Args:
        timed: from timed queries, mean probabilities or logits, of any shape.
        rescored: the same images and seeds, from the scoring run.
        exact: bit for bit (int8), else within `tolerance` (float).
        tolerance: largest absolute difference.
    """
    first, second = np.asarray(timed), np.asarray(rescored)
    if first.shape != second.shape or first.size == 0:
        return f"fail: timed outputs have shape {first.shape}, scored ones {second.shape}"
    if np.array_equal(first, second):
        return PASS
    worst = float(np.abs(first - second).max())
    if not exact and worst <= tolerance:
        return PASS
    return f"fail: timed and scored outputs differ by {worst:.2g}"


def adaptive_outputs_match(
    timed: tuple[Tensor, Tensor],
    rescored: tuple[Tensor, Tensor],
    exact: bool,
    tolerance: float = FLOAT_TOLERANCE,
) -> str:
    """Adaptive outputs of the timed path are those that were scored, and so are the passes spent.

    Where outputs depend on the batch (float), an image on the edge may stop at another look; more
    than one in ten of them may not.

    Args:
        timed: from timed queries, mean probabilities [N, C] and passes spent [N].
        rescored: of the same images and seeds, from the scoring run.
        exact: bit for bit (int8), else within `tolerance` (float).
        tolerance: largest absolute difference.
    """
    same = timed[1] == rescored[1]
    moved = int((~same).sum())
    if moved > (0 if exact else max(1, len(same) // 10)):
        total = plural(len(same), "image")
        return f"fail: {moved} of {total} had other passes when timed than when scored"
    if not same.any():
        return PASS
    return outputs_match(timed[0][same], rescored[0][same], exact, tolerance)


def inputs_not_cached(ring: Samples, repeated: Samples) -> str:
    """A ring of inputs is no more than 10 % slower than one repeated input.

    Fails only if the ratio of medians is above 1.10 and its 95 % interval excludes 1.
    """
    ratio = ratio_of_medians(
        (ring.latency_ns, repeated.latency_ns),
        (ring.slices, repeated.slices),
        paired=len(ring.slices) == len(repeated.slices),
    )
    if ratio.value > RING_TOLERANCE and ratio.low > 1:
        return (
            f"fail: a ring of inputs takes {ratio.value:.2f} times as long as one repeated input "
            f"({ratio.low:.2f} to {ratio.high:.2f})"
        )
    return PASS


def isa_dispatched(claimed: str, dispatched: str) -> str:
    """The kernels ran the instruction set that was claimed; `auto` claims none."""
    if claimed == "auto":
        return "not applicable: no instruction set was asked for"
    if claimed == dispatched:
        return PASS
    return f"fail: {claimed} was claimed, {dispatched or 'nothing'} was dispatched"


def noise_bounded(noise: float, bound: float = NOISE_BOUND) -> str:
    """Run-to-run noise is below the bound."""
    if noise <= bound:
        return PASS
    shown = beyond(100 * noise, 100 * bound, 0)
    return f"fail: run-to-run noise {shown} % is above {100 * bound:g} %"


def processes_agree(found: Sequence[object]) -> str:
    """Every process that timed a cell had the same model and instruction set, and the scores of the
    first, against which each holds what it timed (`scored the timed path`).

    Args:
        found: of each process.
    """
    if any(one != found[0] for one in found):
        return "fail: processes differ in the model, its scores or the instruction set"
    return PASS


def not_throttled(periods: int, quota: float | None) -> str:
    """The CPU quota stopped nothing while the clock ran.

    Args:
        periods: in which it did, of the process's control group and all above it.
        quota: in cores; None without one.
    """
    if periods:
        limit = "" if quota is None else f" of {plural(quota, 'core')}"
        often = plural(periods, "period")
        return f"fail: the CPU quota{limit} stopped the process in {often} of the timing"
    return PASS if quota is not None else "not applicable: no CPU quota is set"


def cores_free(variables: Collection[str], bound: str | None) -> str:
    """The threads that were timed could run on all cores that the process was started with.

    Args:
        variables: that are set and bind threads to cores.
        bound: why the threads could not, see `cores.bound`; None if they could.
    """
    if not variables:
        return "not applicable: no variable binds threads to cores"
    return PASS if bound is None else f"fail: {bound}"


@dataclass(frozen=True)
class _Watch:
    field: str
    limit: float
    below: bool
    text: str


_WATCHED = (
    _Watch("std_ratio", 0.5, True, "POSTERIOR LOST: σ of the draws is {:.2f} of the original"),
    _Watch("clamped_share", 0.01, False, "{:.1%} of draws clamped"),
    _Watch("immovable_share", 0.05, False, "{:.1%} of weights cannot move"),
)


def skipped_findings(skipped: Sequence[str], images: str = "images") -> tuple[str, ...]:
    """A line on images that could not be read, where there are some.

    Args:
        skipped: their names.
        images: what they are.
    """
    if not skipped:
        return ()
    named = ", ".join(skipped[:SKIPPED_NAMED]) + " …" * (len(skipped) > SKIPPED_NAMED)
    return (f"{images} left out because they cannot be read: {len(skipped)} ({named})",)


def posterior_findings(fidelities: Sequence[Fidelity]) -> tuple[str, ...]:
    """What the layers lost of their posterior, one short line each, the loud ones first.

    Rms fidelity below 0.5, more than 1 % of draws clamped, more than 5 % of weights immovable.
    """
    found = []
    for watch in _WATCHED:
        for layer in fidelities:
            value = getattr(layer, watch.field)
            if value is None:
                continue
            if value < watch.limit if watch.below else value > watch.limit:
                found.append(f"{layer.layer}: {watch.text.format(value)}")
    return tuple(found)
