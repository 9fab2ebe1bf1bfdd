"""The Python that the documentation prints, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_of(page: str, heading: str) -> str:
    """The first Python block of a page below a heading, the fences left out."""
    text = (ROOT / page).read_text(encoding="utf-8")
    below = text.partition(f"\n{heading}\n")[2]
    found = re.search(r"^```python\n(.*?)^```$", below, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no Python below {heading}"
    return found[1]
