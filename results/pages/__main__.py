"""Write the pages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from results.pages.headline import replaced  # noqa: E402
from results.pages.render import pages, rendered  # noqa: E402
from sigmabench.harness.core.errors import UserError, unknown  # noqa: E402
from sigmabench.harness.core.whole import write_atomically  # noqa: E402

FIRST = "first"


def main(names: Sequence[str]) -> None:
    """Render the pages of these names, or all; `first` is the table in README.md.

    Raises:
        UserError: there is no such page, or some cannot be rendered; the others are written.
    """
    there = pages() | {FIRST: ROOT / "README.md"}
    for name in names:
        if name not in there:
            raise unknown("page", name, there)
    reasons = []
    for name in names or there:
        try:
            text = _text(name)
        except UserError as reason:
            reasons.append(str(reason))
            continue
        write_atomically(there[name], text.encode())
        print(there[name])
    if reasons:
        raise UserError("\n".join(reasons))


def _text(name: str) -> str:
    return replaced((ROOT / "README.md").read_text()) if name == FIRST else rendered(name)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as reason:
        sys.exit(f"results/pages: {reason}")
