"""What asv is told of this project's machines, and what it tells while it builds.

A machine is called by its identity (`machine.fingerprint.Machine`), not by its host's name: two
rented machines of one name may be of different processors, and one machine may change its name.
asv itself says nothing while it makes an environment and builds a commit, which takes minutes.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Event, Thread
from typing import Any

import psutil

from ..core.errors import unknown
from ..core.escape import visible
from ..machine.describe import this_machine
from ..machine.fingerprint import Machine, units_of

VARIABLE = "SIGMABENCH_PROFILE"
#: Seconds that a commit takes on two cores once it is built, by profile.
PROFILES = {"quick": 90, "regular": 600, "full": 2400}
DEFAULT = "quick"
EVERY_SECONDS = 30.0
_MEASURING = ("run", "continuous", "find")


def machine_name(machine: Machine | None = None) -> str:
    """What asv calls a machine: no 8 hex digits alone, which name folders of records."""
    return f"machine-{(machine or this_machine()).hash}"


def machine_facts() -> dict[str, str]:
    """What asv keeps of this machine."""
    machine = this_machine()
    return {
        "machine": machine_name(machine),
        "os": f"{platform.system()} {platform.release()}",
        "arch": platform.machine(),
        "cpu": ", ".join([machine.name, *units_of(machine.isa)]),
        "num_cpu": str(machine.threads),
        "ram": str(psutil.virtual_memory().total),
    }


def install() -> None:
    """Make asv know this machine, so that it asks nothing, and let it say what it does.

    Raises:
        asv.util.UserError: there is no such profile.
    """
    from asv.machine import Machine as AsvsMachine
    from asv.machine import MachineCollection
    from asv.util import UserError as AsvError

    facts = machine_facts()
    AsvsMachine.hardcoded_machine_name = facts["machine"]
    try:
        known = MachineCollection.load(facts["machine"])
    except AsvError:
        known = {}
    if known != facts:
        MachineCollection.save(facts["machine"], facts)
    profile = _profile()
    if len(sys.argv) > 1 and sys.argv[1] in _MEASURING:
        tell(_announcement(facts, profile))
    _watch_builds()


def _profile() -> str:
    from asv.util import UserError

    profile = os.environ.get(VARIABLE, DEFAULT)
    if profile not in PROFILES:
        raise UserError(str(unknown(f"profile in {VARIABLE}", profile, PROFILES)))
    return profile


def _announcement(facts: dict[str, str], profile: str) -> str:
    minutes = PROFILES[profile] / 60
    others = ", ".join(f"{VARIABLE}={name}" for name in PROFILES if name != profile)
    return (
        f"This is {facts['machine']} ({facts['cpu']}, {facts['num_cpu']} cores). The {profile} "
        f"profile takes about {minutes:g} minutes per commit on two cores, after the commit was "
        f"built, which takes one or two more. The first time, an environment with PyTorch is "
        f"made, 6 GB in 3 to 10 minutes. Others: {others}."
    )


def _watch_builds() -> None:
    """Let asv's environments say what they do."""
    from asv.environment import Environment

    _told(Environment, "create", _making)
    _told(Environment, "_build_project", _building)
    _told(Environment, "_install_project", _installing)


def _making(environment: Any) -> str | None:
    if environment._is_setup or environment.check_presence():
        return None
    return "Making the environment: PyTorch and what else is needed are downloaded and installed"


def _building(environment: Any, repo: Any, commit: str, *rest: Any) -> str:
    return f"Building the wheel of {commit[:8]}: compiling its C++"


def _installing(environment: Any, repo: Any, commit: str, *rest: Any) -> str:
    return f"Installing {commit[:8]}"


def _told(owner: Any, method: str, what: Callable[..., str | None]) -> None:
    """Let a method tell what it does while it does it, where it does anything.

    Args:
        owner: class that has it; another version of asv may not.
        method: its name.
        what: of the arguments, a sentence without its stop, or None.
    """
    original = getattr(owner, method, None)
    if original is None or hasattr(original, "tells"):
        return

    @wraps(original)
    def telling(*arguments: Any, **keywords: Any) -> Any:
        words = what(*arguments)
        if words is None:
            return original(*arguments, **keywords)
        with progress(words):
            return original(*arguments, **keywords)

    telling.tells = True  # type: ignore[attr-defined]
    setattr(owner, method, telling)


@contextmanager
def progress(words: str, seconds: float = EVERY_SECONDS) -> Iterator[None]:
    """Lines on standard error: what begins, that it still goes on, and how long it took."""
    tell(f"{words} ...")
    started, ended = time.monotonic(), Event()

    def watch() -> None:
        while not ended.wait(seconds):
            tell(f"... still: {time.monotonic() - started:.0f} s so far")

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        tell(f"... {time.monotonic() - started:.0f} s")


def tell(line: str) -> None:
    """A line of ours among asv's."""
    print(f"\nsigmabench: {visible(line)}", file=sys.stderr, flush=True)
