"""A run whose records are all stored: read without a network, an image or PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..machine.cores import cores_for
from ..machine.describe import fingerprint
from ..posterior.content import content_hash_of
from .store import PREDICTIONS, Policy, Store

if TYPE_CHECKING:
    from pathlib import Path

    from ..core.formats import Format
    from ..workload.plan import Plan
    from .run_record import Record


@dataclass(frozen=True)
class Hashes:
    """Content hashes of a run's networks.

    Attributes:
        posterior: of what the Bayesian formats are made of.
        twin: of what the deterministic ones are made of.
    """

    posterior: str
    twin: str

    def hash_of(self, format: Format) -> str:
        """See `plan.Identity`."""
        return self.posterior if format.bayesian else self.twin


def stored(plan: Plan, store: Store[Record], policy: Policy) -> list[Record] | None:
    """The records of all the plan's cells that there are, in the plan's order, if nothing has to be
    measured; None where something has, where predictions are still kept, or where only loading the
    networks tells their cells.

    Raises:
        UserError: a record cannot be read; more threads than cores.
    """
    hashes = None if policy is Policy.ALWAYS else _hashes(plan)
    if hashes is None:
        return None
    cores_for(plan.threads)
    here, cells = fingerprint(), plan.cells(hashes)
    if store.missing(cells, here, policy):
        return None
    kept = store.folder(plan.workload.name, here) / PREDICTIONS
    if policy is not Policy.NEVER and kept.exists():
        return None  # by a run that was killed; the next one removes them
    return [record for cell in cells if (record := store.find(cell, here)) is not None]


def _hashes(plan: Plan) -> Hashes | None:
    """From the files of a shipped workload whose `version` says what its data are."""
    workload = plan.workload
    made = plan.delta is not None or (workload.has_twin and workload.twin is None)
    if made or not workload.ships or workload.digest_data:
        return None
    posterior = _hash(workload.posterior_file(plan.posterior))
    twin = _hash(workload.twin) if workload.has_twin else posterior
    return None if posterior is None or twin is None else Hashes(posterior, twin)


def _hash(path: Path | None) -> str | None:
    return None if path is None else content_hash_of(path)
