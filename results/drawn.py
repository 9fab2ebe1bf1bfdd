"""Tables and figures of results/report, made of the records that the pages are made of.

    python -m results.drawn

from the top of a checkout. `.gitignore` names what of it is not committed. Nothing is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from sigmabench.harness.cli.study_commands import documents
from sigmabench.harness.report.draw import save
from sigmabench.harness.report.figures import figures
from sigmabench.harness.report.rendering import write
from sigmabench.harness.report.rows import sections
from sigmabench.harness.studies.known import STUDIES

from .pages import methods, runs, studies
from .published import RESULTS

#: By study, the workloads that are shown.
SHOWN = {
    "run": ("lenet5-mnist", "resnet20-cifar10", "resnet50-imagenet", "histology-colorectal"),
    "shift": ("resnet20-cifar10", "resnet50-imagenet"),
    "ablation": ("resnet20-cifar10",),
    "weights": ("resnet20-cifar10",),
    "selective": ("histology-colorectal",),
    "methods": ("lenet-digits",),
}


def records(study: str, workload: str) -> list[Any]:
    """Those that a page of the workload is made of."""
    if study == "run":
        made = (runs.runs(workload, split=one) for one in runs.SPLITS.get(workload, ("test",)))
        return list(chain.from_iterable(one.records for one in made))
    if study == "methods":
        return list(methods.of(workload))
    return list(getattr(studies, study)(workload).records)


def drawn(study: str, workload: str, out: Path) -> Iterator[Path | str]:
    """Write what `sigmabench report --out` would of these records, but for the page of runs."""
    found = records(study, workload)
    if study == "run":
        for section in sections(found):
            yield from save(figures(section), out, section.slug)
    else:
        for document in documents(STUDIES.get(study), found, None, {}):
            yield from write(document, study, out)


def main() -> None:
    """Everything."""
    for study, workloads in SHOWN.items():
        for workload in workloads:
            for path in drawn(study, workload, RESULTS / "report" / workload):
                print(path)


if __name__ == "__main__":
    main()
