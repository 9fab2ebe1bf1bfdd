"""When an image of adaptive T has had enough passes; what is computed of them is `adaptive`'s."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from .errors import UserError

#: Among counts of T: stop when a prediction is settled.
AUTO = "auto"
CONFIDENCE = 0.99
FIRST_LOOK = 5  # the least t at which images with equal margins are settled at 0.99 and T = 50
#: Standard deviation of the one pass that is added to what was seen.
PRIOR_STD = 1.0


def schedule(limit: int) -> tuple[int, ...]:
    """Passes after which is looked, before `limit`: 5, and each half as many again, rounded up."""
    looks = []
    look = FIRST_LOOK
    while look < limit:
        looks.append(look)
        look = -(-3 * look // 2)
    return tuple(looks)


@dataclass(frozen=True)
class StoppingRule:
    """When an image has had enough passes.

    Attributes:
        limit: passes T at most.
        confidence: that the decision is the one after `limit` passes, between 0 and 1.
        looks: passes after which is looked, ascending, below `limit`; by default `schedule`.
        prior_std: standard deviation of the added pass, 0 for none.

    Raises:
        UserError: a limit that leaves nothing to look at, or a confidence that is none.
    """

    limit: int
    confidence: float = CONFIDENCE
    looks: tuple[int, ...] = ()
    prior_std: float = PRIOR_STD

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise UserError(
                f"--confidence is {self.confidence}; give a number from 0.5 to below 1."
            )
        looks = self.looks or schedule(self.limit)
        object.__setattr__(self, "looks", looks)
        bounds = (1, *looks, self.limit)
        if not looks or any(a >= b for a, b in pairwise(bounds)):
            raise UserError(
                f"Adaptive T looks after {', '.join(map(str, looks or (FIRST_LOOK,)))} passes, so "
                f"it needs a larger limit than {self.limit}; raise the largest number in --mc."
            )

    @property
    def rounds(self) -> tuple[tuple[int, int], ...]:
        """(first, stop) of the passes between one look and the next, the last up to `limit`."""
        return tuple(pairwise((0, *self.looks, self.limit)))

    @cached_property
    def critical(self) -> dict[int, float]:
        """q_t by look t."""
        from scipy.stats import t as student

        alpha = (1 - self.confidence) / len(self.looks)
        added = 1 if self.prior_std else 0
        return {t: float(student.isf(alpha, t - 1 + added)) for t in self.looks}
