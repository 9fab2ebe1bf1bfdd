"""Records in the order and under the names in which tables and figures show them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from ..core import words as text
from ..core.contents import superseded
from ..core.formats import FORMATS
from ..core.labels import label
from ..records.run_record import RunRecord
from ..records.verdict import INVALID, SPEED
from ..workload.cell import FIXED, Cell
from .conditions_note import unreadable

#: Fields of a cell that say what was predicted: records that differ here never share a table.
SUBJECT = (
    "workload", "workload_version", "network", "split", "corruption", "severity", "limit", "data",
)  # fmt: skip
#: Fields that every table shows in its own columns.
SHOWN = ("format", "mc", "batch", "stopping")
_APART = tuple(one.name for one in fields(Cell) if one.name not in (*SHOWN, *SUBJECT))
ALL = "all cells"
#: Findings of more layers than these that differ in their numbers alone are one line.
LAYERS_APART = 5


@dataclass(frozen=True)
class RecordRow:
    """A record with what its rows need beyond it.

    Attributes:
        record: the record.
        label: its format, with a letter where the section holds several variants of that format.
        speedup: median latency (mean, where T is adaptive) of the FP32 record of the same race that
            is valid in speed and has the same T, batch, threads, instances and scenario, over this
            one's; None without one: times of different races are not divided.
    """

    record: RunRecord
    label: str
    speedup: float | None

    @property
    def passes(self) -> str:
        """T as tables show it: `50`, or `auto 5.3`, the mean over images and seeds."""
        spent = self.record.body.adaptive
        mean = text.mean(spent.mean_passes) if spent is not None else None
        return passes(self.record.subject) if mean is None else f"auto {mean:.1f}"

    @property
    def pass_ns(self) -> float | None:
        """Nanoseconds that a pass takes: the median timed query's, the mean one's where T is
        adaptive, over its passes."""
        spent, timing = self.record.body.adaptive, self.record.body.timing
        query = timing.percentiles_ns.get("p50") if spent is None else spent.mean_latency_ns
        return None if query is None else query / self.record.query_passes


@dataclass(frozen=True)
class Note:
    """Something to say about several cells at once.

    Attributes:
        kind: `fail`, `finding` or `unavailable`.
        text: what; numbers that differ between cells stand as their range.
        cells: how many cells it is about.
        where: which cells, in words.
    """

    kind: str
    text: str
    cells: int
    where: str

    @property
    def scope(self) -> str:
        """How many cells it is about, and which."""
        if self.where == ALL:
            return ALL
        return f"{text.plural(self.cells, 'cell')}: {self.where}"


@dataclass(frozen=True)
class Section:
    """The records of one subject on one machine.

    Attributes:
        title: workload, split and corruption in words.
        slug: the same, fit for a file name.
        machine: machine, threads and software in words.
        rows: one a record, by T, batch, format and variant.
        variants: letter to what sets it apart, where formats come in several variants.
        notes: failed audits, findings and what could not be measured, each once.
    """

    title: str
    slug: str
    machine: str
    rows: tuple[RecordRow, ...]
    variants: dict[str, str]
    notes: tuple[Note, ...]

    @property
    def records(self) -> list[RunRecord]:
        """The section's records, in order of its rows."""
        return [row.record for row in self.rows]


def sections(records: Iterable[RunRecord]) -> list[Section]:
    """Group records into tables: one a subject and machine, in order of first appearance.

    A machine is its whole identity with the cores and quota that were there for the taking, see
    `Fingerprint.place`.
    """
    groups: dict[tuple[object, ...], list[RunRecord]] = {}
    for record in records:
        subject = tuple(getattr(record.subject, field) for field in SUBJECT)
        groups.setdefault((*subject, record.fingerprint.place), []).append(record)
    built = [_section(group) for group in groups.values()]
    return _distinct(built)


def deterministic(format: str) -> bool:
    """Whether a format samples nothing."""
    return format in FORMATS.names() and not FORMATS.get(format).bayesian


def format_order(name: str) -> int:
    """Rank of a format: as registered, unknown ones last."""
    names = FORMATS.names()
    return names.index(name) if name in names else len(names)


def unique(rows: Sequence[RecordRow], key: Callable[[RecordRow], object]) -> list[RecordRow]:
    """The first row of each key, in order."""
    found: dict[object, RecordRow] = {}
    for row in rows:
        found.setdefault(key(row), row)
    return list(found.values())


