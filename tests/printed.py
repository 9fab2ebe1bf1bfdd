"""The Python that the documentation prints, as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_of(page: str, heading: str) -> str:
    """The first Python block of a page below a heading, the fences left out."""
    found = re.search(r"^```python\n(.*?)^```$", _below(page, heading), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no Python below {heading}"
    return found[1]


def commands_of(page: str, heading: str) -> list[list[str]]:
    """The arguments of the sigmabench commands that a page prints in the part below a heading."""
    found = re.findall(r"^    sigmabench (.*)$", _below(page, heading), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


def _below(page: str, heading: str) -> str:
    text = "\n" + (ROOT / page).read_text(encoding="utf-8")
    below = text.partition(f"\n{heading}\n")[2]
    return re.split(r"^## ", below, maxsplit=1, flags=re.MULTILINE)[0]
