"""What others submitted, as a page shows it: checked, and mixed with no record of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..bundle.submitted import Submitted, community
from ..bundle.verify import VerifiedRecord
from ..core.errors import UserError
from ..core.escape import visible
from ..core.words import plural
from ..studies.documents import by_machine, documents
from ..studies.known import loadable
from .charts import PageCharts, SiteFiles
from .parts import ShownDocument, shown_document

#: Numbers that cannot be, of one bundle, that are named one by one.
_NAMED = 12


@dataclass(frozen=True, eq=False)
class ShownBundle:
    """A bundle on the page.

    Attributes:
        name: of its file.
        by: whose results they are, as they say.
        what: records and machines, as stated.
        division: `closed` or `open`; empty where it cannot be read.
        sound: nothing contradicts.
        faults: sentences.
        documents: what its records say, with the machine that they name.
    """

    name: str
    by: str
    what: str
    division: str
    sound: bool
    faults: tuple[str, ...]
    documents: tuple[tuple[str, ShownDocument], ...]


def shown_bundles(results: Path, charts: PageCharts, files: SiteFiles) -> list[ShownBundle]:
    """Every bundle of a results directory, by name.

    Args:
        results: the directory.
        charts: of the page.
        files: of the site.

    Raises:
        UserError: their folder cannot be listed.
    """
    return [_shown(one, charts, files) for one in community(results)]


def _shown(one: Submitted, charts: PageCharts, files: SiteFiles) -> ShownBundle:
    found = one.verified
    if found is None:
        return ShownBundle(visible(one.name), "", "", "", False, (visible(one.problem),), ())
    faults = [f"{record.name}, {fault.field}: {fault.told}" for record, fault in found.faults]
    more = [f"and {len(faults) - _NAMED} more"] if len(faults) > _NAMED else []
    machines = dict.fromkeys(record.record.fingerprint.shown for record in found.records)
    return ShownBundle(
        visible(one.name),
        visible(found.by),
        visible(f"{plural(len(found.records), 'record')} of {'; '.join(machines)}"),
        "closed" if found.closed else "open",
        found.sound,
        tuple(map(visible, [*found.problems, *faults[:_NAMED], *more])),
        tuple(_documents(one.name, found.records, charts, files)),
    )


def _documents(
    name: str, records: tuple[VerifiedRecord, ...], charts: PageCharts, files: SiteFiles
) -> Iterator[tuple[str, ShownDocument]]:
    """What each study that has such records says of those that are possible, a machine at a
    time."""
    seen = set()
    for study in loadable().values():
        kind = study.plan.KIND.name
        mine = [one.record for one in records if one.kind == kind and one.possible]
        if kind in seen or not mine:
            continue
        seen.add(kind)
        for place, group in enumerate(by_machine(mine)):
            where = visible(group[0].fingerprint.shown)
            with suppress(UserError):  # of records that lack others beside them nothing is said
                for number, each in enumerate(documents(study, group, None, {})):
                    called = f"submitted-{name}-{study.name}-{place}-{number}"
                    yield where, shown_document(each, called, charts, files)
