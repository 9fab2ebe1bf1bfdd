"""What reads what a user hands in: each parser as a function of bytes.

Where a file holds a hash of its own content, or sums that a reader checks first, the function puts
the right ones in, so that what lies behind them is reached: its input is then several parts with
`MARK` between them, and without a mark the file itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
from torch import nn

from sigmabench.harness.bundle.artefact_checks import Artefacts
from sigmabench.harness.bundle.container import write_bundle
from sigmabench.harness.bundle.document import document
from sigmabench.harness.bundle.raced import speeds
from sigmabench.harness.bundle.verify import Verified, checked, verify
from sigmabench.harness.cli.terminal import Counts, Names, Numbers
from sigmabench.harness.core import contents
from sigmabench.harness.core.archive import open_archive
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.escape import plain, visible
from sigmabench.harness.core.whole import content_hash
from sigmabench.harness.data import imagenet
from sigmabench.harness.data.arrays import read_images, read_npz
from sigmabench.harness.data.decode import UndecodableError, decoded
from sigmabench.harness.data.images import Crop, labelled
from sigmabench.harness.data.outside import ood_sets
from sigmabench.harness.history.history import documents
from sigmabench.harness.posterior import file as posterior_file
from sigmabench.harness.posterior import moped
from sigmabench.harness.posterior.checkpoint import load_checkpoint
from sigmabench.harness.posterior.convert import posterior_in
from sigmabench.harness.predict import cache as scratch
from sigmabench.harness.quantize import artefact_file
from sigmabench.harness.records import record_file
from sigmabench.harness.records.ablation_record import ABLATIONS
from sigmabench.harness.records.kind import Kind
from sigmabench.harness.records.peers_record import COMPARISONS
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.runtime_record import MEMORY, RACES, SAMPLER
from sigmabench.harness.records.shift_record import SHIFT_RECORDS
from sigmabench.harness.records.weights_record import WEIGHTS
from sigmabench.harness.report import table
from sigmabench.harness.workload.choices import plan_from
from sigmabench.harness.workload.workload import resolve_workload

#: What a parser may raise.
OWN = (UserError, UndecodableError)
MARK = b"\n\0\n"
#: Kept inputs begin with a place in it: new kinds stand at its end.
KINDS = (
    RUN_RECORDS,
    SHIFT_RECORDS,
    COMPARISONS,
    RACES,
    MEMORY,
    SAMPLER,
    ABLATIONS,
    WEIGHTS,
)
CROP = Crop(4, 6)
CLASSES = ("cat", "dog")
NPZ = ("train_images", "train_labels", "test_images", "test_labels", "images")


@lru_cache(maxsize=1)
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)


def written(data: bytes, suffix: str = "") -> Path:
    """A file that holds them."""
    path = Path(_home().name) / f"file{suffix}"
    path.write_bytes(data)
    return path


def _parts(data: bytes, count: int) -> list[bytes] | None:
    found = data.split(MARK, count - 1)
    return found if len(found) == count else None


def _safetensors(tensors: bytes, metadata: Mapping[str, str], body: bytes) -> bytes:
    """A file whose header has these tensors, as JSON, and metadata."""
    try:
        header = json.loads(tensors)
        header["__metadata__"] = dict(metadata)
        tensors = json.dumps(header).encode()
    except (ValueError, TypeError, RecursionError):
        pass
    return struct.pack("<Q", len(tensors)) + tensors + body


def tar(data: bytes) -> None:
    """An archive, every file in it, its table or folders of classes."""
    archive = open_archive(written(data, ".tar"))
    for name in archive.names[:20]:
        archive.stamp(name)
        with archive.open(name) as stream:
            stream.read(64)
    images, _ = labelled(archive, CLASSES, CROP)
    images.readable()


@dataclass(frozen=True)
class _OneTable:
    """An archive of two images and a table."""

    table: bytes
    path: Path = Path("images")
    names: tuple[str, ...] = ("a.png", "labels.csv", "sub/b.png")

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.table)

    def stamp(self, name: str) -> list[int]:
        return [len(self.table)]


def labels(data: bytes) -> None:
    """`labels.csv`."""
    labelled(_OneTable(data), CLASSES, CROP)


def npz(data: bytes) -> None:
    """Images and labels; in parts, those of `NPZ`."""
    parts = _parts(data, len(NPZ))
    if parts is not None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as members:
            for name, content in zip(NPZ, parts, strict=True):
                members.writestr(f"{name}.npy", content)
        data = packed.getvalue()
    path = written(data, ".npz")
    read_images(path)
    read_npz(path)


def posterior(data: bytes) -> None:
    """Tensors, metadata, their numbers."""
    parts = _parts(data, 3)
    if parts is not None:
        tensors, facts, body = parts
        text = _with_hash(tensors, facts, body)
        seal = f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
        data = _safetensors(tensors, {posterior_file.FORMAT: seal}, body)
    found, _ = posterior_file.load(written(data, ".safetensors"))
    found.validate(_network(), "the posterior")


def _with_hash(tensors: bytes, facts: bytes, body: bytes) -> str:
    """Metadata with the hash of the content, where there is content."""
    try:
        told = json.loads(facts)
        found = safetensors.torch.load(_safetensors(tensors, {}, body))
        assembled = posterior_file._assemble(Path("fuzz"), found, told["names"])
        told["content_hash"] = assembled.content_hash()
        return json.dumps(told)
    except Exception:  # whatever it is, the parser gets it as it is
        return facts.decode(errors="replace")


def artefact(data: bytes) -> None:
    """Tensors, header, their numbers."""
    parts = _parts(data, 3)
    if parts is not None:
        tensors, header, body = parts
        text = header.decode(errors="replace")
        try:
            stored = safetensors.deserialize(_safetensors(tensors, {}, body))
        except safetensors.SafetensorError:
            stored = []
        digest = content_hash(text, {name: memoryview(one["data"]) for name, one in stored})
        seal = artefact_file._sealed(text, digest)
        data = _safetensors(tensors, {artefact_file.KEY: seal}, body)
    artefact_file.from_bytes(data, "artefact")


def record(data: bytes) -> None:
    """The first byte chooses the kind; those of `run` are shown too."""
    kind, found = _record(data)
    if kind is RUN_RECORDS:
        list(table.json_lines([found]))
        table.csv([found])


def submitted(data: bytes) -> None:
    """A record of a bundle, checked and shown."""
    records = tuple(checked([_record(data)], Artefacts({})))
    fast = tuple(speeds([one.record for one in records if one.possible]))
    document(Verified("bundle.tar", "", "0", 0, records, fast, ()))


def bundle(data: bytes) -> None:
    """A bundle; in parts, one of one file that has that name and content, with its hash."""
    path, parts = written(data, ".tar"), _parts(data, 2)
    if parts is not None:
        name, content = parts
        write_bundle(path, {name.decode(errors="replace"): content}, "0", "")
    verify(path)


def history(data: bytes) -> None:
    """asv's benchmarks and results of one commit; without a mark the latter alone."""
    benchmarks, results = _parts(data, 2) or (b"{}", data)
    machine = Path(_home().name) / "asv" / "machine-0"
    machine.mkdir(parents=True, exist_ok=True)
    (machine.parent / "benchmarks.json").write_bytes(benchmarks)
    (machine / "machine.json").write_text('{"machine": "machine-0"}')
    (machine / "commit.json").write_bytes(results)
    for one in documents(machine.parent):
        one.figures()


