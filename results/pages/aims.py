"""What was aimed at before anything was measured, where the pages speak of it."""

from __future__ import annotations

from types import SimpleNamespace

#: Of the 2023 paper: INT8 over FP32 of ResNet-50 in bayesian-torch.
from sigmabench.harness.claims.papers import SPEEDUP as PAPER_SPEEDUP

__all__ = ["AIMS", "PAPER_SPEEDUP"]

#: Percent of accuracy or balanced accuracy, points, and times as fast.
AIMS = SimpleNamespace(
    resnet20_accuracy=92,
    histology_balanced=90,
    histology_held_out=75,
    histology_one_bit_points=1,
    resnet50_speedup=9,
)
