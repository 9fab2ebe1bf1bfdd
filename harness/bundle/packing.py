"""From a results directory to a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..core.errors import UserError, unknown
from ..records.array_file import array_file
from ..records.envelope import Record
from ..records.kind import Kind
from ..records.record_file import to_json
from ..records.store import Store, fingerprint_hash
from ..studies.known import loadable
from .container import ARTEFACTS, RECORDS, write_bundle


@dataclass(frozen=True)
class Packed:
    """A bundle that was written.

    Attributes:
        path: of the file.
        records: how many it holds.
        artefacts: how many it holds.
        size: bytes.
    """

    path: Path
    records: int
    artefacts: int
    size: int


def kinds() -> dict[str, Kind[Any]]:
    """Kinds of records that are known here, by name."""
    return {one.plan.KIND.name: one.plan.KIND for one in loadable().values()}


def submit(
    results: Path,
    out: Path,
    home: str | None = None,
    artefacts: Sequence[Path] = (),
    by: str = "",
) -> Packed:
    """Pack the youngest record of every subject and machine.

    Args:
        results: directory of records.
        out: file to write.
        home: a workload or network, of which alone records are packed; None for all.
        artefacts: files of artefacts that records name, by which more can be computed again.
        by: whose results they are.

    Raises:
        UserError: there is no such record, one cannot be read, an artefact is that of none of
            them, or the file cannot be written.
    """
    records = list(_records(results, home))
    if not records:
        raise UserError(f"{results} holds no records to submit; run `sigmabench run` first.")
    files: dict[str, bytes] = {}
    for kind, record in records:
        files |= dict(_files(kind, record))
    named = {getattr(record.body, "artefact", "") for _, record in records} - {""}
    for path in artefacts:
        files |= _artefact(path, named)
    write_bundle(out, files, version("sigmabench"), by)
    return Packed(out, len(records), len(artefacts), out.stat().st_size)


def _records(results: Path, home: str | None) -> Iterator[tuple[Kind[Any], Record[Any, Any]]]:
    known: set[str] = set()
    for kind in kinds().values():
        store: Store[Any] = Store(results, kind)
        homes = store.homes()
        known |= set(homes)
        if home is None or home in homes:
            yield from ((kind, record) for record in store.records(home))
    if home is not None and home not in known:
        raise unknown(f"workload with records in {results}", home, known)


def _files(kind: Kind[Any], record: Record[Any, Any]) -> Iterator[tuple[str, bytes]]:
    """A record as its results directory has it, by name."""
    parts = (kind.folders[0], record.subject.home, fingerprint_hash(record.fingerprint))
    folder = RECORDS + "/".join(filter(None, parts))
    yield f"{folder}/{record.subject.key}.json", to_json(kind, record).encode()
    if record.arrays:
        import safetensors.numpy

        data = safetensors.numpy.save({name: record.arrays[name] for name in sorted(record.arrays)})
        yield array_file(Path(folder), record.arrays.sha256).as_posix(), data


def _artefact(path: Path, named: set[str]) -> dict[str, bytes]:
    from ..quantize.artefact import artefact_hash, load

    digest = artefact_hash(load(path))
    if digest not in named:
        raise UserError(
            f"{path} is the artefact of none of these records; write those of the posterior that "
            "was run by `sigmabench quantize`."
        )
    return {f"{ARTEFACTS}{digest[:16]}.safetensors": path.read_bytes()}
