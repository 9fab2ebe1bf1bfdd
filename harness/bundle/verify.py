"""A bundle, checked: what follows from its samples, what contradicts, and what is only stated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..core.errors import UserError, first_line
from ..records.array_file import array_file
from ..records.envelope import Record, digest_of
from ..records.kind import Kind
from ..records.record_file import from_json, kind_of, tree_of
from ..records.run_record import RunRecord
from ..records.store import fingerprint_hash
from .artefact_checks import Artefacts, check_artefact
from .container import ARTEFACTS, ENDING, MOST_ARRAYS, MOST_RECORD, RECORDS, Bundle
from .ledger import IMPOSSIBLE, Fault, Ledger, stated
from .origin import check_origin
from .other_checks import check_other
from .packing import kinds
from .raced import Speed, speeds
from .rules import why_open
from .run_checks import check_run

AGAIN, FAULTY = "computed again", "contradicted"


@dataclass(frozen=True)
class VerifiedRecord:
    """One record of a bundle.

    Attributes:
        kind: name of its kind.
        record: itself.
        faults: what contradicts, or is impossible.
        again: fields that were computed again from others.
        stated: fields of its body, and of its verdict, that nothing was computed of.
        open: why it is not in the closed division, one sentence each; empty where it is.
    """

    kind: str
    record: Record[Any, Any]
    faults: tuple[Fault, ...]
    again: tuple[str, ...]
    stated: tuple[str, ...]
    open: tuple[str, ...]

    @property
    def possible(self) -> bool:
        """Nothing of it is impossible by itself: it can be shown beside others."""
        return all(one.kind != IMPOSSIBLE for one in self.faults)

    @property
    def name(self) -> str:
        """Its kind, home and key."""
        return f"{self.kind} {self.record.subject.home} {self.record.subject.key}"


@dataclass(frozen=True)
class Verified:
    """A bundle, checked.

    Attributes:
        source: what it is called.
        by: whose results they are, as they say.
        made_by: version of SigmaBench that packed it.
        artefacts: how many it holds.
        records: each of its records that can be read.
        speeds: ratios of times, formed within its races, of records that are possible.
        problems: what of it cannot be read, one sentence each.
    """

    source: str
    by: str
    made_by: str
    artefacts: int
    records: tuple[VerifiedRecord, ...]
    speeds: tuple[Speed, ...]
    problems: tuple[str, ...]

    @property
    def faults(self) -> list[tuple[VerifiedRecord, Fault]]:
        """Of all records."""
        return [(one, fault) for one in self.records for fault in one.faults]

    @property
    def sound(self) -> bool:
        """Nothing contradicts, and all of it can be read."""
        return not self.faults and not self.problems

    @property
    def closed(self) -> bool:
        """Whether all of it is in the closed division."""
        return all(not one.open for one in self.records)


def verify(path: Path) -> Verified:
    """Check a bundle.

    Raises:
        UserError: it is not a bundle, is damaged, of a newer schema, or holds no record.
    """
    bundle = Bundle(path)
    problems: list[str] = []
    found = list(_records(bundle, problems))
    if not found:
        if problems:
            raise UserError(f"{path} holds no record that can be read: {problems[0]}")
        raise UserError(f"{path} holds 0 records; submit some that a run has stored.")
    artefacts = Artefacts(dict(_artefacts(bundle, problems)))
    records = checked(found, artefacts)
    possible = [one.record for one in records if one.possible]
    manifest = bundle.manifest
    return Verified(
        path.name,
        manifest.by,
        manifest.made_by,
        len(artefacts.by_hash),
        tuple(records),
        tuple(speeds(possible)),
        tuple(problems),
    )


def checked(
    found: Sequence[tuple[Kind[Any], Record[Any, Any]]], artefacts: Artefacts
) -> list[VerifiedRecord]:
    """Every record, held against itself, those beside it and the artefacts.

    Args:
        found: kind and record of each.
        artefacts: of the bundle.
    """
    return [_checked(kind, record, found, artefacts) for kind, record in found]


def _checked(
    kind: Kind[Any],
    record: Record[Any, Any],
    found: Sequence[tuple[Kind[Any], Record[Any, Any]]],
    artefacts: Artefacts,
) -> VerifiedRecord:
    ledger = Ledger()
    beside: list[Any] = [one for its, one in found if its.name == kind.name and one is not record]
    try:
        check_origin(record, ledger)
        if isinstance(record, RunRecord):
            check_run(record, ledger, beside)
            check_artefact(record, ledger, artefacts)
        else:
            check_other(record, ledger, beside)
    except Exception as reason:  # a batch of 0 images, and the like
        why = f"{type(reason).__name__}: {first_line(reason)}"
        words = f"holds what nothing can be computed of ({why})"
        ledger.demand("body", False, words, IMPOSSIBLE)
    tree = tree_of(kind, record)
    told = {"verdict": tree["verdict"], "body": tree["body"]}
    return VerifiedRecord(
        kind.name,
        record,
        tuple(dict.fromkeys(ledger.faults)),
        tuple(ledger.again),
        tuple(stated(told, list(ledger.again))),
        tuple(why_open(record)),
    )


def _records(bundle: Bundle, problems: list[str]) -> Iterator[tuple[Kind[Any], Record[Any, Any]]]:
    known = kinds()
    for name in bundle.below(RECORDS, ".json"):
        found = _record_or_reason(bundle, name, known)
        if isinstance(found, UserError):
            problems.append(str(found))
        else:
            yield found


def _record_or_reason(
    bundle: Bundle, name: str, known: Mapping[str, Kind[Any]]
) -> tuple[Kind[Any], Record[Any, Any]] | UserError:
    try:
        return _record(bundle, name, known)
    except UserError as reason:
        return reason


def _record(
    bundle: Bundle, name: str, known: Mapping[str, Kind[Any]]
) -> tuple[Kind[Any], Record[Any, Any]]:
    """One that stands where its key, home and fingerprint say."""
    data = bundle.read(name, MOST_RECORD)
    source = f"{bundle.path}, {name}"
    kind = known.get(kind_of(data) or "")
    if kind is None:
        raise UserError(
            f"{source} is a record of a kind that this SigmaBench does not know; install the "
            "package that it comes from, or upgrade."
        )

    def arrays(sha256: str) -> Mapping[str, Any]:
        return _arrays(bundle, PurePosixPath(name).parent, sha256)

    record = from_json(data, source, kind, arrays)
    if record.arrays:
        len(record.arrays)  # read now, so that what is wrong with them is told of this record
    place = PurePosixPath(name)
    wanted = record.subject.home, fingerprint_hash(record.fingerprint), record.subject.key
    if (place.parent.parent.name, place.parent.name, place.stem) != wanted:
        raise UserError(f"{source} holds the record whose place is {'/'.join(wanted)}.json.")
    return kind, record


def _arrays(bundle: Bundle, folder: PurePosixPath, sha256: str) -> Mapping[str, Any]:
    import safetensors.numpy

    name = array_file(Path(folder), sha256).as_posix()
    if name not in bundle.files:
        raise UserError(f"{bundle.path} lacks {name}, which a record names; submit it again.")
    data = bundle.read(name, MOST_ARRAYS)
    try:
        found = safetensors.numpy.load(data)
    except Exception as reason:  # whatever is wrong with what it holds
        raise UserError(
            f"{bundle.path}, {name} is damaged ({reason}); submit it again."
        ) from reason
    if digest_of(found) != sha256:
        raise UserError(f"{bundle.path}, {name} does not hold the arrays that a record names.")
    return found


def _artefacts(bundle: Bundle, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """By content hash; what is damaged, or no artefact, is told of and left out."""
    from ..quantize.artefact import artefact_hash, from_bytes

    for name in bundle.below(ARTEFACTS, ".safetensors"):
        try:
            found = from_bytes(bundle.read(name, MOST_ARRAYS), f"{bundle.path}, {name}")
        except UserError as reason:
            problems.append(str(reason))
            continue
        yield artefact_hash(found), found


def bundles_in(path: Path) -> list[Path]:
    """A bundle itself, or those of a folder, by name.

    Raises:
        UserError: there is no such file or folder.
    """
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.suffix == ENDING)
    if not path.exists():
        raise UserError(f"There is no bundle {path}; correct the path.")
    return [path]
