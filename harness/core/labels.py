"""Names for rows of which several are of one format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def label(
    formats: Sequence[str], identities: Sequence[Mapping[str, object]]
) -> tuple[list[str], dict[str, str]]:
    """Names for rows: the format, and a letter where one format comes in several variants.

    Args:
        formats: format of each row.
        identities: of each row, the fields that may set it apart from others of its format.

    Returns:
        The labels, and what each letter means.
    """
    firsts: dict[str, Mapping[str, object]] = {}
    varying: dict[str, set[str]] = {}
    for format_, identity in zip(formats, identities, strict=True):
        first = firsts.setdefault(format_, identity)
        differing = {k for k, v in identity.items() if v != first[k]}
        varying.setdefault(format_, set()).update(differing)
    names = [
        ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in identity.items() if k in varying[f])
        for f, identity in zip(formats, identities, strict=True)
    ]
    meanings = list(dict.fromkeys(name for name in names if name))
    letters = {name: _letter(i) for i, name in enumerate(meanings)}
    labels = [
        f"{format_} {letters.get(name, '')}".strip()
        for format_, name in zip(formats, names, strict=True)
    ]
    return labels, {v: k for k, v in letters.items()}


def _letter(index: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[index] if index < 26 else f"{alphabet[index % 26]}{index // 26}"
