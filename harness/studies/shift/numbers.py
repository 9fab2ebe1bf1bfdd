"""The numbers of a shift study's tables: plain rows, for sheets, CSV and JSON alike."""

from __future__ import annotations

from statistics import median
from typing import Any

from ...core import words as text
from ...metrics.metric import shown_metrics
from ...stats.shifted import OOD, Results, detected

DETECTORS = ("entropy", "mutual_information")


def scored() -> list[str]:
    """Metrics of the clean images."""
    return [metric.name for metric in shown_metrics()] + ["mutual_information"]


def boxed() -> list[str]:
    """Of the box plots (figures 3 and 4 of the 2021 paper)."""
    return [metric.name for metric in shown_metrics("accuracy", "ece", "nll", "uce", "brier")]


def over_seeds(
    found: Results,
    variant: str,
    metric: str,
    corruption: str = "none",
    severity: int = 0,
    mc: int | None = None,
) -> list[float | None]:
    """A score at T = `mc`, the largest by default, one value per seed."""
    records = found.at(variant, corruption, severity)
    return [r.score(metric, mc) for r in records if mc is None or mc in r.body.mc]


def over_types(
    found: Results, variant: str, metric: str, severity: int, mc: int | None = None
) -> list[float]:
    """A score at T = `mc`, mean over seeds, one value per corruption type that has it."""
    types = found.types(variant, severity)
    return text.known(text.mean(over_seeds(found, variant, metric, t, severity, mc)) for t in types)


def prefixes(found: Results) -> list[int]:
    """All T that something was scored at, ascending."""
    return sorted({T for records in found.records.values() for r in records for T in r.body.mc})


def clean(found: Results) -> list[dict[str, Any]]:
    """Scores on the clean images: mean, standard deviation and number of seeds."""
    return [
        {"variant": variant, "seeds": len(found.at(variant)), "metric": metric}
        | {"mean": text.mean(values), "std": text.deviation(values)}
        for variant in found.formats
        if found.at(variant)
        for metric in (*scored(), "ece_floor")
        for values in [over_seeds(found, variant, metric)]
    ]


def boxes(found: Results) -> list[dict[str, Any]]:
    """Of each severity, variant and metric: median, least and largest over corruption types."""
    return [
        {"severity": severity, "variant": variant, "metric": metric, "types": len(values)}
        | {"median": median(values), "min": min(values), "max": max(values)}
        for severity in found.severities
        for variant in found.formats
        for metric in boxed()
        for values in [over_types(found, variant, metric, severity)]
        if values
    ]


def passes(found: Results) -> list[dict[str, Any]]:
    """Accuracy and NLL at every T and severity, mean over corruption types."""
    return [
        {"severity": severity, "variant": variant, "metric": metric, "mc": T}
        | {"mean": text.mean(values)}
        for metric in ("accuracy", "nll")
        for severity in found.severities
        for variant in found.formats
        for T in prefixes(found)
        for values in [over_types(found, variant, metric, severity, T)]
        if values
    ]


def outside(found: Results) -> list[dict[str, Any]]:
    """Detection of images from outside: of each set, variant, detector and seed."""
    return [
        {"ood": name, "variant": variant, "by": by, "seed": inside.subject.seed}
        | {"auroc": got.auroc, "aupr": got.aupr, "prevalence": got.prevalence}
        for name in found.ood
        for variant in found.formats
        for by in DETECTORS
        for inside in found.at(variant)
        for got in [detected(inside, found.at(variant, f"{OOD}{name}"), by)]
        if got is not None
    ]


def each(found: Results) -> list[dict[str, Any]]:
    """Every score of every record: one row per variant, condition, seed and T."""
    return [
        {"variant": variant, "corruption": corruption, "severity": severity}
        | {"seed": record.subject.seed, "images": record.body.images, "mc": T}
        | {metric: values[place] for metric, values in record.body.scores.items()}
        for (variant, (corruption, severity)), records in found.records.items()
        for record in records
        if record.body.scores
        for place, T in enumerate(record.body.mc)
    ]
