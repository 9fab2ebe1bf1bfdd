"""The pages of a site, each with the name of its file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..core.errors import UserError
from ..core.escape import visible
from ..core.sheet import Sheet
from ..core.waiting import Report
from ..core.words import plural
from ..records.envelope import Record
from ..report.frontier import frontier, frontier_figure, frontier_lines, frontier_sheet
from ..report.page import machine_facts
from ..report.rows import sections
from ..report.vega import THEMED
from ..studies.documents import by_machine
from ..workload.workload import WORKLOADS
from .charts import PageCharts, PlacedChart, SiteFiles, safe_name
from .parts import ShownStudy, shown_document, shown_study
from .record_page import brief, record_page
from .stored import Stored, StoredRecord, groups, told_of
from .submitted_page import shown_bundles

#: Pages that every page links to, by what they are called.
NAVIGATION = {
    "index.html": "Overview",
    "peers.html": "Peers",
    "machines.html": "Machines",
    "history.html": "History",
    "records.html": "Records",
    "submitted.html": "Submitted",
}
#: Of a machine; the rest of `machine_facts` is of the software on it.
_HARDWARE = (
    "Processor", "Machine", "Cores", "CPU quota", "NUMA nodes", "Instruction sets", "Memory",
    "Frequency governor",
)  # fmt: skip
#: Markers around (13, 6), by Vega's names of them.
_OUTLINES = {
    "circle": "M9.5 6a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "square": "M9.8 2.8h6.4v6.4h-6.4z",
    "triangle-up": "M13 1.8L17 9.2H9z",
    "triangle-down": "M13 10.2L17 2.8H9z",
    "triangle-right": "M17 6L9.6 2V10z",
    "diamond": "M13 1.6L17 6L13 10.4L9 6z",
    "cross": "M11.7 2h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7H9v-2.6h2.7z",
}
#: Of a claim, and how the page marks them.
OUTCOMES = {"holds": "good", "contradicted": "bad", "cannot be shown": "open"}
_COMMANDS = 30  # of one software that are listed


@dataclass(frozen=True, eq=False)
class Glance:
    """A workload on the overview.

    Attributes:
        home: its name.
        title: what it is; empty where only its name is known.
        page: file of its page.
        summary: the main table; None where no run is stored.
        where: machine and days of the table.
        chart: NLL against time; None where no race has two valid cells.
        lines: what that race says.
        best: its cells that none beats.
        counts: records by study.
    """

    home: str
    title: str
    page: str
    summary: Sheet | None
    where: str
    chart: PlacedChart | None
    lines: tuple[str, ...]
    best: Sheet | None
    counts: tuple[tuple[str, int], ...]


class SitePages:
    """What makes pages of what is stored.

    Args:
        stored: all records.
        files: of the site, beside its pages.
        report: progress.
    """

    def __init__(self, stored: Stored, files: SiteFiles, report: Report) -> None:
        self.stored, self.files, self.report = stored, files, report
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._templates.filters |= {
            "ink": _ink, "outline": _outline, "plain": _plain, "words": _words,
        }  # fmt: skip
        self._templates.globals |= {
            "navigation": NAVIGATION,
            "homes": {home: self._home_page(home) for home in stored.homes},
            "plural": plural,
        }

    def each(self) -> Iterator[tuple[str, str]]:
        """Every page; the overview, which shows parts of others, after them."""
        glances = []
        homes = list(self.stored.homes)
        overview = PageCharts(self.files, "index")
        for done, home in enumerate(homes):
            self.report("Workloads", done, len(homes))
            page, shown = self._workload(home)
            glances.append(self._glance(home, shown, overview))
            yield self._home_page(home), page
        yield "peers.html", self._peers()
        yield "history.html", self._history()
        yield "machines.html", self._machines()
        yield "submitted.html", self._submitted()
        yield from self._record_lists()
        yield from self._records()
        yield "index.html", self._overview(glances, overview)

    def _workload(self, home: str) -> tuple[str, list[ShownStudy]]:
        slug = self.stored.slugs[home]
        charts = PageCharts(self.files, f"workload-{slug}")
        shown = [
            shown_study(study, home, slug, records, charts, self.files, self.report)
            for study, records in self.stored.studies(home, rivals=False)
        ]
        rivals = [study.heading for study, _ in self.stored.studies(home, rivals=True)]
        page = self._page(
            "workload.html.jinja", self._home_page(home), title=home, about=_title(home),
            slug=slug, studies=shown, rivals=rivals, script=charts.script, lists=self._lists(home),
        )  # fmt: skip
        return page, shown

    def _peers(self) -> str:
        charts = PageCharts(self.files, "peers")
        shown = [
            (home, slug, shown_study(study, home, slug, records, charts, self.files, self.report))
            for home, slug in self.stored.slugs.items()
            for study, records in self.stored.studies(home, rivals=True)
        ]
        return self._page(
            "peers.html.jinja", "peers.html", title="Peers", shown=shown, script=charts.script
        )

    def _history(self) -> str:
        charts = PageCharts(self.files, "history")
        found, reason = _histories(self.stored.results)
        shown = [
            shown_document(one, f"history-{place}", charts, self.files)
            for place, one in enumerate(found, 1)
        ]
        return self._page(
            "history.html.jinja", "history.html", title="History", shown=shown, reason=reason,
            script=charts.script,
        )  # fmt: skip

    def _submitted(self) -> str:
        charts = PageCharts(self.files, "submitted")
        bundles = shown_bundles(self.stored.results, charts, self.files)
        return self._page(
            "submitted.html.jinja", "submitted.html", title="Submitted by others",
            bundles=bundles, script=charts.script,
        )  # fmt: skip

    def _machines(self) -> str:
        records = [one.record for one in self.stored.records]
        machines = []
        for group in by_machine(records):
            hardware = [
                fact for fact in machine_facts([r.fingerprint for r in group])
                if fact[0] in _HARDWARE
            ]  # fmt: skip
            machines.append((group[0].fingerprint.shown, hardware, list(_software(group))))
        return self._page(
            "machines.html.jinja", "machines.html", title="Machines and provenance",
            machines=machines,
        )  # fmt: skip

    def _record_lists(self) -> Iterator[tuple[str, str]]:
        lists = []
        for home in self.stored.homes:
            for heading, name, records in self._lists(home):
                lists.append((home, heading, name, records))
                rows = [(one, ", ".join(brief(one.record.subject))) for one in records]
                title = f"Records of {home}: {heading}"
                yield name, self._page("list.html.jinja", name, title=title, rows=rows, home=home)
        yield "records.html", self._page(
            "records.html.jinja", "records.html", title="Records", lists=lists,
            problems=self.stored.problems, told=told_of(self.stored),
        )  # fmt: skip

    def _lists(self, home: str) -> list[tuple[str, str, list[StoredRecord]]]:
        """Of each kind of record of a home the heading, the file of the list, and the records."""
        return [
            (records[0].study.heading, self._list_page(kind, home), records)
            for kind, records in self.stored.homes[home].items()
        ]

    def _records(self) -> Iterator[tuple[str, str]]:
        count = len(self.stored.records)
        template = self._templates.get_template("record.html.jinja")
        for done, one in enumerate(self.stored.records):
            if not done % 100:
                self.report("Pages of records", done, count)
            home = one.record.subject.home
            listed = self._list_page(one.study.plan.KIND.name, home)
            made = template.render(
                page=record_page(one), name=one.page, root="../", script="", listed=listed,
                software=anchor_of(one.record), title=f"Record {one.record.subject.key}",
                workload=self._home_page(home),
            )  # fmt: skip
            yield one.page, visible(made)

    def _overview(self, glances: Sequence[Glance], charts: PageCharts) -> str:
        records = [one.record for one in self.stored.records]
        days = sorted(record.created[:10] for record in records)
        findings, reason = _findings(self.stored.results)
        return self._page(
            "index.html.jinja", "index.html", title="SigmaBench", glances=glances,
            claims=_by_claim(findings), reason=reason, page_of=self._deciding, script=charts.script,
            outcomes=Counter(one.outcome for one in findings), kinds=OUTCOMES,
            records=len(records), machines=len(by_machine(records)), days=(days[0], days[-1]),
            problems=self.stored.problems, told=told_of(self.stored),
            today=datetime.now(timezone.utc).date().isoformat(),
        )  # fmt: skip

    @cached_property
    def _keyed(self) -> dict[tuple[str, str], list[StoredRecord]]:
        """Records by kind and key."""
        found: dict[tuple[str, str], list[StoredRecord]] = {}
        for one in self.stored.records:
            found.setdefault((one.study.plan.KIND.name, one.record.subject.key), []).append(one)
        return found

    def _deciding(self, finding: Any) -> str:
        """File of the page of the record that decides what is found; empty without one. Of several
        machines and commits with records of its key that which it names, then the youngest."""
        mine = self._keyed.get(finding.record, ())

        def fits(one: StoredRecord) -> tuple[bool, bool, str]:
            shown = one.record.fingerprint.shown
            return shown in finding.machine.split("; "), one.latest, one.record.created

        return max(mine, key=fits).page if mine else ""

    def _glance(self, home: str, shown: Sequence[ShownStudy], charts: PageCharts) -> Glance:
        slug = self.stored.slugs[home]
        run = next((one for one in shown if one.anchor == f"run-{slug}" and one.groups), None)
        records = self.stored.homes[home].get("run")
        best = None
        if run is not None and records:
            found = [frontier(one) for one in sections(groups(records)[0].records)]  # type: ignore[arg-type]
            known = [one for one in found if one is not None]
            best = max(known, key=lambda one: len(one.methods), default=None)
        chart = None if best is None else charts.place(frontier_figure(best), f"frontier-{slug}")
        first = run.groups[0] if run is not None else None
        return Glance(
            home,
            _title(home),
            self._home_page(home),
            None if first is None else first.documents[0].sheets[0],
            "" if first is None else first.group.label,
            chart if isinstance(chart, PlacedChart) else None,
            () if best is None else tuple(frontier_lines(best)),
            None if best is None else frontier_sheet(best),
            tuple((heading, len(found)) for heading, _, found in self._lists(home)),
        )

    def _home_page(self, home: str) -> str:
        """File of the page of a workload or a network."""
        return f"workload-{self.stored.slugs[home]}.html"

    def _list_page(self, kind: str, home: str) -> str:
        """File of the list of its records of one kind."""
        return f"records-{safe_name(kind)}-{self.stored.slugs[home]}.html"

    def _page(self, template: str, name: str, **given: Any) -> str:
        given = {"script": "", "root": "", **given}
        return visible(self._templates.get_template(template).render(name=name, **given))


def pages(stored: Stored, files: SiteFiles, report: Report) -> Iterator[tuple[str, str]]:
    """Every page with the name of its file, below the site's folder.

    Args:
        stored: what it shows.
        files: takes what pages need beside them.
        report: progress.
    """
    return SitePages(stored, files, report).each()


def anchor_of(record: Record[Any, Any]) -> str:
    """Where the page of machines tells of the software that made a record."""
    return _anchor(repr(record.fingerprint))


@cache
def _anchor(told: str) -> str:
    return f"made-{hashlib.sha256(told.encode(errors='replace')).hexdigest()[:12]}"


def _software(records: Sequence[Record[Any, Any]]) -> Iterator[tuple[str, Any, int, str, Any, int]]:
    """Of each software and code its anchor, facts, records, days and commands, and how many more of
    these there are; the youngest first."""
    groups: dict[str, list[Record[Any, Any]]] = {}
    for one in records:
        groups.setdefault(anchor_of(one), []).append(one)
    for anchor, made in sorted(groups.items(), key=lambda item: _last(item[1]), reverse=True):
        facts = [f for f in machine_facts([made[0].fingerprint]) if f[0] not in _HARDWARE]
        days = sorted({one.created[:10] for one in made})
        commands = Counter(one.provenance.command for one in made).most_common()
        shown = commands[:_COMMANDS]
        when = " to ".join(dict.fromkeys((days[0], days[-1])))
        yield anchor, facts, len(made), when, shown, len(commands) - len(shown)


def _last(records: Sequence[Record[Any, Any]]) -> str:
    return max(one.created for one in records)


def _ink(colour: str) -> str:
    """A colour, or the page's own where it is that of text."""
    return "currentColor" if colour == THEMED["ink"] else colour


