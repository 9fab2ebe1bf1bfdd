"""What a study of single passes runs: a workload with its posterior, or a network with a synthetic
one, in one format, at one batch size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.checks import check_counts, check_seconds, check_seed
from ..core.errors import UserError, unknown
from ..core.formats import FORMATS
from ..machine.cores import cores_for
from ..records.profile_record import ProfileSubject
from .networks import NETWORKS, POSTERIOR, Network

if TYPE_CHECKING:
    from ..workload.plan import Plan
    from ..workload.workload import Workload

INPUTS = 4  # different batches the queries go round


@dataclass(frozen=True)
class TargetPlan:
    """What to run; the numbers are those of `ProfileSubject`.

    Attributes:
        target: a workload or a network.
        data: data root, see `splits.data_root`.
        posterior: file of a workload's posterior; None for the one that ships.
    """

    target: Workload | Network
    format: str
    batch: int
    mc: int
    threads: int
    seconds: float
    seed: int
    data: Path | None
    posterior: Path | None

    def __post_init__(self) -> None:
        FORMATS.get(self.format)
        for flag in ("batch", "mc", "threads"):
            check_counts(f"--{flag}", (getattr(self, flag),))
        check_seconds(self.seconds)
        check_seed(self.seed)
        if isinstance(self.target, Network) and self.posterior is not None:
            name = self.target.name
            raise UserError(f"--posterior is for workloads; that of {name} is synthetic.")

    def prepared_as(self, workload: Workload) -> Plan:
        """What `sigmabench run` would be asked to make the format."""
        from ..workload.plan import Plan

        return Plan(workload, formats=(self.format,), data=self.data, posterior=self.posterior)


def target_plan(
    target: str, *, scoring: bool, format: str, threads: int | None, **choices: Any
) -> TargetPlan:
    """From a user's choices.

    Args:
        target: name of a network or of a workload, or a workload's `package.module:attribute`.
        scoring: whether anything is measured.
        format: however it is capitalised.
        threads: None for all cores.
        choices: the rest of `TargetPlan`.

    Raises:
        UserError: one of them is out of range or not known.
    """
    from ..workload.choices import format_name

    cores = cores_for(threads, scoring)
    return TargetPlan(_named(target), format_name(format), threads=cores, **choices)


def _named(target: str) -> Workload | Network:
    from ..workload.workload import WORKLOADS, resolve_workload

    if target in NETWORKS:
        return NETWORKS.get(target)
    if ":" not in target and target not in WORKLOADS:
        raise unknown("workload or network", target, [*WORKLOADS, *NETWORKS])
    return resolve_workload(target)


def subject_of(plan: TargetPlan) -> ProfileSubject:
    """What a record of it is of.

    Raises:
        UserError: the posterior is missing or damaged.
    """
    target = plan.target
    posterior, own = POSTERIOR, dict[str, Any]()
    if not isinstance(target, Network):
        from ..workload.hashes import identity_of

        identity = identity_of(plan.prepared_as(target))
        posterior = identity.hash_of(FORMATS.get(plan.format))[:16]
        own = {
            "version": target.version,
            "data": target.data_digest("validation", plan.data, INPUTS * plan.batch),
            "network": target.network_digest(),
        }
    return ProfileSubject(
        target=target.name,
        format=plan.format,
        batch=plan.batch,
        mc=plan.mc,
        threads=plan.threads,
        seconds=plan.seconds,
        seed=plan.seed,
        posterior=posterior,
        **own,
    )
