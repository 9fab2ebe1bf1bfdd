"""From command-line options to the ablation and to the ranges of sampled weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backends.base import BACKENDS
from ..commands import plan_from
from ..errors import UserError
from ..files import json_text, write_atomically
from ..formats import FORMATS
from ..machine import fingerprint
from ..prepare import Prepared, load_networks, prepare
from ..quantize.options import Options
from ..report import ablation as ablation_report
from ..report import weights as weights_report
from ..report.sheet import RichSheet, markdown
from ..store import digest
from .ablation import TYPES, Report, ablation, ablation_images
from .similarity import verdicts
from .weights import weight_ranges

if TYPE_CHECKING:
    from ..plan import Plan
    from ..prepare import Networks
    from ..workload import Workload

WEIGHT_FORMATS = ("FP32", "INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")


@dataclass(frozen=True)
class Findings:
    """What a command found.

    Attributes:
        values: all of it, for JSON, with command, machine and code.
        shown: for a person.
        markdown: the tables; empty where there is no file of them.
        draw: writes figures into a directory, under a name.
    """

    values: dict[str, Any]
    shown: tuple[Any, ...]
    markdown: str = ""
    draw: Callable[[Path, str], list[Path]] = lambda out, name: []

    def write(self, out: Path, name: str) -> list[Path]:
        """`<name>.json`, tables and figures in a directory.

        Raises:
            UserError: it cannot be written.
        """
        files = {".json": json_text(self.values)}
        if self.markdown:
            files[".md"] = self.markdown
        for suffix, text in files.items():
            write_atomically(out / f"{name}{suffix}", text.encode())
        return [*(out / f"{name}{suffix}" for suffix in files), *self.draw(out, name)]


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
    facts = _facts(plan, networks, command, types=types, severity=severity)
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
    values = {
        **facts,
        **ablation_report.to_dict(found),
    }
    shown = (ablation_report.table(found),)
    return Findings(values, shown, ablation_report.markdown(found))


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
    facts = _facts(plan, networks, command, ranges=tuple(ranges), passes=passes, draws=seed)
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
        **facts,
        "passes": passes,
        "seed": seed,
        "layers": [one.to_dict() for one in found],
        "verdicts": [one.to_dict() for one in verdicts(found)],
    }

    def draw(out: Path, name: str) -> list[Path]:
        return weights_report.weight_figures(found, out, name)

    sheets = weights_report.weight_sheets(found)
    shown = (part for sheet in sheets for part in (RichSheet(sheet), " ".join(sheet.notes), ""))
    return Findings(values, tuple(shown), "\n".join(map(markdown, sheets)), draw)


def _facts(plan: Plan, networks: Networks, command: str, **choices: Any) -> dict[str, Any]:
    """Of a run; of two with the same `key` one is the other again, on one machine and code."""
    cells = sorted(cell.key for cell in plan.cells(networks))
    return {
        "command": command,
        "key": digest([cells, choices]),
        "workload": plan.workload.name,
        "workload_version": plan.workload.version,
        "posterior": networks.posterior_hash[:16],
        "fingerprint": asdict(fingerprint()),
    }
