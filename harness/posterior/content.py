"""The content hash of a posterior's file, without PyTorch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors

from ..core.whole import text_path

ROLES = ("mean", "rho", "state")


def content_hash_of(path: Path) -> str | None:
    """`Posterior.content_hash` of the tensors in a file, 64 hex digits.

    None where they are no posterior's, cannot be read, or are of a type that NumPy lacks: loading
    the file tells. What the file says of itself is not believed, nor looked at.
    """
    try:
        with text_path(path) as name, safetensors.safe_open(name, framework="np") as opened:
            return _hash(opened)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def _hash(opened: safetensors.safe_open) -> str | None:
    keys = sorted(opened.keys())
    if any(key.partition("/")[0] not in ROLES for key in keys):
        return None
    digest = hashlib.sha256()
    for key in sorted(keys, key=lambda key: (ROLES.index(key.partition("/")[0]), key)):
        tensor = opened.get_tensor(key)
        digest.update(f"{key} torch.{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()
