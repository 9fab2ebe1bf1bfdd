"""Seconds until a fresh interpreter is ready: too noisy for the quick profile; ratios have it.
asv gives what has a `setup_cache` beside it another argument, so these have a module of their own.
"""

from __future__ import annotations

from .common import PROFILE
from .quiet import wait

#: What a shell pays for every command.
COMMAND_LINE = (
    "from importlib.metadata import entry_points\n"
    "next(iter(entry_points(group='console_scripts', name='sigmabench'))).load()"
)

if PROFILE != "quick":

    def timeraw_import_api() -> str:
        """It imports what a script needs."""
        return "import sigmabench.harness.api"

    def timeraw_command_line() -> str:
        """It gets as far as a command's options."""
        return COMMAND_LINE

    for _function in (timeraw_import_api, timeraw_command_line):
        _function.version = "1"
        _function.setup = wait
        _function.repeat, _function.number, _function.warmup_time = 10, 1, 0.0
