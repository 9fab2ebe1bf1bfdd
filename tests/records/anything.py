"""Records of every kind, made of anything that their classes can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from sigmabench.harness.records.documented import _kinds
from sigmabench.harness.records.envelope import Arrays, Provenance, Record
from sigmabench.harness.records.kind import Kind
from sigmabench.harness.records.verdict import Verdict

KINDS: dict[str, Kind[Any]] = {kind.name: kind for kind in _kinds()}
#: Whatever the parts hold, they fit each other.
UNCHECKED = {name: replace(kind, check=None) for name, kind in KINDS.items()}

ATOMS: dict[Any, st.SearchStrategy[Any]] = {
    float: st.floats(-1e100, 1e100),
    int: st.integers(0, 2**63),
    str: st.text(max_size=12),
    bool: st.booleans(),
    type(None): st.none(),
}


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation of the schema, built from the annotation."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{name: anything(hint) for name, hint in hints.items()})
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return st.dictionaries(anything(arguments[0]), anything(arguments[1]), max_size=3)
    if get_origin(kind) is tuple:
        if arguments[-1] is ...:
            return st.lists(anything(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*map(anything, arguments))
    if get_origin(kind) is Literal:
        return st.sampled_from(arguments)
    if arguments:  # a union
        return st.one_of(*map(anything, arguments))
    return ATOMS[kind]


ARRAYS = st.dictionaries(
    st.text("abcxyz._", min_size=1, max_size=6),
    arrays_of.arrays(
        st.sampled_from(["<f4", "<f8", "<i4", "|u1", "<u2"]),
        arrays_of.array_shapes(max_dims=2, max_side=3, min_side=0),
    ).filter(lambda one: not np.isnan(one.astype(np.float64)).any()),
    max_size=3,
)


def records(kind: Kind[Any]) -> st.SearchStrategy[Any]:
    """Of one kind."""
    return st.builds(
        kind.record,
        anything(kind.subject),
        anything(Provenance),
        anything(Verdict) if kind.judged else st.none(),
        anything(kind.body),
        ARRAYS.map(Arrays.of),
    )


def same(one: Record[Any, Any], other: Record[Any, Any]) -> bool:
    """Equal, and so are their arrays, number by number and type by type."""
    mine, its = dict(one.arrays), dict(other.arrays)
    return (
        one == other
        and mine.keys() == its.keys()
        and all(mine[name].dtype == its[name].dtype for name in mine)
        and all(np.array_equal(mine[name], its[name]) for name in mine)
    )


def holding(record: Record[Any, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Its arrays by their hash."""
    return {record.arrays.sha256: dict(record.arrays)}