def fixed(section: Section) -> list[RecordRow]:
    """Rows whose images all have T passes."""
    return [row for row in section.rows if not row.record.subject.adaptive]


def largest_mc(rows: Sequence[RecordRow]) -> list[RecordRow]:
    """Of every label, the row with the most passes at the smallest batch; adaptive T last."""
    best: dict[str, RecordRow] = {}
    for row in sorted(
        rows,
        key=lambda r: (-r.record.subject.mc, r.record.subject.adaptive, r.record.subject.batch),
    ):
        best.setdefault(row.label, row)
    return [best[label] for label in dict.fromkeys(row.label for row in rows)]


def _section(records: list[RunRecord]) -> Section:
    labels, variants = label([record.subject.format for record in records], _identities(records))
    order = sorted(
        range(len(records)),
        key=lambda i: (
            records[i].subject.mc,
            records[i].subject.stopping != FIXED,
            records[i].subject.batch,
            format_order(records[i].subject.format),
            records[i].subject.format,
            labels[i],
        ),
    )
    baselines = _baselines(records)
    rows = tuple(
        RecordRow(records[i], labels[i], _speedup(records[i], baselines[_setting(records[i])]))
        for i in order
    )
    first = records[0]
    return Section(
        _title(first), _slug(first), _machine(records), rows, variants, tuple(_notes(rows))
    )


def _distinct(built: list[Section]) -> list[Section]:
    """Give sections that would share a file name a number each."""
    seen: Counter[str] = Counter()
    out = []
    for section in built:
        seen[section.slug] += 1
        count = seen[section.slug]
        out.append(section if count == 1 else replace(section, slug=f"{section.slug}-{count}"))
    return out


def _title(record: RunRecord) -> str:
    cell = record.subject
    images, units = record.body.quality.images, record.body.quality.units
    counted = text.plural(images, "image") + text.independent(images, units)
    scored = f"{cell.split} split, {counted}"
    shift = "" if cell.corruption == "none" else f", {cell.corruption} severity {cell.severity}"
    return f"{cell.workload}: {scored}{shift}"


def _slug(record: RunRecord) -> str:
    cell = record.subject
    parts = [cell.workload, cell.split]
    if cell.corruption != "none":
        parts += [cell.corruption, str(cell.severity)]
    if cell.limit:
        parts.append(f"first{cell.limit}")
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in "-".join(parts))


def _machine(records: Sequence[RunRecord]) -> str:
    first = records[0].fingerprint
    threads = sorted({r.subject.threads for r in records})
    isas = sorted({r.body.dispatched_isa for r in records})
    software = []
    names = dict.fromkeys(name for r in records for name in r.fingerprint.packages)
    for name in ("sigmabench", "torch", *(name for name in names if "onednn" in name.lower())):
        versions = sorted({r.fingerprint.packages.get(name, text.MISSING) for r in records})
        software += [f"{name} {' or '.join(versions)}"] if versions != [text.MISSING] else []
    commits = sorted({r.fingerprint.commit or "no commit" for r in records})
    return "; ".join(
        [
            first.shown,
            f"threads {', '.join(map(str, threads))}",
            f"ran {', '.join(isas)}",
            ", ".join([*software, " or ".join(map(_short, commits))]),
        ]
    )


def _short(commit: str) -> str:
    head, plus, difference = commit.partition("+")
    return head[:12] + plus + difference


def _identity(record: RunRecord) -> dict[str, object]:
    """Everything that sets records of one format, T and batch apart."""
    told = {name: getattr(record.subject, name) for name in _APART}
    made = record.fingerprint
    return {**told, "code": made.computing or made.commit or made.code}


def _identities(records: Sequence[RunRecord]) -> list[dict[str, object]]:
    """Of each record; how it stops belongs to them only where adaptive cells differ in it."""
    ways = {record.subject.stopping for record in records if record.subject.adaptive}
    told = [{"stopping": r.subject.stopping} if len(ways) > 1 else {} for r in records]
    return [{**_identity(r), **way} for r, way in zip(records, told, strict=True)]


def variant_lines(variants: Mapping[str, str]) -> list[str]:
    """What the letters of `label` mean, one line each."""
    return [f"{letter}: {meaning}" for letter, meaning in variants.items()]


def _setting(record: RunRecord) -> tuple[object, ...]:
    """What a record and what it is divided by have in common."""
    c = record.subject
    return c.mc, c.stopping, c.batch, c.threads, c.instances, c.scenario


