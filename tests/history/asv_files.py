"""asv's results folders, made up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ["result", "params", "version", "started_at", "duration"]
DAY = 86_400_000
BENCHMARKS = {
    "ratios.Sampler.track_sampler_ratio": {"unit": "×", "param_names": ["bits"]},
    "passes.Pass.time_passes": {
        "unit": "seconds",
        "type": "time",
        "param_names": ["network", "format"],
    },
    "quality.Scores.track_nll": {"unit": "nats", "param_names": ["format"]},
    "quality.Scores.track_accuracy": {"unit": "%", "param_names": ["format"]},
}


def benchmarks(folder: Path, **more: Mapping[str, Any]) -> None:
    """What asv says of the benchmarks."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        name: {"name": name, "type": "track", "version": "1", "code": "", **one}
        for name, one in {**BENCHMARKS, **more}.items()
    }
    (folder / "benchmarks.json").write_text(json.dumps({**told, "version": 2}))


def machine(folder: Path, name: str, cpu: str = "A processor") -> None:
    """A machine."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    facts = {"machine": name, "cpu": cpu, "num_cpu": "2", "ram": "1", "os": "Linux", "arch": "x"}
    (folder / name / "machine.json").write_text(json.dumps({**facts, "version": 1}))


def result(
    folder: Path,
    name: str,
    number: int,
    values: Mapping[str, tuple[Sequence[Sequence[str]], Sequence[Any]]],
    version: str = "1",
    layout: int = 2,
    python: str = "3.11",
) -> Path:
    """One commit on one machine.

    Args:
        folder: of the results.
        name: of the machine.
        number: of the commit, which is its date and its hash.
        values: by benchmark, the values of each parameter, as Python writes them, and the results
            of their product.
        version: of the benchmarks.
        layout: of the file.
        python: version.
    """
    commit = f"{number:08x}" + "0" * 32
    rows = {
        one: [list(of), [list(p) for p in params], version, 0, 1.0]
        for one, (params, of) in values.items()
    }
    path = folder / name / f"{commit[:8]}-env{python}.json"
    told = {
        "commit_hash": commit,
        "env_name": "env",
        "date": number * DAY,
        "params": {"machine": name},
        "python": python,
        "requirements": {"torch": "2.14.1", "numpy": ""},
        "env_vars": {},
        "result_columns": COLUMNS,
        "results": rows,
        "durations": {},
        "version": layout,
    }
    path.write_text(json.dumps(told))
    return path


def sampler(values: Sequence[Any]) -> dict[str, tuple[list[list[str]], list[Any]]]:
    """Results of the sampler's ratio at 8, 4, ... bits."""
    bits = ["8", "4", "2", "1"][: len(values)]
    return {"ratios.Sampler.track_sampler_ratio": ([bits], list(values))}
