"""Studies as tests ask for them: in this process, for the records of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sigmabench.harness.core.waiting import Report
from sigmabench.harness.records.store import Policy
from sigmabench.harness.studies.driver import Request, conduct
from sigmabench.harness.studies.known import STUDIES


def studied(
    name: str,
    plan: Any,
    results: Path,
    command: str = "test",
    policy: Policy = Policy.ONLY_MISSING,
    workers: int = 1,
    report: Report | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Any]:
    """Records of a plan's subjects, in the plan's order; see `driver.conduct`.

    Args:
        name: of the study.
        plan: of its `plan` part.
        results: directory of records.
        command: written into them.
        policy: what to do about subjects that have a record.
        workers: processes side by side.
        report: progress.
        tell: what a user should know before anything is measured.
    """
    request = Request(results, command, policy, workers, report or (lambda *_: None), None, tell)
    return [record for group in conduct(STUDIES.get(name), plan, request) for record in group]