def _record(data: bytes) -> tuple[Kind[Any], Any]:
    kind, text = KINDS[(data or b"\0")[0] % len(KINDS)], data[1:]
    try:
        tree = json.loads(text)
        if isinstance(tree, dict) and tree.pop(record_file.HASH, None) is not None:
            text = _hashed(tree).encode()
    except (ValueError, RecursionError):
        pass
    return kind, record_file.from_json(text, "record.json", kind)


def _hashed(tree: dict[str, Any]) -> str:
    """A record's JSON with its hash, by its layout."""
    if "kind" in tree:
        return record_file.sealed(json.dumps({**tree, record_file.HASH: record_file.NO_HASH}))
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return json.dumps({**tree, record_file.HASH: content_hash(text)})


def picture(data: bytes) -> None:
    """Any format; the sums of a PNG's chunks are put right."""
    decoded(io.BytesIO(_summed(data)), CROP)


def _summed(data: bytes) -> bytes:
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    found, at = data[:8], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunk = data[at + 4 : at + 8 + length]
        found += data[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += 12 + length
    return found + data[at:]


def _pickled(data: bytes) -> bytes:
    """The first byte chooses: the file itself, or its pickle, packed with four storages."""
    if not data or data[0] % 2 == 0:
        return data[1:]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as members:
        members.writestr("archive/data.pkl", data[1:])
        members.writestr("archive/byteorder", "little")
        for name, size in enumerate((8, 8, 16, 16)):
            members.writestr(f"archive/data/{name}", bytes(size))
        members.writestr("archive/version", "3\n")
    return packed.getvalue()


def checkpoint(data: bytes) -> None:
    """Of a training run."""
    content = _pickled(data)
    digest = hashlib.sha256(content).digest()
    load_checkpoint(written(digest + content, ".checkpoint"), {"seed": 0})


def state_dict(data: bytes) -> None:
    """Of bayesian-torch and torch-uncertainty."""
    posterior_in(written(_pickled(data), ".pt"))


def state_file(data: bytes) -> None:
    """The same, as safetensors."""
    posterior_in(written(data, ".safetensors"), _network())


def laplace(data: bytes) -> None:
    """Of laplace-torch."""
    posterior_in(written(_pickled(data), ".bin"), _network(), moped(_network(), 0.0))


@lru_cache(maxsize=1)
def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))


