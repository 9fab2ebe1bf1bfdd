"""From command-line options to the ranges of sampled weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.sheet import RichSheet, markdown
from ...core.waiting import Report
from ...workload.choices import plan_from
from ...workload.prepare import load_networks, prepare
from ..findings import Findings, facts
from . import document as weights_report
from .analyse import verdicts
from .measure import weight_ranges

if TYPE_CHECKING:
    from ...workload.workload import Workload

WEIGHT_FORMATS = ("FP32", "INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")


def sampled_weights(
    workload: Workload,
    command: str,
    *,
    formats: Sequence[str] | None = None,
    ranges: Sequence[str] = ("headroom", "paper"),
    passes: int = 20,
    seed: int = 0,
    data: Path | None = None,
    posterior: Path | None = None,
    report: Report | None = None,
) -> Findings:
    """`sigmabench weights`.

    Raises:
        UserError: a choice is none, or data or posterior cannot be read.
    """
    plan = plan_from(
        workload, formats=tuple(formats or WEIGHT_FORMATS), mc=(1,), batch=(1,), threads=1,
        data=data, posterior=posterior,
    )  # fmt: skip
    if any(not FORMATS.get(name).bayesian for name in plan.formats):
        raise UserError("--formats has a deterministic twin, which samples nothing; leave it out.")
    networks = load_networks(plan)
    about = facts(plan, networks, command, ranges=tuple(ranges), passes=passes, draws=seed)
    if report:
        report("Calibrating and quantizing", 0, 1)
    prepared = prepare(plan, networks)
    artefacts = {}
    for place, name in enumerate(ranges):
        options = replace(plan.options, range=name)  # type: ignore[arg-type]
        for format in plan.formats:
            if FORMATS.get(format).quantized or place == 0:
                paper = FORMATS.get(format).quantized and name == "paper"
                label = f"{format} paper" if paper else format
                artefacts[label] = prepared.artefact(format, options)
    predictors = {
        label: BACKENDS.get(plan.backend_of(artefact.format)).load(artefact, threads=1)
        for label, artefact in artefacts.items()
    }
    found = weight_ranges(artefacts, predictors, passes, seed, report)
    values = {
        **about,
        "passes": passes,
        "seed": seed,
        "layers": [one.to_dict() for one in found],
        "verdicts": [one.to_dict() for one in verdicts(found)],
    }

    sheets = weights_report.weight_sheets(found)
    shown = (part for sheet in sheets for part in (RichSheet(sheet), " ".join(sheet.notes), ""))
    figures = tuple(weights_report.weight_figures(found))
    return Findings(values, tuple(shown), "\n".join(map(markdown, sheets)), figures)
