"""What a shift study is to score: formats, corruptions, severities, and the cells they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..backends.base import BACKENDS
from ..core.errors import UserError, unknown
from ..core.formats import FORMATS
from ..corruptions.registered import (
    CORRUPTIONS,
    GENERATED,
    NONE,
    SEVERITIES,
    check_severity,
    why_not,
)
from ..data.known_sets import OOD
from ..quantize.options import Options
from .cell import Cell
from .choices import plan_from
from .plan import DRAWN_BACKEND, Identity, Plan

if TYPE_CHECKING:
    from ..data.outside import OodSet
    from ..data.splits import Split
    from .workload import Workload

#: The formats of the 2021 paper's figures 3 to 5.
FORMATS_OF_STUDY = (
    "FP32",
    "INT8",
    "INT8_SIGMA4",
    "INT8_SIGMA2",
    "INT8_SIGMA1",
    "DNN_FP32",
    "DNN_INT8",
)
_PREFIXES = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class StudySize:
    """How large a study is.

    Attributes:
        types: corruption types.
        limit: images per cell; None for the whole split.
        mc: T.
        ood: sets from outside the distribution.
    """

    types: tuple[str, ...]
    limit: int | None
    mc: int
    ood: tuple[str, ...]


_ALL = tuple(CORRUPTIONS.names())
PROFILES = {
    "quick": StudySize(("brightness", "contrast", "gaussian_blur", "gaussian_noise"), 500, 10, ()),
    "regular": StudySize(_ALL, 1000, 50, ("svhn", "cifar100")),
    "full": StudySize(_ALL, None, 50, ("svhn", "cifar100")),
}


@dataclass(frozen=True)
class Condition:
    """One set of images.

    Attributes:
        corruption: a type, `none`, or `ood:NAME`.
        severity: 1 to 5 of a type of corruption, else 0.
        shifted: as `Cell.shifted`.
        split: whose images they are, or of whose size those from outside are made.
    """

    corruption: str
    severity: int
    shifted: str
    split: str


@dataclass(frozen=True)
class ShiftPlan:
    """A grid of cells to score.

    Attributes:
        base: workload, formats, options of quantization, data, split, limit, seeds of the MC draws
            and T (its only `mc`).
        types: corruption types.
        severities: each 1 to 5.
        ood: sets from outside the distribution.
        ranges: of the weight grids, each with cells of its own.
        corruption_seed: of the images.
        splits: further ones, scored as they are.
        methods: names in `METHODS`, scored with a temperature beside the formats.
    """

    base: Plan
    types: tuple[str, ...]
    severities: tuple[int, ...] = SEVERITIES
    ood: tuple[OodSet, ...] = ()
    ranges: tuple[str, ...] = ("headroom",)
    corruption_seed: int = 0
    splits: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.splits:
            replace(self.base, split=name)  # refuses what is not scored
        if len(self.base.mc) != 1 or self.base.adaptive:
            raise UserError("A shift study has one number of passes; give one, such as --mc 50.")
        for name in self.types:
            CORRUPTIONS.get(name)
        for severity in self.severities:
            check_severity(severity)
        if not self.ranges:
            raise UserError("--range names nothing; give headroom, paper or both.")
        dict(self.options)  # refuses what is no range
        if not 0 <= self.corruption_seed < 2**63:
            raise UserError(
                f"--corruption-seed is {self.corruption_seed}; give a number from 0 to 2^63."
            )

    @property
    def mc(self) -> tuple[int, ...]:
        """Prefixes T at which everything is scored; the last is the study's."""
        (largest,) = self.base.mc
        return (*(T for T in _PREFIXES if largest > T), largest)

    def conditions(self) -> list[Condition]:
        """The clean images first, then one type after the other, what is from outside, and the
        further splits."""
        workload, base = self.base.workload, self.base
        found = [Condition(NONE, 0, "", base.split)]
        if self.types:
            from ..corruptions.copies import published_file, published_identity
        for type in self.types:
            published = published_file(
                base.split, type, root=base.data, official=workload.official_corruptions
            )
            for s in self.severities:
                where = f"{GENERATED} {self.corruption_seed}"
                if published is not None:
                    clean = self._clean if published.is_dir() else None
                    where = published_identity(published, s, clean)
                found.append(Condition(type, s, where, base.split))
        found += [Condition(f"{OOD}{one.name}", 0, one.identity, base.split) for one in self.ood]
        return found + [Condition(NONE, 0, "", name) for name in self.splits]

    @cached_property
    def _clean(self) -> Split:
        """The images that are corrupted, as they are."""
        from .declared import splits_of

        base = self.base
        return splits_of(base.workload, base.data).scored(base.split).limit(base.limit)

    def cells(self, networks: Identity) -> dict[Condition, list[Cell]]:
        """Every cell of a format as it is, by the images it is about."""
        seeds = range(self.base.seed, self.base.seed + self.base.seeds)
        digests = {
            name: self.base.workload.data_digest(name, self.base.data, self.base.limit)
            for name in (self.base.split, *self.splits)
        }
        own = (digests[self.base.split], self.base.workload.network_digest())
        timed = [
            cell
            for options in self.options.values()
            for seed in seeds
            for cell in replace(self.base, options=options, seed=seed, seeds=1).cells(
                networks, *own
            )
        ]
        return {
            condition: _scored(timed, condition, digests[condition.split])
            for condition in self.conditions()
        }

    @property
    def options(self) -> dict[str, Options]:
        """Options of quantization by range."""
        return {name: replace(self.base.options, range=name) for name in self.ranges}  # type: ignore[arg-type]