def weights(data: bytes) -> None:
    """A pretrained network's."""
    path = written(data, ".safetensors")
    imagenet._fitting(imagenet._read(path), _network(), path)


def predictions(data: bytes) -> None:
    """What a run keeps for the next one: read, or as good as none."""
    parts = _parts(data, 3)
    if parts is not None:
        tensors, facts, body = parts
        text = facts.decode(errors="replace")
        about = {"key": "key", "facts": text, "sha256": ""}
        try:
            found = safetensors.torch.load(_safetensors(tensors, {}, body))
            about["sha256"] = scratch._hash("key", text, found)
        except Exception:  # whatever it is, the parser gets it as it is
            pass
        data = _safetensors(tensors, about, body)
    scratch._read(written(data, ".safetensors"), "key")


def digests(data: bytes) -> None:
    """Kept digests: read, or as good as none."""
    seal = hashlib.sha256(data).hexdigest().encode() + b"\n"
    contents.read_kept(written(seal + data))


def options(data: bytes) -> None:
    """Names, lists and numbers of the command line, a line each."""
    words = data.decode(errors="surrogateescape").split("\n")
    words += [""] * (8 - len(words))
    told = SimpleNamespace(opts=["--option"])
    formats, mc, batch = (
        kind().convert(word, told, None)
        for kind, word in zip((Names, Counts, Numbers), words[1:4], strict=True)
    )
    given = {"range_": words[4], "observer": words[5], "split": words[6]}
    plan = plan_from(
        resolve_workload(words[0].replace(":", "")),  # a module would be imported
        formats=formats,
        mc=mc,
        batch=batch,
        **{name: value for name, value in given.items() if value},
    )
    for name in plan.formats:
        plan.cells(SimpleNamespace(hash_of=lambda format: "0" * 64), data="", network="")
        ood_sets([word for word in words[7:8] if word and name])


def shown(data: bytes) -> None:
    """Any text, as a terminal of any encoding gets it."""
    text = data.decode("utf-8", errors="surrogateescape")
    seen = visible(text)
    if visible(seen) != seen:
        raise AssertionError(f"{seen!r} steers a terminal")
    for encoding in ("ascii", "latin-1", "utf-8"):
        plain(seen, encoding).encode(encoding)


PARSERS: dict[str, Callable[[bytes], Any]] = {
    "tar": tar,
    "labels": labels,
    "npz": npz,
    "picture": picture,
    "posterior": posterior,
    "artefact": artefact,
    "record": record,
    "checkpoint": checkpoint,
    "state-dict": state_dict,
    "state-file": state_file,
    "laplace": laplace,
    "weights": weights,
    "predictions": predictions,
    "digests": digests,
    "options": options,
    "shown": shown,
    "bundle": bundle,
    "submitted": submitted,
    "history": history,
}
