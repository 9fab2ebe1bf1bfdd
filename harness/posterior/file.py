"""A posterior's file: one safetensors file with tensors, metadata and a content hash.

Tensors are named `mean/NAME`, `rho/NAME` and `state/NAME`. The header's `__metadata__` has the one
entry `sigmabench-posterior`: the SHA-256 of a JSON object, a line feed, and that object (one entry
because safetensors writes several in a random order, and equal posteriors shall be equal files).
The object holds at least `schema`, `content_hash` and `names` (the order of the Bayesian
parameters, which decides the order of draws); `train` adds workload, recipe, command, seed, library
versions and validation figures. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from ..core.errors import UserError
from ..core.escape import storable
from ..core.whole import read_json, text_path, write_atomically
from ..machine.memory_limit import require
from ..machine.torch_state import plain
from .posterior import Posterior

FORMAT = "sigmabench-posterior"
SCHEMA = 1
REQUIRED = ("schema", "content_hash", "names")


@plain
def save(posterior: Posterior, path: Path | str, metadata: Mapping[str, Any] | None = None) -> str:
    """Write `posterior` to `path`, atomically; the directory is made if it is missing.

    Args:
        posterior: what to write; it is validated first.
        path: the file, conventionally `*.safetensors`.
        metadata: JSON-serialisable facts to keep with it.

    Returns:
        The content hash that was stored.

    Raises:
        UserError: the posterior holds bad values, or the file cannot be written.
    """
    path = Path(path)
    posterior.validate(source=str(path))
    tensors: dict[str, Tensor] = {}
    for role, tree in (
        ("mean", posterior.mean),
        ("rho", posterior.rho),
        ("state", posterior.state),
    ):
        tensors.update({f"{role}/{name}": tensor.contiguous() for name, tensor in tree.items()})
    content_hash = posterior.content_hash()
    facts = {
        **(metadata or {}),
        "schema": SCHEMA,
        "content_hash": content_hash,
        "names": list(posterior.mean),
    }
    text = storable(json.dumps(facts, sort_keys=True, ensure_ascii=False))
    header = {FORMAT: f"{_sha256(text)}\n{text}"}
    write_atomically(path, safetensors.torch.save(tensors, header), durable=True)
    return content_hash


@plain
def load(path: Path | str) -> tuple[Posterior, dict[str, Any]]:
    """Read a posterior and its metadata, verifying both hashes.

    Raises:
        UserError: the file is missing, truncated, altered, of another program or newer than this
            version can read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no posterior file {path}; check the path or train one.")
    require(str(path), path.stat().st_size)
    header, tensors = _read(path)
    if FORMAT not in header:
        raise UserError(
            f"{path} is not a SigmaBench posterior; give one that `sigmabench train` wrote."
        )
    checksum, _, text = header[FORMAT].partition("\n")
    if _sha256(text) != checksum:
        raise _damaged(path, "its metadata does not match its checksum")
    metadata = _metadata(path, text)
    if metadata["schema"] != SCHEMA:
        raise UserError(
            f"{path} has posterior schema {metadata['schema']} and this version reads {SCHEMA}; "
            "upgrade sigmabench."
        )
    posterior = _assemble(path, tensors, metadata["names"])
    posterior.check_types(str(path))
    if posterior.content_hash() != metadata["content_hash"]:
        raise _damaged(path, "its tensors do not match the content hash")
    posterior.validate(source=str(path))
    return posterior, metadata


def is_posterior(path: Path) -> bool:
    """Whether a file says that it is a posterior; its content is not checked."""
    try:
        with text_path(path) as name, safetensors.safe_open(name, framework="pt") as opened:
            return FORMAT in (opened.metadata() or {})
    except (safetensors.SafetensorError, OSError, UnicodeDecodeError, ValueError, KeyError):
        return False


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with text_path(path) as name, safetensors.safe_open(name, framework="pt") as opened:
            tensors = {key: opened.get_tensor(key).clone() for key in opened.keys()}  # noqa: SIM118
            return opened.metadata() or {}, tensors
    except (safetensors.SafetensorError, UnicodeDecodeError, ValueError, KeyError) as reason:
        raise _damaged(path, f"safetensors cannot read it ({reason})") from reason
    except OSError as reason:
        raise UserError(f"{path} cannot be read ({reason}); check its permissions.") from reason


def _metadata(path: Path, text: str) -> dict[str, Any]:
    """Its fields, where all that reading needs are there."""
    try:
        found = read_json(text)
    except ValueError as reason:
        raise _damaged(path, f"its metadata is not JSON ({reason})") from reason
    if not isinstance(found, dict):
        raise _damaged(path, "its metadata is not a JSON object")
    if lacking := [name for name in REQUIRED if name not in found]:
        raise _damaged(path, f"its metadata has no {' and no '.join(lacking)}")
    names = found["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _damaged(path, "the names in its metadata are not a list of text")
    return found


def _assemble(path: Path, tensors: dict[str, Tensor], names: list[str]) -> Posterior:
    trees: dict[str, dict[str, Tensor]] = {"mean": {}, "rho": {}, "state": {}}
    for key, tensor in tensors.items():
        role, _, name = key.partition("/")
        if role not in trees:
            raise _damaged(path, f"tensor {key!r} is not a posterior's")
        trees[role][name] = tensor
    for role in ("mean", "rho"):
        if set(trees[role]) != set(names):
            raise _damaged(path, f"its {role} tensors are not the parameters it lists")
    return Posterior(
        {name: trees["mean"][name] for name in names},
        {name: trees["rho"][name] for name in names},
        trees["state"],
    )


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"The posterior file {path} is damaged or foreign: {why}; copy or train it again."
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
