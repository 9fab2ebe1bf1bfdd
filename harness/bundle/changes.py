"""`docs/verify.md`: which changes of a record `verify` finds, tried one by one.

    python -m sigmabench.harness.bundle.changes > docs/verify.md

A small run is measured, and other studies in small, with a made-up machine in place of this one so
that the page is the same everywhere. Each field of a record in turn is changed, as a cheat would:
every hash, key and place that depends on it is made again. What `checked` then says is the page.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.whole import json_text
from ..machine.describe import ISAS
from ..machine.fingerprint import Fingerprint, Machine
from ..records.envelope import Arrays, Provenance, Record
from ..records.kind import Kind
from ..records.record_file import HASH, NO_HASH, from_json, sealed, tree_of
from ..records.run_record import RUN_RECORDS, RunRecord
from ..records.verdict import PASS, verdict
from .artefact_checks import Artefacts
from .ledger import fields_of
from .run_checks import fixed_timing, owed
from .verify import checked

FOUND, REFUSED, NOT_FOUND = "found", "refused", "not found"
#: Whose fields are changed, and what it is held against.
CHANGED, BESIDE = "INT8", "FP32"
_NOT_FIELDS = ("kind", "schema_version", "arrays")
_FORMATS = (BESIDE, CHANGED)
#: Other studies in small: what their commands are given that is not their default.
OTHERS: dict[str, dict[str, Any]] = {
    "shift": {
        "workload": "lenet-digits", "formats": _FORMATS, "types": ("fog",), "severities": (1,),
        "mc": 4, "limit": 60, "ranges": ("headroom",), "ood": (),
    },
    "passes": {
        "network": "lenet5", "formats": _FORMATS, "peers": ("none",), "batch": (1,), "mc": 2,
        "seconds": 0.01,
    },
    "peers": {
        "workload": "lenet-digits", "formats": _FORMATS, "peers": ("none",), "batch": 4, "mc": 4,
        "limit": 60, "seconds": 0.01,
    },
    "sampler": {"weights": 1 << 16, "seconds": 0.01},
}  # fmt: skip
_OTHER = {"valid": "invalid", "invalid": "valid", "not judged": "valid", "INT8": "INT8_SIGMA4"}


@dataclass(frozen=True)
class Tried:
    """One change.

    Attributes:
        what: was changed.
        alone: what `verify` says of a bundle of records.
        with_artefacts: the same where their artefacts are in it.
    """

    what: str
    alone: str
    with_artefacts: str


@dataclass(frozen=True)
class Genuine:
    """What nobody changed.

    Attributes:
        records: of a run FP32 and INT8, which took turns; of another study all of them.
        artefacts: of both.
        kind: of the records.
    """

    records: tuple[Record[Any, Any], ...]
    artefacts: Artefacts
    kind: Kind[Any] = RUN_RECORDS

    @property
    def target(self) -> Any:
        """The one whose fields are changed."""
        formats = [getattr(one.subject, "format", CHANGED) for one in self.records]
        return self.records[formats.index(CHANGED)]


def genuine(folder: Path) -> Genuine:
    """Measure it; some seconds.

    Args:
        folder: for its records.
    """
    from ..quantize.artefact import artefact_hash
    from ..studies.driver import Request, conduct
    from ..studies.known import STUDIES
    from ..workload.plan import Plan
    from ..workload.prepare import prepare
    from ..workload.workload import WORKLOADS

    plan = Plan(
        WORKLOADS.get("lenet-digits"), formats=(BESIDE, CHANGED), mc=(4,), batches=(1,), limit=120,
        seeds=2, seconds=0.01,
    )  # fmt: skip
    request = Request(folder, "sigmabench run lenet-digits")
    (records,) = conduct(STUDIES.get("run"), plan, request)
    prepared = prepare(plan)
    made = [prepared.artefact(name) for name in plan.formats]
    return Genuine(
        tuple(map(_made_up, records)), Artefacts({artefact_hash(one): one for one in made})
    )


def small(name: str, folder: Path) -> Genuine:
    """Another study, measured in some seconds.

    Args:
        name: of `OTHERS`.
        folder: for its records.
    """
    from ..studies.driver import Request, conduct
    from ..studies.known import STUDIES

    study = STUDIES.get(name)
    choices = {one.called: one.default for one in study.plan.OPTIONS} | OTHERS[name]
    plan, _ = study.plan.plan(**choices, scoring=True)
    (records,) = conduct(study, plan, Request(folder, f"sigmabench {name}"))
    return Genuine(tuple(map(_made_up, records)), Artefacts({}), study.plan.KIND)


def _made_up(record: Any) -> Any:
    """The same from a machine of two cores that has everything; findings are of the page's own."""
    machine = Machine(
        "GenuineIntel", "a processor", "6", "143", "8", ISAS, 2, 2, {"L2": "2048K"}, "kvm"
    )
    made = Fingerprint(
        cpu=machine.name, isa=ISAS, cores=2, numa_nodes=1, memory_bytes=8 << 30, governor=None,
        kernel="Linux 6.1", python="3.11.7", packages={"torch": "2.14.1"}, code="c" * 16,
        commit="0" * 40, environment={"MALLOC_ARENA_MAX": "1"}, machine=machine,
        computing="c" * 16,
    )  # fmt: skip
    told = record.verdict
    if told is not None:
        own = owed(record) if isinstance(record, RunRecord) else ()
        told = replace(told, findings=(*own, "a finding"))
    provenance = Provenance(made, record.provenance.command, "2026-01-01T00:00:00+00:00")
    return replace(record, provenance=provenance, verdict=told)


