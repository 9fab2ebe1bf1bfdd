"""`docs/record.md`: each class of the records' schemas as a table, from docstrings and annotations.

python -m sigmabench.harness.records.documented > docs/record.md
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from ..workload.cell import Cell
from .envelope import Provenance, Record
from .kind import SCHEMA_VERSION, Kind
from .verdict import Verdict

_PREAMBLE = """# The record, field by field

Made by `python -m sigmabench.harness.records.documented > docs/record.md`; schema version
{version}. One JSON file for each subject, of whatever study:
`<results>/<folder>/<home>/<fingerprint hash>/<key>.json`. It holds `kind`, `subject`, `provenance`,
`verdict`, `body`, `arrays` (the hash of the arrays beside it, or null) and `schema_version`. The
fingerprint hash is the first 8 hex digits of the SHA-256 of what decides whether a record is
current: machine, cores and quota, packages but sigmabench, environment, `computing` (of records
without that field, of all fields that are not at their defaults). The key of a cell is the first 16
digits of that of all its fields that are not at their defaults, but for `method`, which the others
imply:
{later}.
Units are in the field names. `null` (None in Python) means not defined or not measurable here; the
reason, where one is needed, is in `unavailable`. NaN and infinity do not occur, nor does a number
too large for a float64.

Arrays, one value for each image, lie in `<hash>.safetensors` in the same folder, named by the first
16 hex digits of the hash of their content; records may share a file. `sigmabench pack` puts the
records of a kind in a folder into `<kind>.jsonl`, a head and a line for each, and their arrays into
`<kind>.safetensors.gz`.

Last in a file, and in a line, stands `sha256`, the hash of its text with zeros in place of the
hash. A file that was changed since, or that stands under another record's name, is refused. Files
of schema versions before {version} are read as well: they held no envelope, and their hash, where
they had one, is that of all else in them as JSON without spaces, with sorted keys."""


def to_markdown(kinds: list[Kind[Any]]) -> str:
    """The document: the envelope, then the parts of every kind."""
    later = (item for item in fields(Cell) if item.default is not MISSING)
    defaults = ", ".join(f"`{item.name}` {json.dumps(item.default)}" for item in later)
    sections = [_PREAMBLE.format(version=SCHEMA_VERSION, later=defaults)]
    said: set[type] = {Record}
    sections += [_table(one) for one in _parts(Provenance, Verdict, said=said)]
    for kind in kinds:
        folders = ", ".join(
            f"`{folder}/`" if folder else "the directory itself" for folder in kind.folders
        )
        head = f"## Kind `{kind.name}`\n\nIn {folders}."
        told = _words(kind.record)[0]
        sections.append(f"{head} {told}" if told else head)
        sections += [_table(one) for one in _parts(kind.subject, kind.body, said=said)]
    return "\n\n".join(sections) + "\n"


def _parts(*roots: type, said: set[type]) -> Iterator[type]:
    """Dataclasses that these are made of, from the outermost in, each once."""
    for root in roots:
        if root in said:
            continue
        said.add(root)
        yield root
        for hint in get_type_hints(root).values():
            yield from _parts(*_classes(hint), said=said)


def _classes(hint: Any) -> list[type]:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return [hint] if is_dataclass(hint) else []
    return [found for argument in get_args(hint) for found in _classes(argument)]


def _table(schema: type) -> str:
    summary, documented = _words(schema)
    rows = [
        f"| `{item.name}` | `{_type(item.type)}` | {documented[item.name]} |"
        for item in fields(schema)
    ]
    table = "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])
    return f"### {schema.__name__}\n\n{summary}\n\n{table}"


def _words(schema: type) -> tuple[str, dict[str, str]]:
    """A class docstring as its text and the entries of its `Attributes`."""
    text, _, attributes = inspect.cleandoc(schema.__doc__ or "").partition("\n\nAttributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", attributes, re.M)
    return " ".join(text.split()), {name: " ".join(words.split()) for name, words in entries}


def _type(annotation: object) -> str:
    """An annotation as it stands in JSON."""
    text = str(annotation).replace("None", "null").replace(", ...", "").replace("|", r"\|")
    return re.sub(r"tuple\[", "list[", text)


def _kinds() -> list[Kind[Any]]:
    from .ablation_record import ABLATIONS
    from .load_record import LOADS
    from .methods_record import METHOD_RECORDS
    from .peers_record import COMPARISONS
    from .profile_record import PROFILES
    from .roofline_record import ROOFLINES
    from .run_record import RUN_RECORDS
    from .runtime_record import MEMORY, RACES, SAMPLER
    from .samples_record import SAMPLES
    from .scaling_record import SCALINGS, TUNINGS
    from .shift_record import SHIFT_RECORDS
    from .slo_record import SLOS
    from .weights_record import WEIGHTS

    return [
        RUN_RECORDS,
        SHIFT_RECORDS,
        ABLATIONS,
        WEIGHTS,
        METHOD_RECORDS,
        LOADS,
        SLOS,
        SAMPLES,
        COMPARISONS,
        RACES,
        MEMORY,
        SAMPLER,
        SCALINGS,
        TUNINGS,
        PROFILES,
        ROOFLINES,
    ]


if __name__ == "__main__":
    print(to_markdown(_kinds()), end="")
