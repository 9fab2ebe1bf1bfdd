"""Whether `asv continuous` finds what was made worse on purpose: `python tests/regressions`.

Commits are compared in turn: a sampler that is 15 % slower, a quantizer that loses 5 % of σ, one
that changes nothing, and samplers that are slower by less and more, for the least that is found.
Every comparison is kept in results/asv/proof when it is made; the same command goes on with those
that are left, on another machine of the same identity too, and writes docs/regressions.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # tests, instead of this folder

from regressions import clone as clones  # noqa: E402
from regressions.comparison import compare  # noqa: E402
from regressions.edits import LOSSY, NOTHING, Edit, slower  # noqa: E402
from regressions.page import refresh  # noqa: E402
from regressions.stored import FOLDER, Comparison, Stored  # noqa: E402
from sigmabench.harness.history.asv_plugin import machine_name  # noqa: E402

#: Per cent of the blocks that are drawn twice: for what has to be found, and for the least that is.
SLOWER = 15
STEPS = (8, 10, 11, 12, 14)
#: Kinds of comparison: the edit, whether the sampler's benchmarks run alone, and how many of them.
Kind = tuple[Edit, bool, int]
KINDS: dict[str, Kind] = {
    "slower": (slower(SLOWER), False, 5),
    "lossy": (LOSSY, False, 5),
    "nothing": (NOTHING, False, 20),
    **{f"least-{percent}": (slower(percent), True, 10) for percent in STEPS},
}


def main() -> int:
    """See the module; the status is 1 if a comparison failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--again", action="store_true", help="forget these kinds' comparisons first"
    )
    parser.add_argument("--count", type=int, help="comparisons of each kind  [default: the page's]")
    parser.add_argument("--only", action="append", choices=KINDS, help="kinds  [default: all]")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the comparisons")
    parser.add_argument("--page", action="store_true", help="write the page, and compare nothing")
    given = parser.parse_args()
    failed = 0
    if not given.page:
        failed = run([KINDS[name] for name in given.only or KINDS], given)
    if given.folder == FOLDER:
        refresh()
    return int(failed > 0)


def run(kinds: list[Kind], given: argparse.Namespace) -> int:
    """Compare what is left, one of each kind after the other, so that what disturbs the machine for
    a while meets all kinds alike; the number of comparisons that came to no verdict."""
    stored = Stored(machine_name(), given.folder)
    if given.again:
        stored.forget({(edit.name, alone) for edit, alone, _ in kinds})
    failed = 0
    with tempfile.TemporaryDirectory(prefix="sigmabench-regressions-") as home:
        edits = {edit.name: edit for edit, _, _ in kinds}
        clone = clones.make(Path(home) / "clone", edits.values())
        for number in range(max(given.count or wanted for _, _, wanted in kinds)):
            for edit, alone, wanted in kinds:
                if stored.count(edit.name, alone) <= number < (given.count or wanted):
                    failed += not one(clone, stored, edit, alone)
    return failed


def one(clone: Path, stored: Stored, edit: Edit, alone: bool) -> bool:
    """Compare once, and keep it; whether asv came to a verdict."""
    try:
        found, seconds = compare(clone, edit, alone)
    except RuntimeError as reason:
        print(f"{edit.name}: {reason}", file=sys.stderr, flush=True)
        return False
    day = datetime.now(timezone.utc).date().isoformat()
    base = clones.git(clone, "rev-parse", clones.BASE)
    stored.add(
        Comparison(edit.name, alone, base, day, seconds, found.worse, found.better, found.ratios)
    )
    print(f"{edit.name}, {seconds:.0f} s: {', '.join(found.worse) or 'nothing'}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
