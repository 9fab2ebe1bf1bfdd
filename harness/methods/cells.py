"""Methods beside the formats of a study of cells: what a user names, and the cells it makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..workload.hashes import identity_of
from .method import FORMATS_OF_METHODS, METHODS
from .single import WITHOUT_DRAWS

if TYPE_CHECKING:
    from ..workload.cell import Cell
    from ..workload.conditions import Condition, ShiftPlan
    from .method import Method

VALIDATION = "validation"


def with_methods(plan: ShiftPlan, names: Sequence[str] | None) -> ShiftPlan:
    """The plan with methods, each in those of its formats that methods have.

    Raises:
        UserError: a name is unknown, or a method has none of the formats.
    """
    chosen = tuple(dict.fromkeys(names or ()))
    asked = [name for name in plan.base.formats if name in FORMATS_OF_METHODS]
    if chosen and not asked:
        raise UserError(
            f"--methods are scored in {', '.join(FORMATS_OF_METHODS)}, and --formats names none "
            "of them; add one."
        )
    for name in chosen:
        whys = [METHODS.get(name).without(plan.base, format) for format in asked]
        if all(whys):
            raise UserError(
                f"There is no {name} in {', '.join(asked)}: {whys[0]}; leave it out of --methods, "
                "or name other --formats."
            )
    return replace(plan, methods=chosen)


def cells_of(plan: ShiftPlan) -> dict[Condition, list[Cell]]:
    """Every cell of a plan by the images it is about: those of the formats, then of the methods."""
    rows = list(_rows(plan))
    formats = dict.fromkeys((*plan.base.formats, *(one.template for one in rows)))
    whole = replace(plan, base=replace(plan.base, formats=tuple(formats)))
    found = whole.cells(identity_of(plan.base))
    return {
        condition: [
            *(cell for cell in cells if cell.format in plan.base.formats),
            *(made for row in rows for made in row.cells(plan, cells)),
        ]
        for condition, cells in found.items()
    }


@dataclass(frozen=True, eq=False)
class _Row:
    """A method in one format, whose cells differ from those of a format as it is.

    Attributes:
        method: of `METHODS`.
        format: of `FORMATS_OF_METHODS`.
        networks: as `Method.networks`.
        temperature: as `Cell.temperature`.
    """

    method: Method
    format: str
    networks: Sequence[str]
    temperature: str

    @property
    def template(self) -> str:
        """The format as it is that computes the same."""
        return WITHOUT_DRAWS[self.format] if self.method.noise else self.format

    def cells(self, plan: ShiftPlan, cells: Sequence[Cell]) -> Iterator[Cell]:
        for cell in cells:
            if cell.format != self.template:
                continue
            made = replace(
                cell,
                posterior=self.networks[0][:16],
                format=self.format,
                mc=self.method.passes(plan.base, plan.mc)[-1],
                method=self.method.name,
                temperature=self.temperature,
                members=tuple(one[:16] for one in self.networks[1:]),
            )
            if not self.method.draws or not self.method.noise:
                yield made
                continue
            for seed in range(plan.base.seed, plan.base.seed + plan.base.seeds):
                yield replace(made, noise=self.method.noise, seed=seed)


def _rows(plan: ShiftPlan) -> Iterator[_Row]:
    if not plan.methods:
        return
    base = plan.base
    digest = base.workload.data_digest(VALIDATION, base.data)
    temperature = f"{VALIDATION} {digest}".strip()
    for name in plan.methods:
        method = METHODS.get(name)
        networks = method.networks(base)
        for format in FORMATS_OF_METHODS:
            if format in base.formats and method.without(base, format) is None:
                yield _Row(method, format, networks, temperature)
