"""Small sites of made-up records, for tests that read them and tests that open them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import factory
import pytest
from records_made import changed

from sigmabench.harness.core.document import Document
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.sheet import Column, Sheet
from sigmabench.harness.machine.fingerprint import Fingerprint
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.site.build import write_site

CLAIM, HOLDS = "Eight bits keep accuracy", "holds"


@dataclass(frozen=True)
class MadeClaim:
    """As the papers' claims are."""

    title: str = CLAIM
    source: str = "A paper, table 1"


@dataclass(frozen=True)
class MadeFinding:
    """As what records say of one is."""

    claim: MadeClaim
    workload: str
    outcome: str
    record: tuple[str, str] | None = None
    about: str = ""
    sentence: str = "INT8 loses 0.01 points."
    margin: str = "0.25 points"
    test: str = "two one-sided tests"
    machine: str = "a machine"
    day: str = "2030-01-02"


def on(stepping: str, **changes: Any) -> Fingerprint:
    """A made-up machine with an identity."""
    made = replace(factory.machine(L2="2048K"), stepping=stepping)
    return factory.fingerprint(machine=made, computing="c0dec0dec0dec0de", **changes)


def grid(workload: str, machine: Fingerprint | None = None, **changes: Any) -> list[RunRecord]:
    """A race of three formats."""
    return factory.grid(
        ("FP32", "INT8", "DNN_INT8"),
        mcs=(1, 50),
        batches=(1,),
        workload=workload,
        machine=machine or on("1"),
        **changes,
    )


def records() -> list[RunRecord]:
    """Of two workloads; of the first on two machines, and of one of these with two commits."""
    first, other = grid("lenet-digits"), grid("lenet-digits", on("2"))
    again = grid("lenet-digits", on("1", commit="f" * 40, packages={"torch": "9.9"}))
    later = [changed(one, created="2030-02-02T03:04:05Z") for one in again]
    return [*first, *other, *later, *grid("synthetic")]


def stored(results: Path, made: Iterable[RunRecord]) -> Path:
    """A results directory that holds them."""
    store = Store(results, RUN_RECORDS)
    for one in made:
        store.save(one)
    return results


def without_papers(monkeypatch: pytest.MonkeyPatch, made: Iterable[RunRecord] = ()) -> None:
    """What other rooms say of a store is told by these tests."""
    claim = MadeClaim()
    found = [
        MadeFinding(claim, one.subject.workload, HOLDS, ("run", one.subject.key)) for one in made
    ]
    found.append(MadeFinding(claim, "elsewhere", "cannot be shown"))
    columns = (Column("commit", numeric=False), Column("seconds"))
    sheet = Sheet("Seconds of a pass", columns, (("abc", "1.0"), ("def", "2.0")), {})
    history = Document("history", (), {}, title="Seconds over commits", sheets=(sheet,))
    pages = "sigmabench.harness.site.pages"
    monkeypatch.setattr(f"{pages}._findings", lambda results: (found, ""))
    monkeypatch.setattr(f"{pages}._histories", lambda results: ([history], ""))


def site(results: Path, out: Path, problems: list[str] | None = None) -> Path:
    """The folder of a site of a results directory."""
    told = [] if problems is None else problems

    def tell(reason: UserError) -> None:
        told.append(str(reason))

    return write_site(results, out, tell, lambda *_: None).parent