def _baselines(
    records: Sequence[RunRecord],
) -> dict[tuple[object, ...], dict[str, list[RunRecord]]]:
    """The FP32 records of each setting that are valid in speed, by their race."""
    found: dict[tuple[object, ...], dict[str, list[RunRecord]]] = defaultdict(dict)
    for record in records:
        if record.subject.format == "FP32" and record.verdict.of(SPEED) != INVALID:
            found[_setting(record)].setdefault(record.body.timing.race, []).append(record)
    return found


def _speedup(record: RunRecord, baselines: Mapping[str, Sequence[RunRecord]]) -> float | None:
    known = [
        typical
        for r in baselines.get(record.body.timing.race, ())
        if r is record or r.raced(record)
        for typical in text.known([_typical_ns(r)])
    ]
    own = _typical_ns(record)
    return min(known) / own if known and own else None


def _typical_ns(record: RunRecord) -> float | None:
    """Median latency of T passes; the mean where T is adaptive, because the median misses the long
    queries."""
    if record.body.adaptive is not None:
        return record.body.adaptive.mean_latency_ns
    median = record.body.timing.percentiles_ns.get("p50")
    return None if median is None else median * record.of_all_passes


def _notes(rows: Sequence[RecordRow]) -> list[Note]:
    said: dict[str, list[tuple[str, RecordRow]]] = {"fail": [], "finding": [], "unavailable": []}
    for row in rows:
        verdict = row.record.verdict
        for name, outcome in verdict.audits.items():
            if outcome.startswith("fail"):
                reason = outcome.removeprefix("fail").lstrip(": ")
                said["fail"].append((f"{name}: {reason}" if reason else name, row))
        said["finding"] += [(finding, row) for finding in verdict.findings]
        if told := superseded(row.record.subject.data, row.record.fingerprint.machine):
            said["finding"].append((told, row))
        lacking = {**row.record.body.unavailable, **unreadable(row.record.provenance.conditions)}
        said["unavailable"] += [(f"{k}: {v}", row) for k, v in lacking.items()]
    said["finding"] = _over_layers(said["finding"])
    return [
        Note(kind, merged, len(cells), _where(cells, rows))
        for kind, pairs in said.items()
        for merged, which in text.merge([t for t, _ in pairs])
        for cells in [unique([pairs[i][1] for i in which], lambda r: (r.label, r.record.subject))]
    ]


def _over_layers(findings: Sequence[tuple[str, RecordRow]]) -> list[tuple[str, RecordRow]]:
    """What is said of many layers without the layer: a network of fifty has no fifty lines."""
    layers: dict[str, set[str]] = {}
    said = []
    for finding, row in findings:
        layer, _, rest = finding.partition(": ")
        measured = layer in _layers(row.record)
        said.append((finding, row, text.pattern(rest) if measured else None))
        if measured:
            layers.setdefault(text.pattern(rest), set()).add(layer)
    every = len({name for _, row in findings for name in _layers(row.record)})
    return [
        (finding, row)
        if pattern is None or len(layers[pattern]) <= LAYERS_APART
        else (f"{len(layers[pattern])} of {every} layers: {finding.partition(': ')[2]}", row)
        for finding, row, pattern in said
    ]


def _layers(record: RunRecord) -> set[str]:
    """Names that findings on layers begin with."""
    return {one.layer for one in record.body.fidelity} | set(record.body.saturation)


def _where(cells: Sequence[RecordRow], rows: Sequence[RecordRow]) -> str:
    """Which cells, in words: the whole, a product of labels, T and batch, or the first few."""
    if len(cells) == len(rows):
        return ALL
    labels = list(dict.fromkeys(row.label for row in cells))
    counts = sorted({(row.record.subject.mc, row.record.subject.stopping) for row in cells})
    batches = sorted({row.record.subject.batch for row in cells})
    of_labels = [row for row in rows if row.label in labels]
    if len(of_labels) == len(cells):
        return ", ".join(labels)
    if len(labels) * len(counts) * len(batches) == len(cells):
        join = ", ".join
        shown = dict.fromkeys(passes(row.record.subject) for row in cells)
        return f"{join(labels)}; T {join(shown)}; batch {join(map(str, batches))}"
    return text.first([place(row.label, row.record.subject) for row in cells])


def place(label: str, cell: Cell) -> str:
    """A cell in words."""
    return f"{label} T {passes(cell)} batch {cell.batch}"


def passes(cell: Cell) -> str:
    """A cell's T in words."""
    return "auto" if cell.adaptive else str(cell.mc)
