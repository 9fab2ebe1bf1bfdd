"""The house in figures, from the imports and definitions of the code (`ast`); nothing is run.

    python tests/house.py

A room is a folder or a loose module below `harness/`; an arrow runs from a room to one that it
imports, also where the import is inside a function or for types alone. A floor is a room's height
above those that import nothing.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
HARNESS = ROOT / "harness"
PACKAGE = "sigmabench.harness"

#: Rooms from the ground up: none imports one that stands after it.
ROOMS = (
    "core", "machine", "data", "native", "corruptions", "posterior", "quantize", "backends",
    "predict", "metrics", "workload", "training", "methods", "records", "history", "stats",
    "measure", "peers", "race", "report", "studies", "claims", "bundle", "site", "cli", "api",
)  # fmt: skip
#: What every study is made of: files that may bear one name.
PARTS = ("__init__", "plan", "measure", "analyse", "document")
LONGEST = 50  # lines of a function


def modules() -> dict[str, Path]:
    """Files of the package by dotted name, without `sigmabench.`."""
    found = {}
    for path in sorted(HARNESS.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text())


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that one imports, wherever in it."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("sigmabench.")
                for alias in node.names
                if alias.name.startswith(PACKAGE)
            )
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            inside = package[: len(package) - node.level + 1]
            base = ".".join([*inside, *(node.module or "").split(".")]).rstrip(".")
        elif (node.module or "").startswith(PACKAGE):
            base = (node.module or "").removeprefix("sigmabench.")
        else:
            continue
        for alias in node.names:
            whole = f"{base}.{alias.name}"
            yield whole if whole in known else base


def room(name: str) -> str:
    """Of a module; the package's own face is no room."""
    return name.split(".")[1] if "." in name else ""


def arrows() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Imports from one module to another by the two rooms."""
    known = modules()
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, path in known.items():
        for other in imports(name, path, known):
            ends = room(name), room(other)
            if ends[0] != ends[1] and all(ends):
                found.setdefault(ends, []).append((name, other))
    return found


def upward() -> list[tuple[str, str]]:
    """Imports of a room that stands later in `ROOMS`."""
    place = {name: number for number, name in enumerate(ROOMS)}
    return [
        pair
        for ends, pairs in arrows().items()
        if place[ends[0]] < place[ends[1]]
        for pair in pairs
    ]


def floors() -> dict[str, int]:
    """Of every room, 1 for those that import no other; imports that run upward do not count."""
    place = {name: number for number, name in enumerate(ROOMS)}
    below: dict[str, set[str]] = {}
    for upper, lower in arrows():
        if place[lower] < place[upper]:
            below.setdefault(upper, set()).add(lower)

    @cache
    def floor(name: str) -> int:
        return 1 + max(map(floor, below.get(name, ())), default=0)

    return {name: floor(name) for name in ROOMS}


def between_studies() -> list[tuple[str, str]]:
    """Imports of one study by another."""
    known = modules()

    def study(name: str) -> str:
        parts = name.split(".")
        return parts[2] if parts[1:2] == ["studies"] and len(parts) > 3 else ""

    return [
        (name, other)
        for name, path in known.items()
        for other in imports(name, path, known)
        if study(name) and study(other) and study(name) != study(other)
    ]


def importers(package: str) -> set[str]:
    """Rooms with a module that imports a package from outside, wherever in it."""
    found = set()
    for name, path in modules().items():
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if any(one.split(".")[0] == package for one in names):
                found.add(room(name))
    return found


def loose() -> list[str]:
    """Modules of `harness/` that stand in no room."""
    return sorted(path.stem for path in HARNESS.glob("*.py") if path.stem != "__init__")


def module_names_twice() -> list[str]:
    """Names of files that occur more than once, the parts of a study aside."""
    count = Counter(path.stem for path in HARNESS.rglob("*.py"))
    return sorted(name for name, times in count.items() if times > 1 and name not in PARTS)


def class_names_twice() -> list[str]:
    """Public names of classes that occur more than once."""
    count = Counter(
        node.name
        for path in modules().values()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    return sorted(name for name, times in count.items() if times > 1)


def long_functions() -> list[tuple[str, int]]:
    """Functions of more than `LONGEST` lines, without their decorators and docstrings."""
    found = []
    for name, path in modules().items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                said = (first.end_lineno or 0) - first.lineno + 1 if told else 0
                lines = (node.end_lineno or 0) - node.lineno + 1 - said
                if lines > LONGEST:
                    found.append((f"{name.removeprefix('harness.')}.{node.name}", lines))
    return found


def lines() -> int:
    """Of Python below `harness/`."""
    return sum(len(path.read_text().splitlines()) for path in modules().values())


def main() -> None:
    drawn, height = arrows(), floors()
    print(f"rooms {len(height)}, floors {max(height.values())}, arrows {len(drawn)}, "
          f"lines {lines()}, loose modules {len(loose())}")  # fmt: skip
    for number in range(max(height.values()), 0, -1):
        print(f"floor {number:2}: {', '.join(name for name in ROOMS if height[name] == number)}")
    for title, found in (
        ("imports that run upward", [" -> ".join(pair) for pair in upward()]),
        ("imports of one study by another", [" -> ".join(pair) for pair in between_studies()]),
        ("module names that occur twice", module_names_twice()),
        ("class names that occur twice", class_names_twice()),
        ("functions over 50 lines", [f"{name} ({count})" for name, count in long_functions()]),
    ):
        print(f"{title}: {', '.join(found) or 'none'}")


if __name__ == "__main__":
    main()
