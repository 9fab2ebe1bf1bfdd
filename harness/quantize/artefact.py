"""The artefact: a model in one numeric format, ready to run, in one file.

Nothing else is needed for inference: not the original class, not the posterior. This is all of it
in one import.
"""

from __future__ import annotations

from .artefact_file import KEY, SCHEMA, artefact_hash, from_bytes, load, save, to_bytes
from .artefact_model import Artefact, Header, Layer
from .artefact_size import size

__all__ = [
    "KEY",
    "SCHEMA",
    "Artefact",
    "Header",
    "Layer",
    "artefact_hash",
    "from_bytes",
    "load",
    "save",
    "size",
    "to_bytes",
]
