"""Labels of the splits of workloads that ship, by their digest: the data itself need not be there.

    python -m sigmabench.harness.bundle.shipped_labels [DATA]

prints them from the data.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..workload.cell import Cell
from ..workload.workload import WORKLOADS

#: Of a workload, its version and a split how many images there are, and 16 hex digits of the
#: SHA-256 of their labels as int32, low byte first.
LABELS: dict[tuple[str, str, str], tuple[int, str]] = {
    ("histology-colorectal", "1", "test"): (622, "581b16897f636c48"),
    ("histology-colorectal", "1", "validation"): (595, "4faf17d6f7f91dad"),
    ("histology-colorectal", "1", "held-out-slides"): (1280, "6d08d14caecc0051"),
    ("histology-colorectal", "1", "other-cohort"): (84, "ba96ea7474abc16e"),
    ("lenet-digits", "1", "test"): (500, "9be9d4c315cd5848"),
    ("lenet-digits", "1", "validation"): (200, "210a6b28caf7f988"),
    ("lenet5-mnist", "1", "test"): (10000, "52aa149c856ca033"),
    ("lenet5-mnist", "1", "validation"): (5000, "eaa0b031a7a0338b"),
    ("resnet20-cifar10", "1", "test"): (10000, "46759f9470c7bc48"),
    ("resnet20-cifar10", "1", "validation"): (5000, "d9a9011323fb5f7c"),
}


def digest(labels: NDArray[Any]) -> str:
    """16 hex digits."""
    told = np.ascontiguousarray(labels, "<i4").tobytes()
    return hashlib.sha256(told).hexdigest()[:16]


def images_of(cell: Cell) -> int | None:
    """How many images a cell is scored on; None where nobody here knows its split."""
    found = LABELS.get((cell.workload, cell.workload_version, cell.split))
    if found is None or cell.data:
        return None
    return min(cell.limit, found[0]) if cell.limit else found[0]


def shipped(cell: Cell, labels: NDArray[Any]) -> bool:
    """Whether labels are those of a cell's images, as far as that is known here.

    Args:
        cell: scored on images of which none was left out.
        labels: of its images, in order.
    """
    known = LABELS.get((cell.workload, cell.workload_version, cell.split))
    return known is None or bool(cell.data or cell.limit) or digest(labels) == known[1]


def of_data(root: Path | None) -> Iterator[tuple[tuple[str, str, str], tuple[int, str]]]:
    """Entries of `LABELS`, from the data.

    Args:
        root: data root, or None.

    Raises:
        UserError: some of it is not there.
    """
    for name in WORKLOADS.names():
        workload = WORKLOADS.built_in(name)
        if workload is None or workload.digest_data:
            continue
        splits = WORKLOADS.get(name).splits(root)
        for split in workload.scored_splits:
            labels = splits.scored(split).labels.numpy()
            yield (name, workload.version, split), (len(labels), digest(labels))


def main() -> None:
    """Print them."""
    for key, value in of_data(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(f"    {key!r}: {value!r},".replace("'", '"'))


if __name__ == "__main__":
    main()
