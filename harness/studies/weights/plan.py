"""What a study of sampled weights is asked: formats, ranges, passes; one task per layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ...core.formats import FORMATS
from ...records.weights_record import REFERENCE, WeightsSubject
from ...records.weights_record import WEIGHTS as KIND
from ..flags import DATA
from ..study import SCORED, Option, Task

if TYPE_CHECKING:
    from ...quantize.options import Options
    from ...workload.plan import Plan

__all__ = ["ARGUMENT", "HELP", "KIND", "OPTIONS", "SHOWN", "plan", "tasks"]

HELP = """Show range and noise of WORKLOAD's sampled weights, by layer and by format.

The 2021 paper explains why 1-bit σ suffices by the range that sampled weights keep. What was
finished is stored in --results, and the same command goes on from there.
"""
ARGUMENT = "workload"
OPTIONS = (
    Option("--formats", "FP32 and other formats.", "names", shown="the paper's"),
    Option(
        "--range", "Ranges of the weight grids.", "names", default="headroom,paper", name="ranges"
    ),
    Option("--passes", "Number of sampled passes.", "whole", default=20),
    Option("--seed", "Seed of the draws.", "whole", default=0),
    DATA,
    Option("--posterior", "Posterior file.", "path"),
)
SHOWN = ()
WEIGHT_FORMATS = ("FP32", "INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")


@dataclass(frozen=True)
class WeightsPlan:
    """A study of sampled weights.

    Attributes:
        base: workload, formats, data.
        ranges: of the weight grids.
        passes: P, at least 2; 2 P of the reference.
        seed: of the draws.
    """

    base: Plan
    ranges: tuple[str, ...]
    passes: int
    seed: int

    def __post_init__(self) -> None:
        if self.passes < 2:
            raise UserError(f"--passes {self.passes} does not show what moves; give at least 2.")
        if not self.ranges:
            raise UserError("--range names nothing; give headroom, paper or both.")
        if any(not FORMATS.get(name).bayesian for name in self.base.formats):
            raise UserError(
                "--formats has a deterministic twin, which samples nothing; leave it out."
            )
        if REFERENCE not in self.base.formats:
            raise UserError("The ranges are held against FP32's; add FP32 to the formats.")
        dict(self.options)  # refuses what is no range

    @property
    def options(self) -> dict[str, Options]:
        """Options of quantization by range."""
        from dataclasses import replace

        return {name: replace(self.base.options, range=name) for name in self.ranges}  # type: ignore[arg-type]

    def labels(self) -> Iterator[tuple[str, str, str]]:
        """What each format and range is called, the format, and the range; a format that is not
        quantized has one range."""
        for place, name in enumerate(self.ranges):
            for format in self.base.formats:
                quantized = FORMATS.get(format).quantized
                if quantized or place == 0:
                    label = f"{format} paper" if quantized and name == "paper" else format
                    yield label, format, name


def plan(
    workload: str,
    *,
    scoring: bool,
    formats: Sequence[str] | None = None,
    ranges: Sequence[str] = ("headroom", "paper"),
    passes: int = 20,
    seed: int = 0,
    **choices: Any,
) -> tuple[WeightsPlan, tuple[str, ...]]:
    """A plan from a user's choices.

    Raises:
        UserError: a choice is none.
    """
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    base = plan_from(
        resolve_workload(workload),
        formats=tuple(formats or WEIGHT_FORMATS),
        mc=(1,),
        batch=(1,),
        threads=1,
        **choices,
    )
    return WeightsPlan(base, tuple(dict.fromkeys(ranges)), passes, seed), ()


def tasks(plan: WeightsPlan, measuring: bool) -> list[Task[WeightsSubject]]:
    """A layer each, for all formats are held against the same draws of FP32.

    Raises:
        UserError: posterior or data cannot be read, or no layer has a σ.
    """
    from ...quantize.fold import fold
    from ...workload.prepare import load_networks

    base, networks = plan.base, load_networks(plan.base)
    model = fold(base.workload.model(), networks.posterior, base.workload.input_shape)
    about: dict[str, Any] = {
        "workload": base.workload.name,
        "workload_version": base.workload.version,
        "posterior": networks.posterior_hash[:16],
        "formats": base.formats,
        "ranges": plan.ranges,
        "passes": plan.passes,
        "seed": plan.seed,
        "data": base.workload.data_digest(base.split, base.data, base.limit),
        "network": base.workload.network_digest(),
    }
    names = [name for name, layer in model.layers.items() if layer.std.any()]
    if not names:
        raise UserError(
            "No layer's weights have a σ, so there is no noise to look at; give another posterior."
        )
    return [Task((WeightsSubject(layer=name, **about),), SCORED, about=n)
            for n, name in enumerate(names)]  # fmt: skip
