"""A question put to a Python process of its own: what it holds, or which instructions it has woken,
is then nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from ..core.errors import UserError
from ..machine.cores import give_back

LONGEST_SECONDS = 600.0


def answer_of(module: str, job: dict[str, Any], called: str, remedies: tuple[str, str]) -> Any:
    """What `python -m module` prints, one JSON object, given another on its standard input.

    Args:
        module: that runs.
        job: what it is given.
        called: the process, in words that begin a sentence.
        remedies: what to do if it does not end, and if it fails; each follows a semicolon.

    Raises:
        UserError: it fails, or does not end.
    """
    give_back()  # a process is born with the cores of the thread that starts it
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as reason:
        raise UserError(
            f"{called} had not ended after {LONGEST_SECONDS:.0f} s; {remedies[0]}."
        ) from reason
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise UserError(f"{called} ended with status {done.returncode} ({last[0]}); {remedies[1]}.")
    return json.loads(done.stdout)
