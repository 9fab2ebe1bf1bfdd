"""The studies, by name."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import UserError
from ..core.registry import Registry
from .study import Study

_HERE = "sigmabench.harness.studies.known"


def _of(name: str, title: str, summary: str, group: str = "", folder: str = "") -> Study:
    return Study(name, f"sigmabench.harness.studies.{folder or name}", summary, group, title)


RUN = _of(
    "run",
    "Quality, speed and size",
    "Quantize WORKLOAD to every format, score and time it, and print one table.",
)
SHIFT = _of(
    "shift",
    "Dataset shift",
    "Score WORKLOAD under dataset shift: every format on corrupted images.",
)
SELECTIVE = _of(
    "selective",
    "Selective prediction",
    "Refer the images that WORKLOAD is least sure of, and judge the rest.",
)
METHODS = _of(
    "methods",
    "Whether T passes pay",
    "Compare T passes with other ways to state uncertainty on WORKLOAD.",
)
SAMPLES = _of(
    "samples",
    "How many MC samples are enough",
    "Find how many MC samples WORKLOAD needs, on validation images.",
    folder="enough",
)
PEERS = _of(
    "peers",
    "Beside other implementations",
    "Compare WORKLOAD with other implementations, on the same images.",
)
SCALING = _of(
    "scaling",
    "How throughput scales",
    "Measure how WORKLOAD scales with threads and with instances.",
)
TUNE = _of(
    "tune",
    "Settings for a goal",
    "Find the instances, cores, team and batch that serve a goal best here.",
)
PROFILE = _of(
    "profile",
    "Where the time of a pass goes",
    "Show where the time of a pass goes, layer by layer.",
)
ROOFLINE = _of(
    "roofline",
    "What bounds a pass",
    "Show what bounds a pass: arithmetic, memory, the sampler, overhead.",
)
SCENARIOS = _of(
    "scenarios",
    "Under load",
    "Put WORKLOAD under load, as MLPerf's LoadGen sends queries.",
)
SLO = _of(
    "slo",
    "An SLO on uncertainty",
    "Find the rate at which WORKLOAD answers in time and well enough.",
)
PASSES = _of(
    "passes",
    "One pass, raced",
    "Race one pass of NETWORK in our formats and in other implementations.",
    "bench",
)
SAMPLER = _of(
    "sampler",
    "Speed of the sampler",
    "Draw weights with σ in 1 to 8 bits, against a plain copy.",
    "bench",
)
MEMORY = _of(
    "memory",
    "Memory of a program",
    "Measure the memory that a program takes, against the least it needs.",
    "bench",
)
ABLATION = _of(
    "ablation",
    "Choices of quantization, one at a time",
    "Change one choice of quantization at a time: sizes and scores.",
)
WEIGHTS = _of(
    "weights",
    "Range and noise of sampled weights",
    "Show range and noise of WORKLOAD's sampled weights, by layer.",
)

STUDIES: Registry[Study] = Registry(
    "study",
    {
        "run": f"{_HERE}:RUN",
        "shift": f"{_HERE}:SHIFT",
        "selective": f"{_HERE}:SELECTIVE",
        "methods": f"{_HERE}:METHODS",
        "samples": f"{_HERE}:SAMPLES",
        "peers": f"{_HERE}:PEERS",
        "scaling": f"{_HERE}:SCALING",
        "tune": f"{_HERE}:TUNE",
        "profile": f"{_HERE}:PROFILE",
        "roofline": f"{_HERE}:ROOFLINE",
        "scenarios": f"{_HERE}:SCENARIOS",
        "slo": f"{_HERE}:SLO",
        "passes": f"{_HERE}:PASSES",
        "sampler": f"{_HERE}:SAMPLER",
        "memory": f"{_HERE}:MEMORY",
        "ablation": f"{_HERE}:ABLATION",
        "weights": f"{_HERE}:WEIGHTS",
    },
    lambda thing: isinstance(thing, Study),
    plural="studies",
)


def loadable(problem: Callable[[UserError], object] = lambda _: None) -> dict[str, Study]:
    """The studies whose modules can be loaded; of the others, `problem` is told why not."""
    found = {}
    for name, study in STUDIES.usable().items():
        try:
            study.part("plan")
        except UserError as reason:
            problem(reason)
            continue
        found[name] = study
    return found
