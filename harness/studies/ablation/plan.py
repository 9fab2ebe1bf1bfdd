"""What an ablation is asked: the defaults, and every choice of quantization changed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.formats import FORMATS
from ...quantize.options import Options
from ...records.ablation_record import ABLATIONS as KIND
from ...records.ablation_record import BASE, AblationSubject, Choice
from ..flags import DATA, SEED
from ..study import SCORED, Option, Task

if TYPE_CHECKING:
    from ...workload.plan import Plan

__all__ = ["ARGUMENT", "HELP", "KIND", "OPTIONS", "SHOWN", "plan", "tasks"]

HELP = """Change one choice of quantization at a time: sizes, clean and shifted scores.

The choices include some beyond the paper: σ in a Lloyd–Max codebook, μ in 4 bits and dithered
rounding. What was finished is stored in --results, and the same command goes on from there.
"""
ARGUMENT = "workload"
OPTIONS = (
    Option(
        "--split", "The split to score: validation, for choosing, or test.", default="validation"
    ),
    Option("--types", "Corruption types.", "names", shown="four of them"),
    Option("--severity", "Severity of the corrupted images, 1 to 5.", "whole", default=5),
    Option("--mc", "Number of MC passes, T.", "whole", default=20),
    Option("--limit", "Clean images to score; half as many are corrupted.", "whole", default=1000),
    SEED,
    Option("--seeds", "Number of seeds to score.", "whole", default=1),
    Option("--threads", "Cores that a pass may use.", "whole", shown="all"),
    DATA,
    Option("--posterior", "Posterior file.", "path"),
)
SHOWN = ()
TYPES = ("brightness", "contrast", "gaussian_blur", "gaussian_noise")


@dataclass(frozen=True)
class AblationPlan:
    """An ablation.

    Attributes:
        base: workload, data, split, limit of clean images, seeds, T (its only `mc`), threads.
        types: of corruption.
        severity: 1 to 5.
        corruption_seed: of generated corruptions.
        choices: the configurations.
    """

    base: Plan
    types: tuple[str, ...] = TYPES
    severity: int = 5
    corruption_seed: int = 0
    choices: tuple[Choice, ...] = ()

    @property
    def corrupted(self) -> int:
        """Images of each type at most."""
        return max(1, (self.base.limit or 0) // 2)

    def subjects(self) -> list[AblationSubject]:
        """A configuration each."""
        from ...workload.conditions import ShiftPlan
        from ...workload.hashes import identity_of

        base, networks = self.base, identity_of(self.base)
        grid = ShiftPlan(base, self.types, (self.severity,), corruption_seed=self.corruption_seed)
        about: dict[str, Any] = {
            "workload": base.workload.name,
            "workload_version": base.workload.version,
            "split": base.split,
            "limit": base.limit or 0,
            "types": self.types,
            "shifted": tuple(one.shifted for one in grid.conditions() if one.severity),
            "severity": self.severity,
            "corruption_seed": self.corruption_seed,
            "mc": grid.mc[-1],
            "seed": base.seed,
            "seeds": base.seeds,
            "threads": base.threads,
            "data": base.workload.data_digest(base.split, base.data, base.limit),
            "network": base.workload.network_digest(),
        }
        return [
            AblationSubject(
                posterior=networks.hash_of(FORMATS.get(choice.format))[:16], choice=choice, **about
            )
            for choice in self.choices
        ]


def plan(
    workload: str,
    *,
    scoring: bool,
    types: Sequence[str] | None = None,
    severity: int = 5,
    mc: int = 20,
    **choices: Any,
) -> tuple[AblationPlan, tuple[str, ...]]:
    """A plan from a user's choices.

    Raises:
        UserError: a choice is none.
    """
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    base = plan_from(resolve_workload(workload), mc=(mc,), batch=(1,), **choices, measuring=scoring)
    named = tuple(dict.fromkeys(TYPES if types is None else types))
    return AblationPlan(base, named, severity, choices=(BASE, *default_choices())), ()


def tasks(plan: AblationPlan, measuring: bool) -> list[Task[AblationSubject]]:
    """One for each configuration. Those that follow one another share their ranges."""
    return [Task((subject,), SCORED) for subject in plan.subjects()]


def default_choices() -> tuple[Choice, ...]:
    """The defaults, then every change of one of them.

    What shapes σ's grid is changed where the grid is coarse, at n = 2; all else at n = 8.
    """
    plain = [Choice("", name) for name in ("INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")]
    codebook = Options(sigma_grid="codebook")
    return (
        *plain,
        *(Choice("codebook", f"INT8_SIGMA{n}", codebook) for n in (4, 2, 1)),
        *(Choice("4-bit μ", name) for name in ("INT4", "INT4_SIGMA2", "INT4_SIGMA1")),
        Choice("σ grid a tensor", "INT8_SIGMA2", Options(granularity="tensor")),
        Choice("integer offset", "INT8_SIGMA2", Options(sigma_offset="integer")),
        Choice("range paper", "INT8", Options(range="paper")),
        Choice("dithered", "INT8", Options(rounding="dithered")),
        Choice("percentile", "INT8", observer="percentile"),
        Choice("mse", "INT8", observer="mse"),
        Choice("sampled ranges", "INT8", sampled=True),
    )
