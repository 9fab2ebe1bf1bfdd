"""Artefact files that are changed and have the right hash all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import safetensors.torch
from torch import Tensor

from sigmabench.harness.core.whole import content_hash
from sigmabench.harness.quantize import artefact_file

Tensors = dict[str, Tensor]


def forged(
    data: bytes,
    header: Callable[[dict[str, Any]], object] = lambda header: None,
    tensors: Callable[[Tensors], object] = lambda tensors: None,
    text: Callable[[str], str] = lambda text: text,
) -> bytes:
    """A file whose header, tensors and header's JSON were changed in turn, sealed again."""
    whole = safetensors.torch.load(data)
    tensors(whole)
    fields = header_of(data)
    header(fields)
    changed = text(json.dumps(fields, separators=(",", ":")))
    stored = safetensors.deserialize(safetensors.torch.save(whole))
    raw = {name: memoryview(one["data"]) for name, one in stored}
    sealed = artefact_file._sealed(changed, content_hash(changed, raw))
    return safetensors.torch.save(whole, {artefact_file.KEY: sealed})


def header_of(data: bytes) -> dict[str, Any]:
    """The fields of a file's header, but its hash."""
    outer = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    fields: dict[str, Any] = json.loads(outer["__metadata__"][artefact_file.KEY])
    del fields["sha256"]
    return fields
