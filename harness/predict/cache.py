"""What a study has predicted and not yet put into records: one that is stopped goes on there.

    <results>/<workload>/<fingerprint hash>/.predictions/<key>.safetensors

They are bound to machine and code as records are, and gone once all records of the study are there,
also those of one that was killed and has no more use of them; studies may share the folder. What a
stopped run has left and nobody has asked for in 30 days goes when another begins on the same
workload, of whatever machine and code it is. A file whose content does not match its hash, that has
none (as those of before), or that is of something else is as good as none: what it held is
predicted again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ..core.errors import UserError
from ..core.whole import content_hash, put_atomically, read_json, text_path
from .predicted import Outcomes, Summary

#: Outcomes by name, such as `50` for T = 50, and tensors of one value an image.
Made = tuple[dict[str, Outcomes], dict[str, Tensor]]

_KEPT_SECONDS = 30 * 24 * 3600.0
#: Of outcomes, and of a whole summary what outcomes do not have.
_OUTCOMES = (
    "confidence", "prediction", "entropy", "mutual_information", "nlls", "briers", "opening",
)  # fmt: skip
_WHOLE = ("probs", "log_probs", "expected_entropy")


class Scratch:
    """The predictions of one machine and code.

    Args:
        folder: in which they are kept, in that of its records.
        reuse: whether what runs before have made counts.

    Attributes:
        findings: why something could not be kept, a sentence; empty where all was.
    """

    def __init__(self, folder: Path, reuse: bool = True) -> None:
        self.folder = folder
        self.findings: tuple[str, ...] = ()
        self._reuse = reuse
        self._own: set[Path] = set()
        _remove_forgotten(folder)

    def get(
        self, key: Mapping[str, Any], needed: Collection[str], make: Callable[[], Made]
    ) -> Made:
        """What was made before under this key, else what `make` makes, which is kept.

        Args:
            key: everything that the predictions depend on beside machine and code; JSON types.
            needed: names of outcomes; what was made before counts if it has them all.
            make: outcomes without halves, and other tensors.
        """
        text = _text(key)
        path = self._place(text)
        kept = _read(path, text) if self._reuse or path in self._own else None
        self._own.add(path)
        if kept is not None and set(needed) <= set(kept[0]):
            with suppress(OSError):
                os.utime(path)
            return kept
        made = make()
        try:
            put_atomically(path, lambda temporary: _write(temporary, made, text))
        except UserError as reason:
            self.findings = (f"predictions were not kept for a run that is stopped: {reason}",)
        return made

    def _place(self, text: str) -> Path:
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"

    def clear(self, keys: Iterable[Mapping[str, Any]] = ()) -> None:
        """Forget what this one was asked for, and what is kept under these keys; what other runs
        keep stays."""
        for path in self._own.union(self._place(_text(key)) for key in keys):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._own.clear()
        with suppress(OSError):  # there is more in it
            self.folder.rmdir()


def _remove_forgotten(folder: Path) -> None:
    """Of all machines and code that this one's home has records of."""
    before = time.time() - _KEPT_SECONDS
    for path in folder.parent.parent.glob(f"*/{folder.name}/*.safetensors"):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()


def _text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def _write(path: Path, made: Made, key: str) -> None:
    """From where the tensors lie: bytes would be further copies of what may be gigabytes."""
    found, others = made
    tensors = {f"other/{name}": value for name, value in others.items()}
    for name, outcomes in found.items():
        if outcomes.labels is not None:
            tensors["labels"] = outcomes.labels  # the same of all
        tensors.update(_tensors(outcomes, _OUTCOMES, name))
        if outcomes.whole:
            tensors.update(_tensors(outcomes.whole, _WHOLE, name))
    facts = json.dumps({name: [outcomes.T, outcomes.classes] for name, outcomes in found.items()})
    about = {"key": key, "facts": facts, "sha256": _hash(key, facts, tensors)}
    try:
        with text_path(path) as place:
            safetensors.torch.save_file(tensors, place, about)
    except SafetensorError as reason:  # a full disk too
        raise OSError(str(reason)) from reason


def _hash(key: str, facts: str, tensors: Mapping[str, Tensor]) -> str:
    kinds = {name: [str(value.dtype), list(value.shape)] for name, value in tensors.items()}
    raw = {name: value.contiguous().numpy().data for name, value in tensors.items()}
    return content_hash(json.dumps([key, facts, kinds], sort_keys=True), raw)


def _tensors(of: Outcomes | Summary, fields: Sequence[str], name: str) -> dict[str, Tensor]:
    values = {f"{field}/{name}": getattr(of, field) for field in fields}
    return {key: value.contiguous() for key, value in values.items() if value is not None}


def _read(path: Path, key: str) -> Made | None:
    try:
        with text_path(path) as name, safetensors.safe_open(name, framework="pt") as file:
            about = file.metadata() or {}
            if about["key"] != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about["sha256"] != _hash(key, about["facts"], tensors):
            return None
        facts = dict(read_json(about["facts"]))
        found = {name: _outcomes(tensors, name, *one) for name, one in facts.items()}
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):  # bfloat16 is no array's
        return None
    others = {n.removeprefix("other/"): v for n, v in tensors.items() if n.startswith("other/")}
    return found, others


def _outcomes(tensors: Mapping[str, Tensor], name: str, passes: int, classes: int) -> Outcomes:
    one: dict[str, Any] = {field: tensors.get(f"{field}/{name}") for field in _OUTCOMES}
    more: dict[str, Any] = {field: tensors.get(f"{field}/{name}") for field in _WHOLE}
    both = {field: one[field] for field in ("entropy", "mutual_information")}
    whole = None if more["probs"] is None else Summary(passes, **more, **both)
    return Outcomes(passes, classes, **one, labels=tensors.get("labels"), whole=whole)
