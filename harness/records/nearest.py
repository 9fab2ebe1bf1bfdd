"""What was asked, compared with what there is: records that were made elsewhere answer too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from ..core.contents import superseded
from .envelope import Record


def nearest(stored: Sequence[Record[Any, Any]], subjects: Sequence[Any]) -> str:
    """In what the stored record that differs least differs from what is asked for, in words that
    go on a sentence; empty where there is no record.

    Versions of what is installed do not count, nor does a superseded record's digest of images.

    Args:
        stored: records of the kind.
        subjects: that none of them is of.
    """
    found = [_differences(record, subject) for record in stored for subject in subjects]
    least = min(found, key=lambda one: len(one), default=[])
    return f" (the nearest has {'; '.join(least)})" if least else ""


def _differences(record: Record[Any, Any], subject: Any) -> list[str]:
    mine, there = _anywhere(subject), _anywhere(record.subject)
    if superseded(getattr(there, "data", ""), record.fingerprint.machine):
        there = replace(there, data=mine.data)
    asked, found = asdict(mine), asdict(there)
    return [
        f"{name} {_text(found[name])}, not {_text(value)}"
        for name, value in asked.items()
        if found[name] != value
    ]


def _anywhere(subject: Any) -> Any:
    return getattr(subject, "anywhere", subject)


def _text(value: object) -> str:
    """Of several things their names."""
    return ",".join(value) or "none" if isinstance(value, (tuple, dict)) else str(value)