def tried(from_: Genuine) -> Iterator[Tried]:
    """Every field of a record in turn, then its arrays, then changes that fit together."""
    tree = json.loads(json.dumps(tree_of(from_.kind, from_.target)))
    for name in fields_of({k: v for k, v in tree.items() if k not in _NOT_FIELDS}):
        yield _tried(from_, name, partial(_set, name=name, change=_another))
        if name.startswith("body.quality.scores."):
            later = partial(_set, name=name, change=_later)
            yield _tried(from_, f"{name}, of later seeds", later)
    for name, values in from_.target.arrays.items():
        yield _tried(from_, f"arrays.{name}", lambda one: None, {name: _another_array(values)})
    if from_.kind is RUN_RECORDS:
        yield from _together(from_)


def _together(from_: Genuine) -> Iterator[Tried]:
    """What fits together: times with what follows from them, an audit with its outcome."""
    for name in from_.target.verdict.audits:

        def failed(tree: dict[str, Any], name: str = name) -> None:
            old = from_.target.verdict
            was = old.audits[name]
            audits = {**old.audits, name: "fail: changed" if was == PASS else PASS}
            tree["verdict"] = _as_tree(verdict(audits, old.findings))

        yield _tried(from_, f"audit “{name}”, and the outcomes with it", failed)
    yield _tried(from_, "intervals of differences, made narrower about their middles", _narrow)
    for words, factor in (("halved", 0.5), ("a millionth", 1e-6)):

        def faster(tree: dict[str, Any], factor: float = factor) -> None:
            _faster(tree, factor)

        yield _tried(from_, f"all its times {words}, and what follows from them", faster)


def _as_tree(value: Any) -> Any:
    return json.loads(json.dumps(asdict(value)))


def _narrow(tree: dict[str, Any]) -> None:
    """To nine tenths of their width, and the luck of the draw with them."""
    paired = tree["body"]["paired"]
    for name, (low, high) in paired["intervals"].items():
        off = 0.05 * (high - low)
        paired["intervals"][name] = [low + off, high - off]
        paired["luck"][name] *= 0.9


