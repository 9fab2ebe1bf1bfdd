"""A workload of a user's own: the digits, in an order that a file under the data root says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from sigmabench.harness.data.splits import Split, Splits
from sigmabench.harness.workload.workload import WORKLOADS

DIGITS = WORKLOADS.get("lenet-digits")


def splits(root: Path | None) -> Splits:
    """The digits, the images of each part turned round by as many places as `turn.txt` says."""
    turn = int((root / "turn.txt").read_text()) if root else 0
    found = DIGITS.splits(None)

    def turned(split: Split) -> Split:
        return replace(split, images=torch.roll(split.images, turn, 0))

    parts = (turned(part) for part in (found.train, found.validation, found.test))
    return Splits(*parts, others={"more": replace(found.validation, name="more")})


WORKLOAD = replace(DIGITS, name="own", splits=splits, twin=DIGITS.posterior, other_splits=("more",))
