"""What was aimed at before anything was measured, where the pages speak of it."""

from __future__ import annotations

from types import SimpleNamespace

#: Percent of accuracy or balanced accuracy, points, and times as fast.
AIMS = SimpleNamespace(
    resnet20_accuracy=92,
    histology_balanced=90,
    histology_held_out=75,
    histology_one_bit_points=1,
    resnet50_speedup=9,
)
#: Of the 2023 paper: INT8 over FP32 of ResNet-50 in bayesian-torch.
PAPER_SPEEDUP = 6.9
