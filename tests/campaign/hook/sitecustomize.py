"""Kills the process at one of its renames, as `CAMPAIGN_KILL` says (`before:3`, `after:1`)."""

import os
import signal

_side, _, _number = os.environ.get("CAMPAIGN_KILL", "").partition(":")


def _killing(rename, left):
    def renamed(*args, **kwargs):
        left[0] -= 1
        if not left[0] and _side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*args, **kwargs)
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    return renamed


if _number:
    _left = [int(_number)]
    os.replace, os.rename = _killing(os.replace, _left), _killing(os.rename, _left)
