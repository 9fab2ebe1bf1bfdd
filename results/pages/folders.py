"""What there is of records, folder by folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sigmabench.harness.studies.known import STUDIES

from ..published import RESULTS, Published, published
from .chosen import Origin


@dataclass(frozen=True)
class Folder:
    """Records of one study and workload from one machine.

    Attributes:
        name: below the results.
        study: that made them, as its command is called.
        records: how many.
        origin: where and when.
    """

    name: str
    study: str
    records: int
    origin: Origin

    @property
    def page(self) -> str:
        """Its name, a link where a page lies in it."""
        there = (RESULTS / self.name / "README.md.jinja").is_file()
        return f"[{self.name}]({self.name}/README.md)" if there else self.name

    @property
    def command(self) -> str:
        """That made the first of them, and how many others there are."""
        first, *others = self.origin.commands
        return f"`{first}`" + (f" and {len(others)} more" if others else "")


def folders() -> Iterator[Folder]:
    """Every folder of records, by name; of several machines, the first first."""
    groups: dict[tuple[str, str, object], list[Published]] = {}
    for one in sorted(published(), key=lambda one: (one.folder, one.record.created)):
        key = one.folder, one.kind, one.record.fingerprint.place
        groups.setdefault(key, []).append(one)
    for (name, kind, _), found in groups.items():
        yield Folder(name, _study(name, kind), len(found), Origin([one.record for one in found]))


def _study(folder: str, kind: str) -> str:
    """Several studies may keep one kind of record, each in a folder that is called as it is."""
    known = {name: one for name, one in STUDIES.usable().items() if one.plan.KIND.name == kind}
    first = folder.partition("/")[0]
    study = known.get(first) or next(iter(known.values()))
    return f"{study.group} {study.name}".strip()