def _outline(shape: str) -> str:
    """A marker in the middle of an entry of a legend, as an SVG path."""
    return _OUTLINES[shape]


def _words(line: str) -> Markup:
    """A sentence in which what stands between backticks is code."""
    parts = [escape(part) for part in line.split("`")]
    if len(parts) % 2 == 0:  # one of them has no other
        return escape(line)
    marked = [Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts)]
    return Markup("").join(marked)


def _plain(title: str) -> str:
    """On one line, with nothing that steers."""
    return visible(" ".join(title.split()))


def _title(home: str) -> str:
    """What a workload is, where it is one that is known here."""
    return WORKLOADS.get(home).title if home in WORKLOADS else ""


def _by_claim(findings: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
    """The findings of each claim, in order of first appearance."""
    found: dict[Any, list[Any]] = {}
    for one in findings:
        found.setdefault(one.claim, []).append(one)
    return list(found.items())


def _findings(results: Path) -> tuple[list[Any], str]:
    """The papers' claims as judged by records, or why there are none."""
    from ..claims.claims import judge

    try:
        return list(judge(results, problem=lambda _: None)), ""  # told of where all is read
    except UserError as reason:
        return [], str(reason)


def _histories(results: Path) -> tuple[list[Any], str]:
    """What asv's results say of earlier commits, or why they say nothing."""
    from ..history.history import documents

    unread: list[UserError] = []
    try:
        found = list(documents(results / "asv", unread.append))
    except UserError as reason:
        return [], str(reason)
    return found, " ".join(map(str, unread))
