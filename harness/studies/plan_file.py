"""Plan files: grids of runs, one table `[[run]]` each, that `sigmabench run --plan FILE` measures.

    [[run]]
    workload = ["lenet-digits", "resnet20-cifar10"]
    format = ["FP32", "INT8"]
    T = [1, 10]

A table has a key for every flag of the studies that its scenarios belong to; those of the grid may
have several values, of which every combination is measured. What is not said is as the command has
it by default. A grid becomes jobs, each a study with the choices that its command would be given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError, unknown
from ..core.formats import FORMATS
from ..core.toml_file import TomlFile
from .known import STUDIES
from .study import Option, Study

if TYPE_CHECKING:
    from pydantic import BaseModel

#: The name of the tables.
TABLE = "run"
#: What a key of the grid is called, where that is not its flag's name.
_CALLED = {"formats": "format", "mc": "T", "scenarios": "scenario"}
#: Keys of which a table may have several values.
GRID = ("workload", "format", "T", "batch", "scenario", "threads", "backend")
CLOSED_LOOP = "closed-loop"
#: The studies that measure a scenario: the first one closed loops, the second all others.
_STUDIES = ("run", "scenarios")
#: Types of options that have several values.
_SEVERAL = ("names", "numbers", "counts")
_WORDS = {
    "text": "a text",
    "path": "a text",
    "whole": "a whole number",
    "number": "a number",
    "switch": "true or false",
    "names": "one text or several",
    "numbers": "one whole number or several",
    "counts": 'whole numbers, or "auto"',
}
#: What pydantic calls a key that there is not.
_UNKNOWN = "extra_forbidden"
_FLAG = re.compile(r"--([a-z][a-z-]*)")


@dataclass(frozen=True)
class PlanJob:
    """One call of a study.

    Attributes:
        study: that is asked.
        choices: that its plan is made of, by their names as arguments: those that are not as by
            default, and the workload.
        table: of the file, from 0.
    """

    study: Study
    choices: Mapping[str, Any]
    table: int


class PlanFile:
    """A file of plans.

    Args:
        path: of the file.

    Raises:
        UserError: it cannot be read, or a part of it is wrong; with the line.
    """

    def __init__(self, path: Path) -> None:
        self._toml = TomlFile(path)
        self._options = {name: _options(STUDIES.get(name)) for name in _STUDIES if name in STUDIES}
        self._validate()
        self._check_names()

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._toml.path

    @cached_property
    def jobs(self) -> list[PlanJob]:
        """What is to be called, in the order of the file.

        Raises:
            UserError: a key is not one of what a scenario takes; with the line.
        """
        return [job for place in range(len(self._tables)) for job in self._jobs(place)]

    def problem(self, job: PlanJob, reason: UserError) -> UserError:
        """Why a job cannot be, with the line of the first key whose flag or value the reason names,
        or of the table."""
        names = {f"--{flag}": _CALLED.get(flag, flag) for flag in _FLAG.findall(str(reason))}
        words = str(reason)
        for flag, key in names.items():
            words = re.sub(rf"{flag}(?![a-z-])", key, words)
        table = self._tables[job.table]
        quoted = [key for key, value in table.items() if repr(value) in words]
        key = next(([key] for key in (*names.values(), *quoted) if key in table), [])
        return self._toml.problem([TABLE, job.table, *key], words)

    @property
    def _tables(self) -> list[dict[str, Any]]:
        tables: list[dict[str, Any]] = self._toml.tree[TABLE]
        return tables

    @property
    def _keys(self) -> dict[str, Option]:
        """Every key that a table may have, with the flag that it stands for."""
        found = {name: Option(f"--{name}", "", "names") for name in ("workload", "scenario")}
        for options in self._options.values():
            found = {**options, **found}
        return found

    def _validate(self) -> None:
        from pydantic import ValidationError

        try:
            _schema(self._keys).model_validate(self._toml.tree)
        except ValidationError as invalid:
            found = invalid.errors(include_url=False)
            first = next((one for one in found if one["type"] == _UNKNOWN), found[0])
            raise self._problem(first["type"], list(first["loc"])) from None

    def _problem(self, kind: str, place: list[str | int]) -> UserError:
        """What pydantic found, in our words."""
        if kind == _UNKNOWN:
            known = [TABLE] if len(place) == 1 else list(self._keys)
            called = "table" if len(place) == 1 else f"key of [[{TABLE}]]"
            return self._toml.problem(place, str(unknown(called, str(place[-1]), known)))
        if len(place) < 3:
            words = f"a plan is made of tables [[{TABLE}]], each with a workload."
            return self._toml.problem(place, words)
        key = str(place[2])
        if kind == "missing":
            return self._toml.problem(place, f"[[{TABLE}]] names no {key}; give one.")
        value: Any = self._tables[int(place[1])][key]
        wanted = _WORDS[_type(key, self._keys[key])]
        return self._toml.problem(place, f"{key} is {value!r}; give {wanted}.")

    def _check_names(self) -> None:
        """Names that are registered, one by one."""
        from ..backends.base import BACKENDS
        from ..measure.scenarios import SCENARIOS
        from ..workload.choices import format_name
        from ..workload.workload import resolve_workload

        checks: dict[str, Callable[[str], object]] = {
            "workload": resolve_workload,
            "format": lambda name: FORMATS.get(format_name(name)),
            "scenario": SCENARIOS.get,
            "backend": lambda name: name == "auto" or BACKENDS.get(name),
        }
        for place, table in enumerate(self._tables):
            for key, check in checks.items():
                for index, name in enumerate(_several(table.get(key, ()))):
                    self._check(check, name, [TABLE, place, key, index])

    def _check(self, check: Callable[[str], object], name: str, place: list[str | int]) -> None:
        try:
            check(name)
        except UserError as reason:
            raise self._toml.problem(place, str(reason)) from None

    def _jobs(self, place: int) -> Iterator[PlanJob]:
        table = self._tables[place]
        scenarios = dict.fromkeys(_several(table.get("scenario", CLOSED_LOOP)))
        for number, name in enumerate(_STUDIES):
            mine = [one for one in scenarios if (one == CLOSED_LOOP) == (number == 0)]
            if mine:
                yield from self._of_study(place, name, {**table, "scenario": mine})

    def _of_study(self, place: int, name: str, table: Mapping[str, Any]) -> Iterator[PlanJob]:
        if name not in self._options:
            words = f"no study here measures the scenario {table['scenario'][0]}; leave it out."
            raise self._toml.problem([TABLE, place, "scenario"], words)
        options = self._options[name]
        for key in table:
            if key not in options and key not in ("workload", "scenario"):
                words = (
                    f"{key} says nothing under {', '.join(table['scenario'])}; leave it out, or "
                    "give scenarios a table each."
                )
                raise self._toml.problem([TABLE, place, key], words)
        given = {key: value for key, value in table.items() if key in options}
        one_by_one = [key for key in GRID if key in given and options[key].type not in _SEVERAL]
        values = (_several(given[key]) for key in one_by_one)
        for workload, *each in product(_several(table["workload"]), *values):
            chosen = {**given, **dict(zip(one_by_one, each, strict=True))}
            choices = {options[key].called: _choice(options[key], v) for key, v in chosen.items()}
            study = STUDIES.get(name)
            yield PlanJob(study, {study.plan.ARGUMENT: workload, **choices}, place)


def _options(study: Study) -> dict[str, Option]:
    """Flags of a study by the keys that stand for them."""
    found = {}
    for one in study.plan.OPTIONS:
        name = one.flag.lstrip("-")
        found[_CALLED.get(name, name)] = one
    return found


def _type(key: str, option: Option) -> str:
    """That a table has: of the grid, several where the flag has one."""
    several = {"text": "names", "whole": "numbers"}
    return several.get(option.type, option.type) if key in GRID else option.type


def _schema(keys: Mapping[str, Option]) -> type[BaseModel]:
    """Of a file."""
    from pydantic import ConfigDict, Field, create_model

    types = _types()
    fields: dict[str, Any] = {
        f"key_{key.replace('-', '_')}": (
            types[_type(key, option)],
            Field(alias=key) if key == "workload" else Field(default=None, alias=key),
        )
        for key, option in keys.items()
    }
    strict = ConfigDict(extra="forbid")
    table = create_model("Table", __config__=strict, **fields)
    tables: Any = (list[table], Field(min_length=1))  # type: ignore[valid-type]
    return create_model("Plan", __config__=strict, **{TABLE: tables})


def _types() -> dict[str, Any]:
    """Of the values of a key, by the type of its flag."""
    from typing import Annotated, Literal

    from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr

    def several(item: Any) -> Any:
        return Annotated[list[item], BeforeValidator(_several), Field(min_length=1)]

    return {
        "text": StrictStr,
        "path": StrictStr,
        "whole": StrictInt,
        "number": StrictInt | StrictFloat,
        "switch": StrictBool,
        "names": several(StrictStr),
        "numbers": several(StrictInt),
        "counts": several(StrictInt | Literal["auto"]),
    }


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _choice(option: Option, value: Any) -> Any:
    """As a study's plan takes it."""
    if option.type in _SEVERAL:
        return tuple(dict.fromkeys(_several(value)))
    return Path(value) if option.type == "path" else value
