"""Mutation run: faults planted one by one in code that numbers are believed by (docs/testing.md).

`python tests/mutation.py [GROUP ...] [--sample 40]` mutates the modules of each group in a copy of
the tree below `.mutation/`, tries a seeded sample of each module's mutants against the module's own
tests, with mutmut, and prints what survived. Stopped and started again it goes on where it was;
remove `.mutation/GROUP` to begin anew after a change.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SEED = 0
SURVIVED = (0, 33)  # mutmut: every test passed; no test calls the function


@dataclass(frozen=True)
class Group:
    """Modules below `harness/`, without suffix, and the tests below `tests/` that are theirs, less
    those that take seconds, by words of their names."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    less: tuple[str, ...]


def _group(modules: str, tests: str, less: str = "") -> Group:
    return Group(tuple(modules.split()), tuple(tests.split()), tuple(less.split()))


GROUPS = {
    "metrics": _group(
        "metrics/calibration metrics/metric metrics/detection predict/predicted "
        "metrics/scores metrics/risk_coverage",
        "metrics",
    ),
    "latency": _group("stats/latency", "measure/test_statistics.py"),
    "law": _group("measure/law measure/fidelity", "measure/test_law.py measure/test_fidelity.py"),
    "sizes": _group(
        "quantize/artefact_size measure/traffic measure/operations",
        "measure/test_sizes.py "
        "quantize/test_artefact.py::test_size_is_what_the_file_holds_item_by_item "
        "quantize/test_artefact.py::test_size_of_constants_and_codebooks",
    ),
    "paired": _group("stats/paired", "measure/test_paired.py"),
    "significance": _group("stats/significance", "test_compare.py"),
    "shift": _group(
        "data/units stats/pairs stats/blocks stats/bootstrap stats/equivalence",
        "test_units.py shift/test_equivalence.py shift/test_conclusions.py",
    ),
    "selective": _group(
        "studies/selective/agreement stats/bound stats/ranking studies/selective/referral",
        "selective/test_agreement.py selective/test_ranking.py selective/test_selective_choice.py",
    ),
    "audits": _group(
        "measure/audits measure/saturation studies/peers/peer_audits records/verdict",
        "measure/test_audits.py measure/test_saturation.py peers/test_peer_audits.py "
        "records/test_verdict.py "
        "test_adaptive.py::test_the_audit_sees_other_passes_and_other_outputs",
        "wide_posterior shipped_posterior committed_results published spread_is told_apart "
        "code_names",
    ),
    "keys": _group(
        "workload/cell machine/fingerprint records/runtime_record core/contents core/whole "
        "records/store records/record_file records/pack",
        "test_key_values.py test_contents.py test_files.py records/test_store.py "
        "records/test_pack.py records/test_arrays_beside.py bench/test_runtime_record.py",
        "published round_trip light killed waited",
    ),
}

MARKS = "not slow and not peers and not thorough"
CONFIGURATION = """
[tool.mutmut]
source_paths = ["sigmabench"]
only_mutate = {modules}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-m", "{marks}", "-k", {less}]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
timeout_constant = 60.0
use_git_change_detection = false

[tool.pytest.ini_options]
pythonpath = ["tests"]
markers = ["slow: minutes", "peers: other implementations", "thorough: whole commands"]
"""


def prepare(group: Group, place: Path) -> None:
    """The tree that mutmut works in: package, tests, configuration."""
    from sigmabench.harness import native

    package = place / "sigmabench"
    for folder in ("harness", "workloads"):
        shutil.copytree(ROOT / folder, package / folder)
    for library in Path(native.__file__).parent.glob("*.so"):
        shutil.copy2(library, package / "harness" / "native")
    shutil.copytree(ROOT / "tests", place / "tests")
    (place / "mutants").mkdir()
    for folder in ("docs", "results"):  # that tests read
        (place / "mutants" / folder).symlink_to(ROOT / folder)
    modules = [f"sigmabench/harness/{module}.py" for module in group.modules]
    tests = [f"tests/{test}" for test in group.tests]
    less = " and ".join(f"not {word}" for word in group.less) or "test"
    text = CONFIGURATION.format(
        modules=json.dumps(modules),
        tests=json.dumps(tests),
        less=json.dumps(less),
        marks=MARKS,
    )
    (place / "pyproject.toml").write_text(text)


def results(place: Path, module: str) -> dict[str, int | None]:
    """Exit code of the tests on every mutant of a module; None of what was not tried."""
    meta = place / "mutants/sigmabench/harness" / f"{module}.py.meta"
    found: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
    return found


def sample(names: list[str], size: int) -> list[str]:
    """So many of the names, the same ones on every run; a larger sample has them too."""
    chosen = np.random.default_rng(SEED).permutation(len(names))[:size]
    return [names[i] for i in sorted(chosen)]


def run(group: Group, place: Path, size: int) -> None:
    """Try what of the sample was not tried yet."""
    if not place.exists():
        prepare(group, place)

    def mutmut(*names: str) -> None:
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names]
        with (place / "log").open("ab") as log:
            subprocess.run(command, cwd=place, stdout=log, stderr=log, check=False)

    if not (place / "mutants/mutmut-stats.json").exists():
        mutmut("none")  # makes mutants, learns which test calls what, and finds no such name
    left = [
        name
        for module in group.modules
        for name in sample(list(results(place, module)), size)
        if results(place, module)[name] is None
    ]
    if left:
        mutmut(*left)


def report(group: Group, place: Path, size: int) -> None:
    """A row for each module of the page's table, then the names of what survived."""
    alive = []
    for module in group.modules:
        found = results(place, module)
        tried = [name for name in sample(list(found), size) if found[name] is not None]
        alive += (here := [name for name in tried if found[name] in SURVIVED])
        print(f"| `{module}` | {len(found)} | {len(tried)} | {len(tried) - len(here)} |")
    print(*alive, sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--sample", type=int, default=40, help="mutants of each module")
    given = parser.parse_args()
    for name in given.groups or GROUPS:
        place = ROOT / ".mutation" / name
        run(GROUPS[name], place, given.sample)
        report(GROUPS[name], place, given.sample)


if __name__ == "__main__":
    main()
