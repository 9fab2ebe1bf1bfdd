"""Activations that their range cuts off: from which share it is reported, and from which it fails.

Shares are those of `quantize.calibrate.saturation`, by activation. The levels were derived on
validation data, by results/choices/saturation/choose.py (docs/saturation.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..records.verdict import PASS

#: From this share of one activation on, the mean probability of the label moved by 0.01 or more.
FINDING_SHARE = 0.0019
#: From this share on, NLL rose by 0.01 nats or 5 %, or accuracy fell by 0.5 points.
FAILING_SHARE = 0.0079


def saturation_findings(
    shares: Mapping[str, float], calibration: str, observer: str
) -> tuple[str, ...]:
    """A line for each activation with too many values beyond its range, the worst first.

    Args:
        shares: of values beyond the range, in [0, 1], by activation.
        calibration: that chose the ranges, `mean` or `sampled`.
        observer: that chose them.
    """
    cut = {name: share for name, share in shares.items() if share >= FINDING_SHARE}
    remedy = _remedy(calibration, observer)
    return tuple(
        f"{name}: {cut[name]:.1%} of activations beyond their range; {remedy}"
        for name in sorted(cut, key=lambda name: -cut[name])
    )


def _remedy(calibration: str, observer: str) -> str:
    if calibration == "mean":
        return "use --calibrate sampled"
    return "use --observer minmax" if observer != "minmax" else "its passes vary too much"


def activations_in_range(shares: Mapping[str, float]) -> str:
    """No activation has as many values beyond its range as were seen to cost quality.

    Args:
        shares: as `saturation_findings`; empty where activations are floats.
    """
    if not shares:
        return "not applicable: activations are floats"
    worst = max(shares, key=lambda name: shares[name])
    if shares[worst] < FAILING_SHARE:
        return PASS
    return (
        f"fail: {shares[worst]:.1%} of {worst} is beyond its range, {FAILING_SHARE:.1%} or more "
        "costs quality"
    )
