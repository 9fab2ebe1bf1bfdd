"""One self-contained HTML page of records: no script, and nothing loaded from elsewhere."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..core import words as text
from ..core.escape import visible
from ..core.figure import Figure
from ..core.sheet import Sheet
from ..core.whole import write_atomically
from ..machine.fingerprint import IN_PART, Fingerprint, Machine
from ..records.run_record import RunRecord
from ..records.verdict import KINDS, QUALITY, SPEED
from . import sheets, verdicts
from .draw import inline_svg
from .figures import figures
from .rows import RecordRow, Section, sections

#: Which figures follow which sheet.
_FIGURES = {
    "Quality": ("reliability", "mc", "confidence", "risk-coverage"),
    "Speed": ("latency",),
    "Size on disk": ("size",),
}


@dataclass(frozen=True)
class PagePart:
    """A sheet and the figures under it; `anchor` is unique on the page."""

    anchor: str
    sheet: Sheet
    figures: tuple[tuple[str, Markup], ...]


def page(
    records: Iterable[RunRecord],
    reference: Mapping[str, Mapping[str, float]] | None = None,
    link: Callable[[RunRecord], str | None] = lambda record: None,
) -> str:
    """The page, as HTML.

    Args:
        records: what to show.
        reference: published figures by format, as in `quality_sheets.paper`.
        link: address of a record's JSON file, relative to the page; None for no link.
    """
    shown = sections(records)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    names = list(dict.fromkeys(s.records[0].subject.workload for s in shown))
    whole = environment.get_template("page.html.jinja").render(
        title=" · ".join(["SigmaBench", *names]),
        sections=shown,
        parts={s.slug: _parts(s, reference) for s in shown},
        sentence=_sentence,
        machine=_machine,
        audits=_audits,
        commands=_commands,
        created=_created,
        link=link,
        missing=text.MISSING,
    )
    return visible(whole)


def write_page(
    records: Iterable[RunRecord],
    path: Path,
    reference: Mapping[str, Mapping[str, float]] | None = None,
    link: Callable[[RunRecord], str | None] = lambda record: None,
) -> None:
    """Write `page` to a file, whole or not at all."""
    write_atomically(path, page(records, reference, link).encode())


def _parts(section: Section, reference: Mapping[str, Mapping[str, float]] | None) -> list[PagePart]:
    drawn = {figure.name: figure for figure in figures(section)}
    return [
        PagePart(
            f"{section.slug}-{place}",
            sheet,
            tuple(
                (drawn[name].title, _svg(section, drawn[name]))
                for name in _FIGURES.get(sheet.title, ())
                if name in drawn
            ),
        )
        for place, sheet in enumerate(sheets.document(section, reference))
    ]


def _svg(section: Section, figure: Figure) -> Markup:
    title, name = f"{figure.title}, {section.title}", f"{section.slug}-{figure.name}"
    return Markup(inline_svg(figure, name, html.escape(title), html.escape(figure.description)))


def _sentence(section: Section) -> str:
    """What the records say, in two sentences: the fastest valid format against FP32, and trust."""
    trust = verdicts.trust(section.records)
    told = {QUALITY, SPEED}
    valid = [row for row in section.rows if not told & set(row.record.verdict.invalid)]
    fixed = [row for row in valid if not row.record.subject.adaptive]
    top = max((row.record.subject.mc for row in fixed), default=0)
    at_top = [row for row in fixed if row.record.subject.mc == top]
    batch = min((row.record.subject.batch for row in at_top), default=0)
    same = [row for row in at_top if row.record.subject.batch == batch]
    base = next((row for row in same if row.record.subject.format == "FP32"), None)
    others = [row for row in same if row.speedup and row.record.subject.format != "FP32"]
    if base is None or not others:
        return trust
    best = max(others, key=lambda row: row.speedup or 0.0)
    return (
        f"With T = {top} passes at batch {batch}, {best.label} runs {text.times(best.speedup)} as "
        f"fast as FP32, whose file is {text.times(best.record.body.size.ratio_file)} as large, "
        f"with {_score(best, 'accuracy', 2)} % accuracy (FP32: {_score(base, 'accuracy', 2)} %) "
        f"and NLL {_score(best, 'nll', 4)} (FP32: {_score(base, 'nll', 4)}). {trust}"
    )


def _score(row: RecordRow, name: str, decimals: int) -> str:
    return text.spread(row.record.body.quality.scores.get(name), decimals)


def _machine(section: Section) -> list[tuple[str, str]]:
    """Facts of the machine and software, and the instruction sets that ran."""
    made = [record.fingerprint for record in section.records]
    ran = "; ".join(dict.fromkeys(r.body.dispatched_isa for r in section.records))
    facts = machine_facts(made)
    place = [name for name, _ in facts].index("Memory")
    return [*facts[:place], ("Dispatched", ran or text.MISSING), *facts[place:]]


def machine_facts(made: Sequence[Fingerprint]) -> list[tuple[str, str]]:
    """Facts of a machine and the software on it, each with all the values that there are."""
    facts: list[tuple[str, Sequence[str]]] = [
        ("Processor", [p.shown for p in made]),
        ("Machine", [_identity(p.machine) for p in made]),
        ("Cores", [str(p.cores) for p in made]),
        ("CPU quota", [_quota(p.cpu_quota) for p in made]),
        ("NUMA nodes", [str(p.numa_nodes) for p in made]),
        ("Instruction sets", [", ".join(p.isa) for p in made]),
        ("Memory", [f"{p.memory_bytes / 2**30:.1f} GiB" for p in made]),
        ("Frequency governor", [p.governor or "not reported" for p in made]),
        ("System", [p.kernel for p in made]),
        ("Python", [p.python for p in made]),
        ("Packages", [", ".join(f"{k} {v}" for k, v in p.packages.items()) for p in made]),
        ("Code", [p.code for p in made]),
        ("Commit", [p.commit or text.MISSING for p in made]),
        ("Environment", [" ".join(f"{k}={v}" for k, v in p.environment.items()) for p in made]),
    ]
    return [(name, "; ".join(dict.fromkeys(v)) or text.MISSING) for name, v in facts]


def _identity(machine: Machine | None) -> str:
    """Vendor, numbers, cores, caches and hypervisor."""
    if machine is None:
        return IN_PART
    told = [
        machine.vendor,
        f"family {machine.family}, model {machine.model}, stepping {machine.stepping}",
        f"{text.plural(machine.cores, 'core')}, {text.plural(machine.threads, 'thread')}",
        *(f"{name} {size}" for name, size in machine.caches.items()),
        f"hypervisor {machine.hypervisor}" if machine.hypervisor else "no hypervisor",
    ]
    return ", ".join(told)


def _quota(cores: float | None) -> str:
    return text.MISSING if cores is None else text.plural(cores, "core")


def _audits(section: Section) -> list[tuple[str, str, int, int, int]]:
    """Each audit by name, what it is about, and in how many cells it passed, did not apply and
    failed."""
    outcomes: dict[str, Counter[str]] = {}
    about: dict[str, set[str]] = {}
    for record in section.records:
        for kind in KINDS:
            for name in getattr(record.verdict, kind).audits:
                about.setdefault(name, set()).add(kind)
        for name, outcome in record.verdict.audits.items():
            word = next((w for w in ("pass", "fail") if outcome.startswith(w)), "other")
            outcomes.setdefault(name, Counter())[word] += 1
    kinds = {name: ", ".join(k for k in KINDS if k in found) for name, found in about.items()}
    return [(name, kinds[name], c["pass"], c["other"], c["fail"]) for name, c in outcomes.items()]


def _commands(section: Section) -> list[tuple[str, int]]:
    """Each command line, and how many of the records it made."""
    return list(Counter(record.provenance.command for record in section.records).items())


def _created(section: Section) -> str:
    """From when to when, to the minute."""
    times = sorted(record.created[:16].replace("T", " ") for record in section.records)
    return " to ".join(dict.fromkeys((times[0], times[-1]))) + " UTC"
