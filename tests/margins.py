"""The margins of the metrics that are judged, and others in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sigmabench.harness.metrics.metric import Metric, judged_metrics

MARGINS: dict[str, float] = {name: one.margin or 0.0 for name, one in judged_metrics().items()}


def judged_within(
    margins: Mapping[str, float], harm: Mapping[str, float] | None = None
) -> dict[str, Metric]:
    """What `judged_metrics` gives, with these margins.

    Args:
        margins: by metric.
        harm: 1 where more of it is worse, −1 where less is; as it is by default.
    """
    found = judged_metrics()
    signs = {name: one.harm for name, one in found.items()} | dict(harm or {})
    return {
        name: replace(one, margin=margins[name], lower_is_better=signs[name] >= 0)
        for name, one in found.items()
    }
