"""asv's results folder: a file for each commit on each machine, as series of one benchmark each.

    <folder>/benchmarks.json
    <folder>/<machine>/machine.json
    <folder>/<machine>/<commit>-<environment>.json

Series of other machines, environments, parameters or versions of a benchmark are never joined.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.errors import UserError, first_line
from ..core.whole import inside, open_regular

Better = Literal["lower", "higher"]
#: Told of what cannot be read; the rest is.
Problem = Callable[[UserError], None]
Model = TypeVar("Model", bound=BaseModel)

_BENCHMARKS, _MACHINE = "benchmarks.json", "machine.json"
_LAYOUT = 2  # of the files of results
_LARGEST = 64 << 20  # bytes of a file
_MOST = 1e100
#: Words in a name of which more is better; of all else less is, as asv takes it.
_HIGHER = ("accuracy", "auroc", "throughput", "per_second", "kept")


@dataclass(frozen=True)
class AsvMachine:
    """A machine as asv was told of it.

    Attributes:
        name: of its folder.
        shown: in words.
    """

    name: str
    shown: str


@dataclass(frozen=True)
class SeriesPoint:
    """A benchmark at one commit.

    Attributes:
        commit: its hash.
        date: of the commit, milliseconds since 1970.
        value: in the unit of the series.
    """

    commit: str
    date: int
    value: float


@dataclass(frozen=True)
class TrackedSeries:
    """A benchmark with one set of parameters, on one machine and in one environment.

    Attributes:
        machine: where.
        environment: Python and what was installed beside it.
        benchmark: name, as asv has it.
        parameters: their values by name.
        unit: of the values.
        better: which values are.
        exact: the value is counted or computed from seeds, and not measured.
        points: in the order of the commits' dates.
    """

    machine: AsvMachine
    environment: str
    benchmark: str
    parameters: tuple[tuple[str, str], ...]
    unit: str
    better: Better
    exact: bool
    points: tuple[SeriesPoint, ...]

    @property
    def name(self) -> str:
        """With the parameters, as asv writes it."""
        values = ", ".join(value for _, value in self.parameters)
        return f"{self.benchmark}({values})" if values else self.benchmark


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _AsvBenchmark(_Lenient):
    """What `benchmarks.json` says of a benchmark."""

    name: str
    type: str = "track"
    unit: str = ""
    version: str = ""
    param_names: list[str] = []
    better: Better | None = None


class _MachineFile(_Lenient):
    machine: str
    cpu: str = ""
    num_cpu: str = ""


class _ResultFile(_Lenient):
    version: int
    commit_hash: str = Field(pattern="^[0-9a-f]{7,64}$")
    date: int
    python: str = ""
    requirements: dict[str, str] = {}
    env_vars: dict[str, str] = {}
    params: dict[str, Any] = {}
    result_columns: list[str]
    results: dict[str, list[Any]]


def series(folder: Path, problem: Problem) -> list[TrackedSeries]:
    """Every series of a folder, by machine, environment, benchmark and parameters.

    Args:
        folder: `results_dir` of asv.
        problem: told of each file that cannot be read.
    """
    known = _benchmarks(folder, problem)
    found: dict[tuple[Any, ...], dict[str, dict[str, SeriesPoint]]] = {}
    for home in inside(folder):
        files = [path for path in _json_files(home) if path.name != _MACHINE]
        machine = _machine(home, problem) if files else None
        for path in files:
            made = _read(path, _ResultFile, problem)
            if made is None or machine is None:
                continue
            if made.version != _LAYOUT:
                problem(_of_another_layout(path, made.version))
                continue
            if made.params.get("machine", home.name) != home.name:
                problem(_of_another_machine(path, made.params["machine"]))
                continue
            for (name, version, chosen), value in _values(made, known):
                key = machine, _environment(made), name, chosen
                point = SeriesPoint(made.commit_hash, made.date, value)
                found.setdefault(key, {}).setdefault(version, {})[point.commit] = point
    return [
        _series(key, _latest(versions), known)
        for key, versions in sorted(found.items(), key=_order)
    ]


def _latest(versions: Mapping[str, dict[str, SeriesPoint]]) -> dict[str, SeriesPoint]:
    """Points of the version of a benchmark that measured last; others measured something else."""
    return max(versions.values(), key=lambda points: max(one.date for one in points.values()))


def _order(item: tuple[tuple[Any, ...], Any]) -> tuple[Any, ...]:
    machine, environment, name, values = item[0]
    return machine.name, environment, name, values


def _series(
    key: tuple[Any, ...], points: Mapping[str, SeriesPoint], known: Mapping[str, _AsvBenchmark]
) -> TrackedSeries:
    machine, environment, name, values = key
    told = known.get(name, _AsvBenchmark(name=name))
    numbered = (f"parameter {place}" for place in itertools.count(1))
    names = itertools.chain(told.param_names, itertools.islice(numbered, len(values)))
    return TrackedSeries(
        machine=machine,
        environment=environment,
        benchmark=name,
        parameters=tuple(zip(names, values, strict=False)),
        unit=told.unit,
        better=told.better or direction(name),
        exact=told.type == "track" and not name.endswith("_ratio"),
        points=tuple(sorted(points.values(), key=lambda one: (one.date, one.commit))),
    )


def direction(name: str) -> Better:
    """Which values of a benchmark are better, by its name."""
    last = name.rpartition(".")[2].lower()
    return "higher" if any(word in last for word in _HIGHER) else "lower"


def _values(
    made: _ResultFile, known: Mapping[str, _AsvBenchmark]
) -> Iterator[tuple[tuple[str, str, tuple[str, ...]], float]]:
    """Benchmark, its version and parameters, and the value; what was skipped, failed or is not of
    the version that `benchmarks.json` has, where it knows the benchmark, has none."""
    for name, row in made.results.items():
        cells = dict(zip(made.result_columns, row, strict=False))
        now, then = known.get(name), cells.get("version")
        if now is not None and then is not None and then != now.version:
            continue
        parameters, values = cells.get("params") or [], cells.get("result")
        if not isinstance(values, list) or not _are_lists_of_text(parameters):
            continue
        for chosen, value in zip(itertools.product(*parameters), values, strict=False):
            if _is_number(value):
                yield (name, str(then), tuple(map(_unquoted, chosen))), float(value)


def _are_lists_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, list) and all(isinstance(text, str) for text in one) for one in value
    )


def _unquoted(parameter: str) -> str:
    """A parameter as a person writes it: asv keeps what Python would."""
    quoted = len(parameter) > 1 and parameter[0] == parameter[-1] and parameter[0] in "'\""
    return parameter[1:-1] if quoted else parameter


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= _MOST


def _environment(made: _ResultFile) -> str:
    """In words: Python, and the packages whose version was chosen."""
    chosen = [f"{name} {version}" for name, version in sorted(made.requirements.items()) if version]
    variables = [f"{name}={value}" for name, value in sorted(made.env_vars.items())]
    return ", ".join([f"Python {made.python}".strip(), *chosen, *variables])


def _benchmarks(folder: Path, problem: Problem) -> dict[str, _AsvBenchmark]:
    path = folder / _BENCHMARKS
    if not path.is_file():
        return {}
    found = {}
    try:
        told = _json(path)
        if not isinstance(told, dict):
            raise ValueError("it is not an object")
        for name, one in told.items():
            if isinstance(one, dict):  # beside them stands the version of the file
                found[name] = _AsvBenchmark.model_validate({**one, "name": name})
    except (OSError, ValueError) as reason:
        problem(_damaged(path, reason))
    return found


def _machine(home: Path, problem: Problem) -> AsvMachine:
    told = _read(home / _MACHINE, _MachineFile, problem)
    if told is None:
        return AsvMachine(home.name, home.name)
    cores = f"{told.num_cpu} core{'' if told.num_cpu == '1' else 's'}" if told.num_cpu else ""
    facts = ", ".join(filter(None, (told.cpu, cores)))
    called = home.name.replace("machine-", "machine ", 1)
    return AsvMachine(home.name, f"{facts} ({called})" if facts else called)


def _json_files(home: Path) -> list[Path]:
    return [path for path in inside(home) if path.suffix == ".json"] if home.is_dir() else []


def _read(path: Path, model: type[Model], problem: Problem) -> Model | None:
    try:
        return model.model_validate(_json(path))
    except (OSError, ValueError) as reason:
        problem(_damaged(path, reason))
    return None


def _json(path: Path) -> Any:
    """asv writes NaN for what was skipped, which JSON proper has not."""
    with open_regular(path) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
    try:
        return json.loads(data)
    except RecursionError as reason:
        raise ValueError("it is nested too deep") from reason


def _damaged(path: Path, reason: Exception) -> UserError:
    if isinstance(reason, ValidationError):
        at = ".".join(map(str, reason.errors()[0]["loc"]))
        told = f"{at}: {reason.errors()[0]['msg']}" if at else reason.errors()[0]["msg"]
    else:
        told = first_line(reason)
    return UserError(
        f"{path} is not a file of asv's results ({told}); delete it, and let asv measure "
        "its commit again."
    )


def _of_another_layout(path: Path, version: int) -> UserError:
    return UserError(
        f"{path} has layout {version} of asv's results, and {_LAYOUT} is read here; run "
        "`asv update`, or upgrade SigmaBench."
    )


def _of_another_machine(path: Path, machine: object) -> UserError:
    return UserError(
        f"{path} was measured on {machine}, and series of two machines are not joined; move it to "
        "that machine's folder."
    )
