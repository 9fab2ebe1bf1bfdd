"""Activation ranges of a shipped workload's networks, found once for all processes and commands.

Calibration is a function of network, training images, code and machine, and takes longer than much
that it is for: of ResNet-50 it is eleven passes over all calibration images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..machine.describe import computing_hash, fingerprint
from ..machine.installed import told_once, torch_installed
from .remembered import remembered

if TYPE_CHECKING:
    from ..quantize.calibrate import Calibration
    from .plan import Plan

QUESTION = "calibration"


def calibrated(plan: Plan, content_hash: str, make: Callable[[], Calibration]) -> Calibration:
    """What calibration finds, from the cache or now.

    Args:
        plan: whose workload, data, observer and passes it is about.
        content_hash: of the network that is calibrated.
        make: calibrates; always asked where the workload does not ship, whose images nothing but
            reading them tells from others, or the observer is another package's.
    """
    import torch

    from ..quantize.observers import OBSERVERS

    workload = plan.workload
    if not workload.ships or OBSERVERS.built_in(plan.observer) is None:
        return make()
    here = fingerprint()
    choices = [
        *(content_hash, workload.network_digest(), plan.observer, plan.sampled),
        *(torch.get_num_threads(), list(map(str, here.place))),
    ]

    def ask() -> str:
        text: str = _adapter().dump_json(make()).decode()
        return text

    if workload.files is not None:
        told = remembered(workload, plan.data, QUESTION, choices, ask)
    else:  # its version knows the images
        depends_on = [workload.name, workload.version, choices]
        told = told_once(QUESTION, [*depends_on, computing_hash(), torch_installed()], ask) or ask()
    try:
        found: Calibration = _adapter().validate_json(told)
    except ValueError:  # of a damaged cache
        return make()
    return found


@lru_cache(maxsize=1)
def _adapter() -> Any:
    from pydantic import TypeAdapter

    from ..quantize.calibrate import Calibration

    return TypeAdapter(Calibration)