def _faster(tree: dict[str, Any], factor: float) -> None:
    """As a cheat would who can run this code."""
    held, moved = tree["body"]["timing"], tree["body"]["bandwidth"]
    held["latency_ns"] = [max(1, round(one * factor)) for one in held["latency_ns"]]
    tree["subject"]["seconds"] *= factor / 2
    record = _read(tree, Arrays.of({}), RUN_RECORDS)
    assert record is not None
    again = _as_tree(fixed_timing(record))
    for name in ("percentiles_ns", "p50_ci95_ns", "images_per_second", "noise"):
        held[name] = again[name]
    speed = again["images_per_second"] * tree["subject"]["mc"] / tree["subject"]["batch"]
    moved["achieved_gb_per_s"] = moved["pass_bytes"] * speed / 1e9
    moved["share_of_copy"] = moved["achieved_gb_per_s"] / moved["copy_gb_per_s"]


def _tried(
    from_: Genuine,
    what: str,
    change: Callable[[dict[str, Any]], None],
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> Tried:
    records = _changed(from_, change, arrays or {})
    if records is None:
        return Tried(what, REFUSED, REFUSED)
    alone = _says(from_.kind, records, Artefacts({}))
    return Tried(what, alone, _says(from_.kind, records, from_.artefacts))


def _says(kind: Kind[Any], records: Sequence[Any], artefacts: Artefacts) -> str:
    found = checked([(kind, one) for one in records], artefacts)
    return FOUND if any(one.faults for one in found) else NOT_FOUND


def _changed(
    from_: Genuine, change: Callable[[dict[str, Any]], None], arrays: Mapping[str, NDArray[Any]]
) -> list[Any] | None:
    """The records after a change, with every key that depends on it; None if no reader takes it."""
    target, kind = from_.target, from_.kind
    held = Arrays.of({**target.arrays, **arrays})
    tree = json.loads(json.dumps(tree_of(kind, target)))
    change(tree)
    tree["arrays"] = held.sha256
    record = _read(tree, held, kind)
    if record is None:
        return None
    old, new = target.subject.key, record.subject.key
    elsewhere = tree["provenance"]["fingerprint"]
    made = []
    for one, its in ((target, held), *((o, o.arrays) for o in from_.records if o is not target)):
        text = tree if one is target else json.loads(json.dumps(tree_of(kind, one)))
        text["provenance"]["fingerprint"] = elsewhere
        again = _read(json.loads(json.dumps(text).replace(old, new)), its, kind)
        if again is None:
            return None
        made.append(again)
    return made


def _read(tree: dict[str, Any], arrays: Arrays, kind: Kind[Any]) -> Any:
    """As a reader would, sealed anew."""
    text = sealed(json_text({**tree, HASH: NO_HASH}))
    try:
        found = from_json(text.encode(), "a changed record", kind, lambda _: arrays)
    except UserError:
        return None
    return replace(found, arrays=arrays)


def _set(tree: dict[str, Any], name: str, change: Callable[[Any], Any]) -> None:
    """Change one field, called as in `fields_of`."""
    place: Any = tree
    *way, last = name.split(".")
    for part in way:
        place = place[part.removesuffix("[]")]
        place = place[0] if part.endswith("[]") else place
    place[last] = change(copy.deepcopy(place[last]))


def _later(values: list[Any]) -> list[Any]:
    """All but the first changed."""
    return [values[0], *map(_another, values[1:])]


def _another(value: Any) -> Any:
    """Something else that its place may hold."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 * value + 1
    if isinstance(value, float):
        return 1.25 * value + 0.01
    if isinstance(value, str):
        if value == PASS:
            return "fail: changed"
        return PASS if value.startswith("fail: ") else _OTHER.get(value, f"{value}x")
    if isinstance(value, dict):
        return {name: _another(one) for name, one in value.items()}
    return [_another(one) for one in value] if isinstance(value, list) else value


def _another_array(values: NDArray[Any]) -> NDArray[Any]:
    if np.issubdtype(values.dtype, np.integer):
        return np.asarray((values + 1) % (int(values.max()) + 1), values.dtype)
    return np.asarray(values * 0.9, values.dtype)


_PREAMBLE = """# What verifying finds

Made by `python -m sigmabench.harness.bundle.changes > docs/verify.md`.

    sigmabench submit lenet-digits --out lenet-digits.tar      # yours
    sigmabench verify lenet-digits.tar                         # yours

`submit` packs records with their raw samples and hashes into one file, and with `--artefact`
the artefacts that they name. `verify` computes again what follows from them: percentiles,
intervals, noise and throughput from the timed queries; ratios within a race; scores, curves and
calibration of the first seed from one value per image; differences between formats from both;
verdicts from what the audits were given; with the artefact size, σ kept, clamped and immovable
shares, moments of the draws and saturation. Records are held against one another: those of one
race had the same references, one image has one label, one artefact scores the same at every batch
size. Images and labels are those of the split that ships. It names what is impossible: more
multiply–adds per second than cores × 5 GHz × the instruction's width, probabilities that no image
can have, a seed or samples used twice, an instruction set that the processor lacks. All else is
listed as stated by the submitter.

Hashes say that a file is as it was written, not that it was measured. So every field of a
record was changed in turn here, and then everything that depends on it by a hash, a key or a
place was made again, as a cheat would. *Refused*: no reader takes it. *Found*: `verify` names a
contradiction. *Not found*: it has to be believed. A machine was changed in all records. Null
fields were not changed; a list of numbers was changed as a whole, of a list of objects the
first. One change was tried for each field, so that another one of the same field may stay
unseen: an interval that is moved is found, and one that is made narrower about its middle is not.

**What cannot be found at all**: samples that were invented and everything computed from them.
Whoever can run this code can make such a record; the last rows show it. A result that matters
is measured again by somebody else."""
_REST = """## Records of memory, weights, profiles and ablations

Of `ablation` accuracy and NLL of each set of images are computed again. Of the others nothing but
machine and date is held against anything: `verify` lists all their numbers as stated."""


def page(runs: Sequence[Tried], others: Mapping[str, Sequence[Tried]]) -> str:
    """The document.

    Args:
        runs: changes of a run's record.
        others: of another study's, by its name.
    """
    parts = [_PREAMBLE, "## Records of runs", _told(runs)]
    for name, rows in others.items():
        parts += [f"## Records of `{name}`", _told(rows, artefacts=False)]
    return "\n\n".join([*parts, _REST]) + "\n"


def _told(rows: Sequence[Tried], artefacts: bool = True) -> str:
    counts = {word: sum(one.alone == word for one in rows) for word in (FOUND, REFUSED, NOT_FOUND)}
    more = sum(one.alone == NOT_FOUND and one.with_artefacts == FOUND for one in rows)
    told = (
        f"Of {len(rows)} changes {counts[FOUND]} are found, {counts[REFUSED]} refused and "
        f"{counts[NOT_FOUND]} not found"
    )
    if not artefacts:
        lines = ["| changed | |", "|---|---|"]
        lines += [f"| {_cell(one.what)} | {one.alone} |" for one in rows]
        return f"{told}.\n\n" + "\n".join(lines)
    told += f"; of these {more} are found where the artefacts are in the bundle."
    lines = ["| changed | records alone | with artefacts |", "|---|---|---|"]
    lines += [f"| {_cell(one.what)} | {one.alone} | {one.with_artefacts} |" for one in rows]
    return f"{told}\n\n" + "\n".join(lines)


def _cell(what: str) -> str:
    name, comma, rest = what.partition(",")
    return f"{name}{comma}{rest}" if " " in name else f"`{name}`{comma}{rest}"


def main() -> None:
    """Print the page."""
    with tempfile.TemporaryDirectory() as folder:
        runs = list(tried(genuine(Path(folder))))
        others = {name: list(tried(small(name, Path(folder)))) for name in OTHERS}
    print(page(runs, others), end="")


if __name__ == "__main__":
    main()
