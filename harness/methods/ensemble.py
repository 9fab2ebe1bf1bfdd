"""Networks that were trained for themselves: one, or several whose predictions are averaged.

(Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation
using deep ensembles", NeurIPS 2017.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..core.formats import FORMATS
from ..workload import cell
from .method import NOTHING, MadeMethod
from .single import draws_nothing, in_format

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from ..backends.base import Passes
    from ..data.given import Given
    from ..quantize.options import Options
    from ..workload.plan import Plan
    from ..workload.prepare import NetworkPart, Prepared
    from ..workload.workload import Workload


@dataclass(frozen=True, eq=False)
class InTurns:
    """Networks one after the other: pass t is that of network t.

    Attributes:
        members: the networks, which draw nothing.
    """

    members: Sequence[Passes]

    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """See `Passes`."""
        import torch

        return torch.cat([self.members[t].logits(x, seed, range(1)) for t in passes])


@dataclass(frozen=True, eq=False)
class MadeMembers(MadeMethod):
    """Networks whose passes come one after the other."""

    def together(self, networks: Sequence[Passes]) -> Passes:
        """See `MadeMethod`."""
        return InTurns(networks)


@dataclass(frozen=True)
class OfMembers:
    """Networks that were trained for themselves; see `Method`.

    Attributes:
        name: see there.
        title: see there.
        description: see there.
        sizes: numbers of networks, ascending.
        equal: whether their training took together as long as that of one other network.
        of_posterior: see there.
        noise: see there.
    """

    name: str
    title: str
    description: str
    sizes: tuple[int, ...]
    equal: bool = False
    of_posterior: bool = False
    noise: str = NOTHING

    @property
    def draws(self) -> bool:
        """See `Method`."""
        return False

    def files(self, workload: Workload) -> Sequence[Path]:
        """Of the networks that ship, at most as many as the largest size."""
        if self.equal:
            return workload.equal_members.get(self.sizes[-1], ())
        if not workload.members and workload.twin is not None:
            return (workload.twin,)
        return workload.members[: self.sizes[-1]]

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        workload, least = plan.workload, self.sizes[0]
        there = len(self.files(workload))
        if least == 1 and workload.has_twin:
            there = max(there, 1)  # one that is loaded from pretrained weights
        if there < least:
            trained = f", each with 1/{least} of the epochs," if self.equal else ""
            if least == 1:
                return f"no deterministic network of {workload.name} ships"
            return f"no {least} networks{trained} of {workload.name} ship"
        return draws_nothing(format)

    def networks(self, plan: Plan) -> Sequence[str]:
        """See `Method`."""
        from ..workload.hashes import identity_of, network_hash

        files = self.files(plan.workload)
        if not files:
            return [identity_of(plan).hash_of(FORMATS.get("DNN_FP32"))]
        return [network_hash(plan.workload, path) for path in files]

    def passes(self, plan: Plan, mc: Sequence[int]) -> tuple[int, ...]:
        """See `Method`."""
        there = max(len(self.files(plan.workload)), 1)
        return tuple(size for size in self.sizes if size <= there)

    def made(self, prepared: Prepared, format: str, options: Options | None = None) -> MadeMethod:
        """See `Method`."""
        files = self.files(prepared.plan.workload)
        parts = [network_without_draws(prepared, path) for path in files]
        each = [in_format(part, format, options, draws=False) for part in parts or [prepared.twin]]
        return MadeMembers(tuple(artefact for artefact, _ in each), each[0][1])


def network_without_draws(prepared: Prepared, path: Path) -> NetworkPart:
    """A network that was trained without a posterior, ready for any format.

    Raises:
        UserError: the file is missing, damaged, for another network, or a posterior's.
    """
    from ..workload.prepare import network_part

    plan = prepared.plan
    network, _ = plan.workload.load_posterior(path, data=plan.data)
    if any(bool((std != 0).any()) for std in network.std().values()):
        raise UserError(
            f"{path} is a posterior, and members of an ensemble draw no weights; name networks "
            "of a recipe with `deterministic`."
        )
    return network_part(plan, prepared.splits, network, network.content_hash())


DETERMINISTIC = OfMembers(
    cell.DETERMINISTIC,
    "deterministic network",
    "One pass of a network that was trained without a posterior.",
    (1,),
)
ENSEMBLE = OfMembers(
    "ensemble",
    "ensemble of networks",
    "One pass each of T networks that were trained from different seeds.",
    (2, 3, 5),
)
EQUAL_2, EQUAL_3, EQUAL_5 = (
    OfMembers(
        f"ensemble-equal-{count}",
        f"ensemble of {count} at equal training",
        f"One pass each of {count} networks that had 1/{count} of the epochs each.",
        (count,),
        equal=True,
    )
    for count in (2, 3, 5)
)


@lru_cache(maxsize=2)
def deterministic_part(prepared: Prepared) -> NetworkPart:
    """The network of `DETERMINISTIC`, where a file of it ships."""
    return network_without_draws(prepared, DETERMINISTIC.files(prepared.plan.workload)[0])
