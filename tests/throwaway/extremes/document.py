"""One table."""

from __future__ import annotations

from collections.abc import Sequence

from sigmabench.harness.core.document import Document
from sigmabench.harness.core.sheet import Column, Sheet

from .plan import ExtremeRecord


def document(found: Sequence[ExtremeRecord], *, loud: bool = False) -> Document:
    title = "EXTREMES" if loud else "Extremes"
    rows = {one.subject.name: one.body.largest for one in found}
    cells = tuple((name, f"{value:.3f}") for name, value in rows.items())
    columns = (Column("parameter", numeric=False), Column("largest"))
    sheet = Sheet(title, columns, cells, {})
    table = [{"parameter": name, "largest": value} for name, value in rows.items()]
    return Document(
        found[0].subject.home,
        (sheet,),
        {"largest": rows},
        sheets=(sheet,),
        data={"extremes": table},
    )
