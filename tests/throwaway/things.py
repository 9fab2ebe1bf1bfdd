"""One of each kind of thing but a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.formats import Format
from sigmabench.harness.corruptions.registered import Corruption
from sigmabench.harness.measure.scenarios import Scenario
from sigmabench.harness.metrics.metric import Metric
from sigmabench.harness.peers.environment import Peer


def _missed(summary: Any, labels: Any) -> Any:
    """Whether the label is not among the two likeliest classes, 100 or 0, [N]."""
    likeliest = summary.probs.topk(2).indices
    return 100.0 * (likeliest != labels[:, None]).all(1).double()


METRIC = Metric(
    "second_error",
    "%",
    True,
    False,
    "label not among the two likeliest classes",
    lambda summary, labels: float(_missed(summary, labels).mean()),
    heading="2nd err.",
    of_image=_missed,
    margin=1.5,
)
FORMAT = Format("COARSE", 8, 2, "int8")
SCENARIO = Scenario("whenever", "queries when they please")
PEER = Peer(
    "stranger", "someone else's", Path("worker.py"), {"stranger": "1"}, (), {"FP32": "FP32"}
)
INVERTED = Corruption(
    random=False,
    small=(0.1, 0.2, 0.3, 0.4, 0.5),
    large=(0.1, 0.2, 0.3, 0.4, 0.5),
    apply=lambda images, share, context: (1 - share) * images + share * (255 - images),
)


@dataclass(frozen=True)
class Borrowed:
    """The reference under another name."""

    name: str = "borrowed"
    description: str = "another's"

    def __getattr__(self, part: str) -> Any:
        return getattr(BACKENDS.get("reference"), part)


BACKEND = Borrowed()
