"""What the artefact of a record says of it: its size, its choices, and what draws keep of σ.

Fidelity compares with the posterior that was quantized: that of the FP32 artefact, where the bundle
holds it, else the one that ships with the workload, where it is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from ..backends.base import BACKENDS
from ..core.errors import UserError
from ..records.run_record import Fidelity, RunRecord
from ..workload.plan import FLOAT_BACKEND, INT8_BACKEND
from ..workload.workload import WORKLOADS
from .ledger import Ledger

if TYPE_CHECKING:
    from ..quantize.artefact import Artefact
    from ..quantize.fold import FloatModel

_ARTEFACT = "the artefact"
#: Choices that cell and header both hold.
_CHOICES = (
    "format", "workload", "workload_version", "range", "granularity", "sigma_offset", "observer",
    "calibration", "sigma_grid", "rounding",
)  # fmt: skip


@dataclass(frozen=True)
class Artefacts:
    """Of a bundle.

    Attributes:
        by_hash: content hash to artefact.
    """

    by_hash: Mapping[str, Artefact]

    def of(self, record: RunRecord) -> Artefact | None:
        """That which a record names."""
        return self.by_hash.get(record.body.artefact)

    def like(self, record: RunRecord) -> bool:
        """Whether one is of the same format, posterior and choices."""
        cell = record.subject
        return any(
            one.header.posterior.startswith(cell.posterior)
            and all(getattr(one.header, name) == getattr(cell, name) for name in _CHOICES)
            for one in self.by_hash.values()
        )

    def floats_of(self, record: RunRecord) -> Artefact | None:
        """FP32 of the same posterior."""
        mine = self.of(record)
        if mine is None:
            return None
        return next(
            (
                one
                for one in self.by_hash.values()
                if one.header.format == "FP32" and one.header.posterior == mine.header.posterior
            ),
            None,
        )


def check_artefact(record: RunRecord, ledger: Ledger, artefacts: Artefacts) -> None:
    """Hold a record against the artefact that it names, where the bundle holds that."""
    from ..measure.operations import operations
    from ..quantize.artefact import size

    artefact = artefacts.of(record)
    if artefact is None:
        told = "is not that of the artefact that the bundle holds of its format and posterior"
        ledger.demand("body.artefact", not artefacts.like(record), told)
        return
    ledger.same("body.artefact", record.body.artefact, record.body.artefact, _ARTEFACT)
    header, body = artefact.header, record.body
    for name in _CHOICES:
        ledger.same(
            f"subject.{name}", getattr(record.subject, name), getattr(header, name), _ARTEFACT
        )
    posterior = header.posterior[: len(record.subject.posterior)]
    ledger.same("subject.posterior", record.subject.posterior, posterior, _ARTEFACT)
    floats = artefacts.floats_of(record)
    again = asdict(size(artefact, floats))
    if floats is None:
        again["ratio_file"] = body.size.ratio_file
    for name, value in again.items():
        if name != "ratio_file" or floats is not None:
            ledger.same(f"body.size.{name}", getattr(body.size, name), value, _ARTEFACT)
    ledger.same("body.saturation", body.saturation, header.saturation, _ARTEFACT)
    ledger.same("body.operations", body.operations, operations(artefact.graph), _ARTEFACT)
    _fidelity(record, ledger, artefact, floats)


def _fidelity(
    record: RunRecord, ledger: Ledger, artefact: Artefact, floats: Artefact | None
) -> None:
    """σ kept, clamped and immovable shares from the exact law; moments from draws, which are the
    same wherever the noise stream is drawn."""
    cell = record.subject
    again = _kept(_By(artefact, floats), cell.workload, cell.posterior, cell.seed)
    if again is None:
        return
    stored = record.body.fidelity
    if len(stored) != len(again):
        told = f"is of {len(stored)} layers, and the artefact draws {len(again)}"
        ledger.demand("body.fidelity", False, told)
        return
    drawn = artefact.format.quantized  # floats draw from a generator of their own
    for name in Fidelity.__dataclass_fields__:
        if drawn or not name.startswith("moment_"):
            mine = [getattr(one, name) for one in stored]
            its = [getattr(one, name) for one in again]
            ledger.same(f"body.fidelity[].{name}", mine, its, _ARTEFACT, 1e-6)


class _By:
    """Two artefacts, by their content."""

    def __init__(self, artefact: Artefact, floats: Artefact | None) -> None:
        self.artefact, self.floats = artefact, floats
        self._key = id(artefact), id(floats)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _By) and self._key == other._key


@lru_cache(maxsize=64)
def _kept(by: _By, workload: str, posterior: str, seed: int) -> tuple[Fidelity, ...] | None:
    """None where the posterior that was quantized is not known, or nothing here can draw."""
    from ..measure.layers import fidelities

    model = _original(by.floats) or _shipped(workload, posterior)
    quantized = by.artefact.format.quantized
    backend = FLOAT_BACKEND
    if quantized:
        compiled = by.artefact.header.compiled_sampler
        there = BACKENDS.get(INT8_BACKEND).unavailable() is None
        backend = INT8_BACKEND if compiled and there else "reference"
    if model is None or BACKENDS.get(backend).unavailable() is not None:
        return None
    predictor = BACKENDS.get(backend).load(by.artefact, 1)
    return fidelities(by.artefact, model, predictor, seed)


def _original(floats: Artefact | None) -> FloatModel | None:
    """μ and σ before quantization, as far as fidelity reads them."""
    import torch

    if floats is None:
        return None
    layers: dict[str, Any] = {}
    for name, layer in floats.layers.items():
        mean = torch.from_numpy(layer.mean.astype("float32"))
        std = torch.zeros_like(mean) if layer.std is None else torch.from_numpy(layer.std)
        layers[name] = SimpleNamespace(mean=mean, std=std)
    return cast("FloatModel", SimpleNamespace(layers=layers))


@lru_cache(maxsize=4)
def _shipped(workload: str, posterior: str) -> FloatModel | None:
    """Of the posterior that ships, folded, where it is the one that the record names."""
    from ..posterior.content import content_hash_of
    from ..quantize.fold import fold

    found = WORKLOADS.built_in(workload)
    if found is None or found.posterior is None:
        return None
    if (content_hash_of(found.posterior) or "")[: len(posterior)] != posterior:
        return None
    try:
        own, _ = found.load_posterior()
        return fold(found.model(), own, input_shape=found.input_shape)
    except UserError:
        return None
