"""A bundle: records, their arrays and artefacts in one uncompressed tar, with a manifest of hashes.

    bundle.json                                             the manifest, its own hash last
    records/<folder>/<home>/<fingerprint hash>/<key>.json   records as a results directory has them
    records/.../<hash>.safetensors                          their arrays
    artefacts/<hash>.safetensors                            artefacts that records name

Below `records/` it is a results directory, so that whoever unpacks it can read it. Here nothing is
unpacked: members are read where they lie, each only after its size was bounded, and what is read
must have the hash that the manifest tells. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.archive import Tar
from ..core.errors import UserError, first_line
from ..core.whole import json_text, put_atomically, read_json
from ..machine.memory_limit import require
from ..records.record_file import HASH, NO_HASH, check_seal, sealed

MANIFEST = "bundle.json"
RECORDS, ARTEFACTS = "records/", "artefacts/"
KIND = "sigmabench-bundle"
SCHEMA_VERSION = 1
ENDING = ".tar"

#: Bytes that one file of each kind has at most; published ones have a thousandth of it.
MOST_MANIFEST, MOST_RECORD, MOST_ARRAYS = 1 << 26, 1 << 26, 1 << 31
MOST_FILES = 100_000


@dataclass(frozen=True)
class BundledFile:
    """One file of a bundle.

    Attributes:
        name: with slashes, below the bundle.
        size: bytes.
        sha256: 64 hex digits of its content.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says it holds.

    Attributes:
        kind: `KIND`.
        made_by: version of SigmaBench that packed it.
        by: whose results they are, as they call themselves; may be empty.
        files: all but the manifest, by name.
        schema_version: of this layout.
    """

    kind: str
    made_by: str
    by: str
    files: tuple[BundledFile, ...]
    schema_version: int


def write_bundle(path: Path, files: Mapping[str, bytes], made_by: str, by: str) -> Manifest:
    """Write a bundle, whole or not at all; the same files give the same bytes.

    Args:
        path: of the bundle.
        files: content by name.
        made_by: see `Manifest`.
        by: see `Manifest`.

    Raises:
        UserError: the place cannot be written to.
    """
    listed = tuple(
        BundledFile(name, len(data), hashlib.sha256(data).hexdigest())
        for name, data in sorted(files.items())
    )
    manifest = Manifest(KIND, made_by, by, listed, SCHEMA_VERSION)
    text = sealed(json_text({**asdict(manifest), HASH: NO_HASH})).encode()

    def write(temporary: Path) -> None:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, data in ((MANIFEST, text), *sorted(files.items())):
                member = tarfile.TarInfo(name)  # of no user, from 1970
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))

    put_atomically(path, write, durable=True)
    return manifest


class Bundle:
    """A bundle, opened and checked as far as its manifest goes.

    Args:
        path: of the file.

    Raises:
        UserError: there is none, it is not a bundle, it is damaged, of a newer schema, holds a file
            whose path leaves it, or other files than its manifest names.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UserError(f"There is no bundle {path}; correct the path.")
        try:
            self._tar = Tar.at(path)
        except UserError as reason:
            told = str(reason).partition("; ")[0]
            raise UserError(
                f"{told}, so it is not a bundle; make one by `sigmabench submit`."
            ) from None
        self._check_names()
        self.manifest = self._manifest()
        self._check_files()

    def _check_names(self) -> None:
        for name in self._tar.names:
            if posixpath.isabs(name) or name.split("/")[0] == "..":
                raise UserError(
                    f"{self.path} holds a file whose path leaves it ({name}), so nothing of it is "
                    "read; ask for a bundle that `sigmabench submit` made."
                )
        if len(self._tar.names) > MOST_FILES:
            raise UserError(
                f"{self.path} holds {len(self._tar.names):,} files, more than {MOST_FILES:,}; "
                "submit one workload at a time."
            )

    def _manifest(self) -> Manifest:
        if MANIFEST not in self._tar.members:
            raise UserError(
                f"{self.path} is not a bundle (it holds no {MANIFEST}); make one by "
                "`sigmabench submit`."
            )
        data = self._content(MANIFEST, MOST_MANIFEST)
        source = f"{self.path}, {MANIFEST}"
        try:
            tree = read_json(data)
        except ValueError as reason:
            raise self._damaged(f"its {MANIFEST} is not JSON ({reason})") from reason
        self._check_version(tree)
        manifest = _validated(tree, self)
        check_seal(data, source)
        return manifest

    def _check_version(self, tree: Any) -> None:
        version = tree.get("schema_version") if isinstance(tree, dict) else None
        if type(version) is not int or tree.get("kind") != KIND:
            raise UserError(
                f"{self.path} is not a bundle (its {MANIFEST} does not say so); make one by "
                "`sigmabench submit`."
            )
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{self.path} was made by a newer SigmaBench (bundle schema {version}, this one "
                f"reads up to {SCHEMA_VERSION}): upgrade."
            )

    def _check_files(self) -> None:
        """The manifest's files are those that are there, with those sizes."""
        there = {name: size for name, (_, size) in self._tar.members.items() if name != MANIFEST}
        told = {one.name: one.size for one in self.manifest.files}
        if len(told) < len(self.manifest.files):
            raise self._damaged("its manifest names a file twice")
        for name in sorted({*there, *told}):
            if name not in told:
                raise self._damaged(f"it holds {name}, which its manifest does not name")
            if name not in there:
                raise self._damaged(f"{name} is missing")
            if there[name] != told[name]:
                raise self._damaged(f"{name} has {there[name]:,} bytes, not {told[name]:,}")

    @cached_property
    def files(self) -> dict[str, BundledFile]:
        """All but the manifest, by name."""
        return {one.name: one for one in self.manifest.files}

    def below(self, start: str, ending: str) -> list[str]:
        """Names that begin and end so, sorted."""
        return sorted(n for n in self.files if n.startswith(start) and n.endswith(ending))

    def read(self, name: str, most: int) -> bytes:
        """A file's content, which has the hash that the manifest tells.

        Args:
            name: of a file of the manifest.
            most: bytes that it may have.

        Raises:
            UserError: it has more, is damaged, or would take more memory than there is.
        """
        data = self._content(name, most)
        if hashlib.sha256(data).hexdigest() != self.files[name].sha256:
            raise self._damaged(f"{name} is not what its manifest says")
        return data

    def _content(self, name: str, most: int) -> bytes:
        _, size = self._tar.members[name]
        if size > most:
            raise UserError(
                f"{self.path} holds {name} of {size:,} bytes, more than the {most:,} that such a "
                "file may have; submit fewer records."
            )
        require(f"{self.path}, {name},", 3 * size)  # itself, decoded, and what is made of it
        with self._tar.open(name) as stream:
            data = stream.read(size)
        if len(data) != size:
            raise self._damaged(f"it ends within {name}")
        return data

    def _damaged(self, reason: str) -> UserError:
        return UserError(f"{self.path} is damaged: {reason}; fetch or submit it again.")


def _validated(tree: Any, bundle: Bundle) -> Manifest:
    from pydantic import TypeAdapter, ValidationError

    rest = {name: value for name, value in tree.items() if name != HASH}
    try:
        return TypeAdapter(Manifest).validate_python(rest)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{bundle.path} is damaged: its {MANIFEST} has a wrong {where} "
            f"({first_line(Exception(first['msg']))}); fetch or submit it again."
        ) from invalid
