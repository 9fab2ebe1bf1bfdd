"""Predictions that a run has made and not yet put into records: one that is stopped goes on there.

    <results>/<workload>/<fingerprint hash>/.predictions/<key>.safetensors

They are bound to machine and code as records are, and gone once all records are there. A file that
is damaged, or of something else, is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from .files import put_atomically
from .uncertainty.predictive import Summary

#: Summaries by name, such as `50` for T = 50, and tensors of one value an image.
Made = tuple[dict[str, Summary], dict[str, Tensor]]

FOLDER = ".predictions"
_TENSORS = ("probs", "log_probs", "entropy", "expected_entropy", "mutual_information")


class Scratch:
    """The predictions of one machine and code.

    Args:
        folder: of its records.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def get(
        self, key: Mapping[str, Any], needed: Collection[str], make: Callable[[], Made]
    ) -> Made:
        """What was made before under this key, else what `make` makes, which is kept.

        Args:
            key: everything that the predictions depend on beside machine and code; JSON types.
            needed: names of summaries; what was made before counts if it has them all.
            make: summaries without halves or single passes' choices, and other tensors.

        Raises:
            UserError: it cannot be written.
        """
        text = json.dumps(key, sort_keys=True)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
        kept = _read(path, text)
        if kept is not None and set(needed) <= set(kept[0]):
            return kept
        made = make()
        put_atomically(path, lambda temporary: _write(temporary, made, text))
        return made

    def clear(self) -> None:
        """Forget everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(path: Path, made: Made, key: str) -> None:
    """From where the tensors lie: bytes would be further copies of what may be gigabytes."""
    summaries, others = made
    tensors = {f"other/{name}": value for name, value in others.items()}
    for name, summary in summaries.items():
        for field in _TENSORS:
            value = getattr(summary, field)
            if value is not None:
                tensors[f"{field}/{name}"] = value.contiguous()
    passes = {name: summary.T for name, summary in summaries.items()}
    try:
        safetensors.torch.save_file(tensors, path, {"key": key, "passes": json.dumps(passes)})
    except SafetensorError as reason:  # a full disk too
        raise OSError(str(reason)) from reason


def _read(path: Path, key: str) -> Made | None:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts["key"] != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        passes = json.loads(facts["passes"])
        summaries = {name: _summary(tensors, name, T) for name, T in passes.items()}
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    others = {n.removeprefix("other/"): v for n, v in tensors.items() if n.startswith("other/")}
    return summaries, others


def _summary(tensors: Mapping[str, Tensor], name: str, passes: int) -> Summary:
    return Summary(
        T=passes,
        probs=tensors[f"probs/{name}"],
        log_probs=tensors[f"log_probs/{name}"],
        entropy=tensors[f"entropy/{name}"],
        expected_entropy=tensors[f"expected_entropy/{name}"],
        mutual_information=tensors.get(f"mutual_information/{name}"),
    )