def _scored(timed: Sequence[Cell], condition: Condition, data: str) -> list[Cell]:
    """Cells that are scored and not timed; a format has one where range or seed mean nothing.

    The float BNNs have the noise of the int8 ones: what sets a pair apart then is the format and
    not the luck of its draws.
    """
    drawn = BACKENDS.get(DRAWN_BACKEND)
    cells = (
        replace(
            cell,
            backend=drawn.name if _float_bnn(cell) else cell.backend,
            noise=drawn.noise if _float_bnn(cell) else cell.noise,
            corruption=condition.corruption,
            severity=condition.severity,
            shifted=condition.shifted,
            split=condition.split,
            data=data,
            scenario="score",
            batch=0,
            threads=0,
            instances=0,
            seconds=1.0,  # as by default: nothing is timed
            seed=cell.seed if FORMATS.get(cell.format).bayesian else 0,
        )
        for cell in timed
    )
    return list(dict.fromkeys(cells))


def _float_bnn(cell: Cell) -> bool:
    format = FORMATS.get(cell.format)
    return format.bayesian and not format.quantized


def shift_plan(
    workload: Workload,
    profile: str = "regular",
    *,
    formats: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    mc: int | None = None,
    limit: int | None = None,
    ood: Sequence[str] | None = None,
    ranges: Sequence[str] = ("headroom",),
    seeds: int = 1,
    corruption_seed: int = 0,
    scoring: bool = True,
    **base: Any,
) -> tuple[ShiftPlan, tuple[str, ...]]:
    """A plan from a profile and what differs from it.

    Args:
        workload: what is scored.
        profile: a name of `PROFILES`.
        formats: names; the paper's by default.
        types: corruption types; the profile's by default.
        severities: each 1 to 5.
        mc: T; the profile's by default.
        limit: images per cell; the profile's by default.
        ood: known sets, folders and `.npz` files; the profile's by default.
        ranges: of the weight grids, each with cells of its own.
        seeds: of the MC draws, each with cells of its own.
        corruption_seed: of the images.
        scoring: whether images will be scored; records alone need nothing to make them of.
        base: other choices, as `choices.plan_from` takes them.

    Returns:
        The plan, and a line for each type of the profile and each known set from outside that is
        not available here.

    Raises:
        UserError: a name is unknown, a number out of range, or a type that is asked for cannot be
            made here.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    size = PROFILES[profile]
    chosen = plan_from(
        workload,
        formats=FORMATS_OF_STUDY if formats is None else tuple(formats),
        mc=(mc if mc is not None else size.mc,),
        batch=(1,),
        threads=1,
        limit=limit if limit is not None else size.limit,
        seeds=seeds,
        **base,
    )
    sets, skipped = _outside(size.ood if ood is None else ood, chosen, scoring)
    named = tuple(dict.fromkeys(size.types if types is None else types))
    if scoring and named:
        lacking = _cannot_be_made(named, chosen)
        if lacking and types is not None:
            name, reason = next(iter(lacking.items()))
            way_out = f"; leave {name} out of --types to go on without." * (name in CORRUPTIONS)
            raise UserError(f"{reason.rstrip('.')}{way_out}")
        named = tuple(name for name in named if name not in lacking)
        skipped = (*(f"{name} is left out: {why}" for name, why in lacking.items()), *skipped)
    plan = ShiftPlan(
        chosen,
        named,
        tuple(dict.fromkeys(severities)),
        sets,
        tuple(dict.fromkeys(ranges)),
        corruption_seed,
    )
    return plan, skipped


def _outside(
    names: Sequence[str], plan: Plan, scoring: bool
) -> tuple[tuple[OodSet, ...], tuple[str, ...]]:
    """The sets of these names that are to be scored, and a line for each that is not available."""
    if not names:
        return (), ()
    from ..data.outside import available, ood_sets

    sets = ood_sets(names)
    return available(sets, plan.data, plan.limit) if scoring else (sets, ())


def _cannot_be_made(types: Sequence[str], plan: Plan) -> dict[str, str]:
    """Types that need more than code, and why they cannot be made: better now than hours later."""
    import torch

    from ..corruptions.copies import published_file

    lacking: dict[str, str] = {}
    official = plan.workload.official_corruptions
    image = torch.zeros((1, *plan.workload.input_shape), dtype=torch.uint8)
    for name in types:
        if published_file(plan.split, name, root=plan.data, official=official) is None:
            lacking[name] = why_not(image, name, plan.data)
    return {name: reason for name, reason in lacking.items() if reason}
