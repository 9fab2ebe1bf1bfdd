"""What a plan's networks are told apart by, read without loading them where files say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.formats import FORMATS
from ..posterior.content import content_hash_of
from .remembered import remembered

if TYPE_CHECKING:
    from pathlib import Path

    from ..core.formats import Format
    from .plan import Identity, Plan
    from .workload import Workload


@dataclass(frozen=True)
class Hashes:
    """Content hashes of a plan's networks.

    Attributes:
        posterior: of what the Bayesian formats are made of.
        twin: of what the deterministic ones are made of.
    """

    posterior: str
    twin: str

    def hash_of(self, format: Format) -> str:
        """See `plan.Identity`."""
        return self.posterior if format.bayesian else self.twin


def identity_of(plan: Plan) -> Identity:
    """Of the networks of a shipped workload from their files, without PyTorch; else by loading.

    Raises:
        UserError: a file is missing, damaged or for another network.
    """
    found = _from_files(plan)
    if found is not None:
        return found
    if plan.posterior is not None:
        return _loaded(plan)
    choices = [plan.delta, plan.mean]
    told = remembered(plan.workload, plan.data, "networks", choices, lambda: _text(_loaded(plan)))
    return Hashes(*told.split())


def fields_of_formats(plan: Plan) -> Iterator[tuple[Format, dict[str, Any]]]:
    """Each format, and the fields that a subject of it has in every study: workload, networks,
    backend and images, which are digested once for all formats.

    Raises:
        UserError: posterior or data cannot be read.
    """
    networks, workload = identity_of(plan), plan.workload
    shared = {
        "workload": workload.name,
        "workload_version": workload.version,
        "data": workload.data_digest(plan.split, plan.data, plan.limit),
        "network": workload.network_digest(),
    }
    for name in plan.formats:
        format = FORMATS.get(name)
        yield (
            format,
            {
                **shared,
                "posterior": networks.hash_of(format)[:16],
                "format": name,
                "backend": plan.backend_of(format),
            },
        )


def _loaded(plan: Plan) -> Identity:
    from .prepare import load_networks

    return load_networks(plan)


def _text(found: Identity) -> str:
    return " ".join(found.hash_of(FORMATS.get(name)) for name in ("FP32", "DNN_FP32"))


def _from_files(plan: Plan) -> Hashes | None:
    """From the files of a shipped workload whose `version` says what its data are."""
    workload = plan.workload
    made = plan.delta is not None or (plan.has_twin and workload.twin is None)
    if made or not workload.ships or workload.digest_data:
        return None
    posterior = _hash(workload.posterior_file(plan.posterior))
    twin = _hash(workload.twin) if plan.has_twin else posterior
    return None if posterior is None or twin is None else Hashes(posterior, twin)


def network_hash(workload: Workload, path: Path) -> str:
    """Content hash of one of a workload's network files.

    Raises:
        UserError: it is missing, damaged or for another network.
    """
    return content_hash_of(path) or workload.load_posterior(path)[0].content_hash()


def _hash(path: Path | None) -> str | None:
    return None if path is None else content_hash_of(path)
