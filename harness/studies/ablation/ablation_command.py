"""From command-line options to the ablation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.waiting import Report
from ...quantize.options import Options
from ...workload.choices import plan_from
from ...workload.prepare import Prepared, load_networks, prepare
from ..findings import Findings, facts
from . import document as ablation_report
from .measure import TYPES, ablation, ablation_images

if TYPE_CHECKING:
    from ...workload.workload import Workload


def run_ablation(
    workload: Workload,
    command: str,
    *,
    split: str = "validation",
    types: Sequence[str] | None = None,
    severity: int = 5,
    mc: int = 20,
    limit: int = 1000,
    seed: int = 0,
    seeds: int = 1,
    threads: int | None = None,
    data: Path | None = None,
    posterior: Path | None = None,
    report: Report | None = None,
) -> Findings:
    """`sigmabench ablation`.

    Raises:
        UserError: a choice is none, or data or posterior cannot be read.
    """
    types = tuple(TYPES if types is None else types)
    plan = plan_from(
        workload, split=split, mc=(mc,), batch=(1,), limit=limit, seed=seed, seeds=seeds,
        threads=threads, data=data, posterior=posterior,
    )  # fmt: skip
    networks = load_networks(plan)
    about = facts(plan, networks, command, types=types, severity=severity)
    base = prepare(plan, networks)
    images = ablation_images(
        base.splits.scored(split),
        types,
        severity,
        clean=limit,
        corrupted=max(1, limit // 2),
        root=data,
        official=workload.official_corruptions,
    )

    def prepared(options: Options, observer: str, sampled: bool) -> Prepared:
        chosen = replace(plan, options=options, observer=observer, sampled=sampled)
        if (observer, sampled) == (plan.observer, plan.sampled):
            return replace(base, plan=chosen)  # the ranges are those of the base
        return prepare(chosen, networks)

    found = ablation(
        prepared,
        images,
        mc=mc,
        seeds=range(seed, seed + seeds),
        threads=plan.threads,
        report=report,
    )
    values = {**about, **ablation_report.to_dict(found)}
    return Findings(values, (ablation_report.table(found),), ablation_report.markdown(found))
