"""From what a user chooses to a plan: names as registered, defaults where nothing was said."""

from __future__ import annotations

from typing import Any

from ..core.errors import unknown
from ..core.formats import DEFAULT_FORMATS, FORMATS
from ..core.stopping import AUTO
from ..machine.cores import cores_for
from ..quantize.observers import OBSERVERS
from ..quantize.options import Options
from .cell import MEAN
from .plan import Plan
from .workload import Workload

TWIN = "twin"


def plan_from(workload: Workload, **choices: Any) -> Plan:
    """A plan from command-line options, the defaults where they are None. With `measuring` False
    there may be more threads than cores here.

    Raises:
        UserError: a choice is none.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    calibrate = given.pop("calibrate", "mean")
    if calibrate not in ("mean", "sampled"):
        raise unknown("calibration", calibrate, ("mean", "sampled"))
    deterministic = given.pop("deterministic", TWIN)
    if deterministic not in (TWIN, MEAN):
        raise unknown("deterministic network", deterministic, (TWIN, MEAN))
    OBSERVERS.get(given.get("observer", "minmax"))
    options = Options(
        given.pop("range_", "headroom"),
        given.pop("granularity", "channel"),
        given.pop("sigma_offset", "float"),
        given.pop("sigma_grid", "affine"),
        given.pop("rounding", "nearest"),
    )
    formats = tuple(format_name(name) for name in given.pop("formats", DEFAULT_FORMATS))
    threads = cores_for(given.pop("threads", None), given.pop("measuring", True))
    counts = given.pop("mc", (1, 10, 50))
    return Plan(
        workload,
        formats=formats,
        mc=tuple(count for count in counts if count != AUTO),
        adaptive=AUTO in counts,
        batches=given.pop("batch", (1, 32)),
        threads=threads,
        mean=deterministic == MEAN,
        options=options,
        sampled=calibrate == "sampled",
        **given,
    )


def format_name(name: str) -> str:
    """A format's name as registered, however the user capitalised it."""
    return next((known for known in FORMATS if known.casefold() == name.casefold()), name)
