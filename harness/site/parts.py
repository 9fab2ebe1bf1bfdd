"""What a page shows of studies: each document as titles, sentences, tables, charts and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..core.document import Document
from ..core.errors import UserError
from ..core.escape import visible
from ..core.sheet import Sheet
from ..core.waiting import Report
from ..studies.documents import documents, everything
from ..studies.study import Study
from .charts import PageCharts, PlacedChart, SiteFiles, placed
from .stored import RecordGroup, StoredRecord, groups


@dataclass(frozen=True, eq=False)
class ShownDocument:
    """A document on a page.

    Attributes:
        title: of it; empty where its study's heading says it all.
        lines: what a reader should know.
        conclusions: computed sentences.
        sheets: tables.
        charts: that could be drawn.
        missing: a sentence for each that could not.
        files: of numbers, by what they hold.
    """

    title: str
    lines: tuple[str, ...]
    conclusions: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    charts: tuple[PlacedChart, ...]
    missing: tuple[str, ...]
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class ShownGroup:
    """What the records of one machine, or of one commit on it, say.

    Attributes:
        group: the records.
        documents: of them.
        reason: why there is none; empty where there is one.
    """

    group: RecordGroup
    documents: tuple[ShownDocument, ...]
    reason: str = ""


@dataclass(frozen=True, eq=False)
class ShownStudy:
    """A study on a page.

    Attributes:
        anchor: unique on the page.
        heading: of it.
        about: what it does, one line, where its heading does not say it.
        groups: with documents, the youngest machine first.
        reasons: why groups have none.
        records: how many it is made of.
    """

    anchor: str
    heading: str
    about: str
    groups: tuple[ShownGroup, ...]
    reasons: tuple[str, ...]
    records: int


def shown_study(
    study: Study,
    home: str,
    slug: str,
    records: Sequence[StoredRecord],
    charts: PageCharts,
    files: SiteFiles,
    report: Report,
) -> ShownStudy:
    """All that a study says of the records of one home.

    Args:
        study: that says it.
        home: of the records.
        slug: its name in files and anchors.
        records: of the study's kind.
        charts: of the page.
        files: of the site.
        report: progress.
    """
    made = []
    for place, group in enumerate(groups(records)):
        name = "-".join([slug, study.name, *([str(place + 1)] if place else [])])
        made.append(_shown_group(study, group, name, charts, files, report))
    about = "" if study.title else study.summary
    reasons = dict.fromkeys(one.reason for one in made if one.reason)
    return ShownStudy(
        f"{study.name}-{slug}",
        study.heading,
        visible(about),
        tuple(one for one in made if one.documents),
        tuple(reasons),
        len(records),
    )


def shown_document(
    document: Document, name: str, charts: PageCharts, files: SiteFiles
) -> ShownDocument:
    """A document for a page.

    Args:
        document: what is shown.
        name: how its files are called.
        charts: of the page.
        files: of the site.
    """
    try:
        found = list(placed(charts, iter(document.figures()), name))
    except UserError as reason:  # such as arrays that are damaged
        found = [str(reason)]
    written = [
        (part, files.numbers(f"{name}-{part}", [dict(row) for row in rows]))
        for part, rows in document.data.items()
        if rows
    ]
    return ShownDocument(
        visible(" ".join(document.title.split())),
        tuple(map(visible, document.lines)),
        tuple(map(visible, document.conclusions)),
        tuple(sheet for sheet in document.sheets if sheet.rows),
        tuple(one for one in found if isinstance(one, PlacedChart)),
        tuple(one for one in found if isinstance(one, str)),
        tuple(written),
    )


def _shown_group(
    study: Study,
    group: RecordGroup,
    name: str,
    charts: PageCharts,
    files: SiteFiles,
    report: Report,
) -> ShownGroup:
    def shown() -> Iterator[ShownDocument]:
        asked = everything(study)
        for number, one in enumerate(documents(study, group.records, None, asked, report), 1):
            yield shown_document(one, f"{name}-{number}" if number > 1 else name, charts, files)

    try:
        return ShownGroup(group, tuple(shown()))
    except UserError as reason:
        return ShownGroup(group, (), f"{visible(group.label)}: {reason}")
