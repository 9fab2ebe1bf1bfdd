"""What `sigmabench peers` compares: the user's choices, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...peers.environment import ENVIRONMENTS, Peer
from ...workload.choices import plan_from as run_plan
from ...workload.plan import Plan
from ...workload.workload import Workload

FORMAT_NAMES = (
    "FP32",
    "BF16",
    "INT8",
    "INT8_SIGMA4",
    "INT8_SIGMA2",
    "INT8_SIGMA1",
    "DNN_FP32",
    "DNN_INT8",
)
DRAWS = 32  # of a layer's weights: their standard deviation to 13 % a weight, pooled over a layer
QUERY_SECONDS = 0.2  # fewer passes than T where these take longer: there are many contenders


@dataclass(frozen=True)
class PeersPlan:
    """One posterior, one set of images, one T, for everyone.

    Attributes:
        ours: formats and everything else that `sigmabench run` would be asked; one T, one batch
            size, one seed.
        peers: the others.
        environments: folder of the peers' environments.
    """

    ours: Plan
    peers: tuple[Peer, ...]
    environments: Path = ENVIRONMENTS

    @property
    def mc(self) -> int:
        """Passes of a Bayesian contender, T."""
        return self.ours.mc[0]

    @property
    def batch(self) -> int:
        """Images a query."""
        return self.ours.batches[0]


def plan_from(
    workload: Workload,
    *,
    formats: tuple[str, ...] | None,
    mc: int,
    batch: int,
    limit: int,
    **choices: Any,
) -> Plan:
    """What `sigmabench run` would be asked, from command-line options.

    Raises:
        UserError: one of them is out of range or not known.
    """
    return run_plan(
        workload,
        formats=FORMAT_NAMES if formats is None else formats,
        mc=(mc,),
        batch=(batch,),
        limit=limit or None,
        seeds=1,
        **choices,
    )
