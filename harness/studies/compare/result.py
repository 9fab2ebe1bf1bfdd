"""What comes of comparing two sets of records (`compare`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...workload.cell import Cell

NOT_JUDGED = "not judged"
#: What a verdict ends with that may not hold for other test images.
HERE = " on these images"


@dataclass(frozen=True)
class Latency:
    """Median latency of one cell on both sides.

    Attributes:
        key: of the cell.
        a_p50_ns: median of A.
        b_p50_ns: median of B.
        ratio: B over A; above 1, B is slower. None where the two were not measured in one race.
        ci95: 95 % confidence interval of the ratio; None without one, and where a side has fewer
            than two slices.
        p_value: of a ratio within the smallest effect that matters; None likewise.
        p_holm: the same, corrected for all tests of the comparison.
        detectable: the smallest measured slowdown, as a share, that would have been shown whatever
            the other tests say (at alpha over their number).
        verdict: `faster`, `slower`, `none shown` or `not testable`; it is about B.
    """

    key: str
    a_p50_ns: float
    b_p50_ns: float
    ratio: float | None
    ci95: tuple[float, float] | None
    p_value: float | None
    p_holm: float | None
    detectable: float | None
    verdict: str


@dataclass(frozen=True)
class Score:
    """One metric of the cells that differ in their batch alone and score the same.

    Attributes:
        keys: of the cells.
        metric: its name.
        a: values on side A, one per seed.
        b: values on side B.
        units: independent images that both were scored on.
        difference: mean of B less mean of A; None where a side has no value.
        ci95: its 95 % interval by Welch, over MC draws alone, of accuracy within ±100 points; None
            for fewer than two seeds.
        test_set_ci95: for accuracy, the 95 % interval of the difference over draws of test images;
            else, and from one independent image, None.
        p_value: of a difference within the smallest effect that matters, over MC draws; None where
            it is not defined.
        p_holm: the same, corrected for all tests of the comparison.
        verdict: `identical`, `better`, `worse`, `different` (a metric without a direction),
            `none shown`, `not testable` or `not judged` (too few units); it is about B. `better on
            these images` and `worse on these images` where the interval over draws of test images
            covers 0.
    """

    keys: tuple[str, ...]
    metric: str
    a: tuple[float | None, ...]
    b: tuple[float | None, ...]
    units: int
    difference: float | None
    ci95: tuple[float, float] | None
    test_set_ci95: tuple[float, float] | None
    p_value: float | None
    p_holm: float | None
    verdict: str


@dataclass(frozen=True)
class Bytes:
    """An exact quantity of one cell on both sides.

    Attributes:
        key: of the cell.
        quantity: `file_bytes` or `pass_bytes`.
        a: on side A.
        b: on side B.
    """

    key: str
    quantity: str
    a: int
    b: int


@dataclass(frozen=True)
class Comparison:
    """What came of comparing A and B.

    Attributes:
        cells: those both sides have, in order of A.
        only_a: those only A has.
        only_b: those only B has.
        latency: one per cell.
        scores: one per metric and group of cells.
        sizes: bytes on disk and bytes moved, one of each per cell.
        fingerprints: what differs between the machines and software: field to the values of A and
            of B.
        tests: how many p-values were corrected together.
        alpha: level of the corrected tests.
        smallest_effect: of latency, as a share.
        score_effects: the smallest of each metric, in its unit.
        notes: how to read it.
    """

    cells: tuple[Cell, ...]
    only_a: tuple[Cell, ...]
    only_b: tuple[Cell, ...]
    latency: tuple[Latency, ...]
    scores: tuple[Score, ...]
    sizes: tuple[Bytes, ...]
    fingerprints: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    tests: int
    alpha: float
    smallest_effect: float
    score_effects: dict[str, float]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        return asdict(self)
