"""Records with parts of them replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from sigmabench.harness.records.envelope import Record

R = TypeVar("R", bound=Record[Any, Any])

_PARTS = ("subject", "provenance", "verdict", "body", "arrays")
_PROVENANCE = ("fingerprint", "command", "created")


def changed(record: R, **parts: Any) -> R:
    """The record with other parts, each named as it is where it belongs.

    Args:
        record: as it is.
        parts: of the envelope itself, of its provenance, or of its body.
    """
    made = {name: parts.pop(name) for name in _PROVENANCE if name in parts}
    own = {name: parts.pop(name) for name in _PARTS if name in parts}
    provenance = replace(own.pop("provenance", record.provenance), **made)
    body = replace(own.pop("body", record.body), **parts)
    return replace(record, provenance=provenance, body=body, **own)
