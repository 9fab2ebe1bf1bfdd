"""From a template and the records to a page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from sigmabench.harness.core import words
from sigmabench.harness.core.errors import UserError, first_line
from sigmabench.harness.measure.audits import NOISE_BOUND
from sigmabench.harness.metrics.metric import METRICS
from sigmabench.harness.stats.latency import Ratio
from sigmabench.harness.studies.selective.referral import Choices
from sigmabench.harness.workload.workload import resolve_workload
from sigmabench.workloads.resnet50_imagenet import DELTA

from ..published import RESULTS
from . import methods, races, runs, studies, tables
from .aims import AIMS, PAPER_SPEEDUP
from .chosen import Origin
from .folders import folders
from .lines import wrapped
from .runs import Difference
from .tables import Row

TEMPLATE = "README.md.jinja"
_POSTERIORS = RESULTS.parent / "workloads" / "posteriors"


def pages() -> dict[str, Path]:
    """Name of every page that has a template, and where it belongs; `.` is that of all results."""
    found = sorted(RESULTS.rglob(TEMPLATE))
    return {p.parent.relative_to(RESULTS).as_posix(): p.with_name("README.md") for p in found}


def rendered(name: str) -> str:
    """The page of that name.

    Raises:
        UserError: the template says what is not true of the records, or asks for what they do not
            hold.
    """
    try:
        return wrapped(environment().get_template(f"{name}/{TEMPLATE}").render(page=name))
    except (AssertionError, LookupError, TypeError, ValueError) as reason:
        raise UserError(
            f"The page {name} asks for what its records do not hold: "
            f"{type(reason).__name__}: {first_line(reason)}; mend its template, or measure again."
        ) from reason


@lru_cache
def environment() -> Environment:
    """Functions and filters of the templates."""
    made = Environment(
        loader=FileSystemLoader(RESULTS),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "runs": runs.runs,
        "folders": folders,
        "shift": lru_cache(studies.shift),
        "sources": lru_cache(studies.sources),
        "ablation": studies.ablation,
        "methods": lru_cache(methods.methods),
        "weights": studies.weights,
        "races": races.races,
        "peers": races.peers,
        "peer": races.peer,
        "memory": races.memory,
        "sampler": races.sampler,
        "report_table": tables.report_table,
        "markdown_table": tables.markdown_table,
        "workload": resolve_workload,
        "posterior": posterior,
        "bound": 100 * Choices().bound,
        "aims": AIMS,
        "delta": DELTA,
        "paper_speedup": PAPER_SPEEDUP,
        "noise_limit": NOISE_BOUND,
        "margin": margin,
        "claim": claim,
        "made": made_by,
        "abs": abs,
        "all": all,
        "max": max,
        "min": min,
        "zip": zip,
    }
    made.filters |= {
        "mean": words.mean,
        "fixed": words.fixed,
        "signed": words.signed,
        "significant": words.significant,
        "times": words.times,
        "percent": words.percent,
        "up": up,
        "down": down,
        "count": count,
        "interval": interval,
        "listed": listed,
        "span": span,
        "signed_span": signed_span,
        "numbers": tables.numbers,
        "percent_up": percent_up,
        "farthest": farthest,
        "highest": highest,
        "lowest": lowest,
        "plus_minus": plus_minus,
        "most": most,
        "peer": races.peer,
        "unanimous": unanimous,
    }
    return made


def posterior(name: str) -> dict[str, Any]:
    """What a shipped posterior's file says of its training: `epochs`, `recipe`, scores on
    `validation` data. Its weights are not looked at."""
    with safetensors.safe_open(_POSTERIORS / f"{name}.safetensors", framework="np") as file:
        _, told = file.metadata()["sigmabench-posterior"].split("\n", 1)
    found: dict[str, Any] = json.loads(told)
    return found


@pass_context
def claim(context: Context, true: bool, caller: Callable[[], str]) -> str:
    """A statement that stands on the page only as long as it is true: `{% call claim(…) %}`.

    Raises:
        UserError: it is not.
    """
    statement = caller()
    if not true:
        raise UserError(
            f"results/{context['page']}/{TEMPLATE} says what is no longer true of the records: "
            f"{' '.join(statement.split())!r}; say what they show."
        )
    return statement + "\n" if statement.endswith(".") else statement  # `trim_blocks` takes one off


def made_by(*origins: Origin) -> str:
    """Machine, day and commit of records, of several the same once."""
    said = [f"{one.machine}; {one.day}; commit {one.commit}" for one in origins]
    return ", and ".join(dict.fromkeys(said))


def up(value: float, decimals: int) -> str:
    """The least number with so many decimals that the magnitude does not exceed."""
    scale = 10**decimals
    return words.fixed(math.ceil(abs(value) * scale - 1e-9) / scale, decimals)


def down(value: float, decimals: int) -> str:
    """The largest number with so many decimals that does not exceed the magnitude."""
    scale = 10**decimals
    return words.fixed(math.floor(abs(value) * scale + 1e-9) / scale, decimals)


def span(values: Sequence[float], decimals: int) -> str:
    """`0.51 to 0.77`, the least and the largest; one of them where both are written alike."""
    ends = dict.fromkeys(words.fixed(one, decimals) for one in (min(values), max(values)))
    return " to ".join(ends)


def signed_span(values: Sequence[float], decimals: int) -> str:
    """`span` of differences."""
    ends = dict.fromkeys(words.signed(one, decimals) for one in (min(values), max(values)))
    return " to ".join(ends)


def count(number: float) -> str:
    """A whole number, thousands apart."""
    return f"{round(number):,}"


def percent_up(share: float) -> str:
    """The least whole percentage that a share does not exceed."""
    return up(100 * share, 0)


def farthest(rows: Sequence[Row]) -> float:
    """The largest effect of tests, in magnitude."""
    return max(abs(row["effect"]) for row in rows)


def highest(rows: Sequence[Row]) -> float:
    """The largest effect of tests."""
    return max(float(row["effect"]) for row in rows)


def lowest(rows: Sequence[Row]) -> float:
    """The smallest effect of tests."""
    return min(float(row["effect"]) for row in rows)


def plus_minus(difference: Difference, decimals: int) -> str:
    """A difference and half of its interval."""
    value, half = difference.value, difference.half
    return f"{words.signed(value, decimals)} ± {words.fixed(half, decimals)}"


def most(items: Sequence[Any], name: str) -> float:
    """The largest of an attribute."""
    return max(float(getattr(one, name)) for one in items)


def unanimous(rows: Sequence[Row], column: str, value: Any) -> bool:
    """Whether all rows have that value, and there are some."""
    return {row[column] for row in rows} == {value}


def margin(metric: str) -> float | None:
    """Up to which a difference of a metric is too small to matter."""
    return METRICS.get(metric).margin


def interval(ratio: Ratio, decimals: int | None = None) -> str:
    """A ratio with its 95 % interval; two significant digits unless decimals are given."""
    ends = (ratio.value, ratio.low, ratio.high)
    if decimals is None:
        value, low, high = (words.apart(one, 1.0, 2) for one in ends)
    else:
        value, low, high = (words.beyond(one, 1.0, decimals) for one in ends)
    return f"{value} ({low}–{high})"


def listed(items: Iterable[Any], last: str = "and") -> str:
    """`1, 2 and 3`."""
    every: Sequence[str] = [str(one) for one in items]
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} {last} {every[-1]}"
