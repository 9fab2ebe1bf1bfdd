"""The queue of a server: what waits is answered in batches, first come, first served.

It knows no clock and no threads: whoever puts and takes says what time it is, so that it runs on a
real clock (`system`) and on a simulated one (`simulated`). With batches of one image, a fixed T and
arrivals of a Poisson process it is the M/D/1 queue, whose mean wait is ρ s / (2 (1 − ρ)) for a
service of s seconds and a load of ρ (Pollaczek 1930; Khinchine 1932).

T may go by the length of the queue. A batch is given so much *work*, in passes times images, and
what waits shares it: T = work / n for n images that wait, between the least T and the most. With
the work of one image at the largest T no batch takes longer than about one image alone, whatever
waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from ..core.errors import UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class PassesRule:
    """How many passes a batch has.

    Attributes:
        most: T where nothing else waits.
        work: passes times images that what waits may take together; 0: T is `most`, always.
        least: T however many images wait.

    Raises:
        UserError: the numbers leave no T.
    """

    most: int
    work: int = 0
    least: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most or self.work < 0:
            raise UserError(
                f"From {self.least} to {self.most} passes with {self.work} for what waits leaves "
                "no T; give at least 1 pass."
            )

    def passes(self, waiting: int) -> int:
        """T of a batch that is taken while so many images wait, those of the batch included."""
        if not self.work:
            return self.most
        return max(self.least, min(self.most, self.work // waiting))


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """What is answered together.

    Attributes:
        items: in the order in which they came.
        since: when each came.
        mc: passes, T.
    """

    items: tuple[Item, ...]
    since: tuple[float, ...]
    mc: int


def sizes(largest: int) -> tuple[int, ...]:
    """Batch sizes that a queue makes: powers of two, and the largest. Few, because a backend plans
    each anew and keeps only some plans.

    Raises:
        UserError: the largest is no size.
    """
    if largest < 1:
        raise UserError(f"--batch is {largest}; give a whole number of at least 1.")
    powers = [1 << power for power in range(largest.bit_length())]
    return (*(size for size in powers if size < largest), largest)


class BatchingQueue(Generic[Item]):
    """What waits.

    Args:
        largest: batch, images.
        rule: how many passes a batch has.

    Raises:
        UserError: the largest is no size.
    """

    def __init__(self, largest: int, rule: PassesRule) -> None:
        self.rule = rule
        self._sizes = sizes(largest)
        self._waiting: deque[tuple[Item, float]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Item, now: float) -> None:
        """Something came."""
        self._waiting.append((item, now))

    def take(self) -> Batch[Item] | None:
        """What is answered next: of what waits the first, as many as the largest size that they
        fill; None where nothing waits."""
        waiting = len(self._waiting)
        if not waiting:
            return None
        size = max(size for size in self._sizes if size <= waiting)
        items, since = zip(*(self._waiting.popleft() for _ in range(size)), strict=True)
        return Batch(items, since, self.rule.passes(waiting))


def shapes(largest: int, rule: PassesRule) -> list[tuple[int, int]]:
    """Every (images, passes) that a batch may have, the largest batches first."""
    possible = sizes(largest)
    found: set[tuple[int, int]] = set()
    for waiting in range(1, max(largest, rule.work) + 1):
        size = max(size for size in possible if size <= waiting)
        found.add((size, rule.passes(waiting)))
    return sorted(found, reverse=True)


class Simulated(NamedTuple):
    """One answer on the simulated clock.

    Attributes:
        came: when, s.
        begun: when its batch was taken, s.
        done: when it was answered, s.
        mc: passes of its batch.
    """

    came: float
    begun: float
    done: float
    mc: int


def simulated(
    arrivals: Sequence[float],
    service: Callable[[int, int], float],
    queue: BatchingQueue[float],
) -> Iterator[Simulated]:
    """One server on a simulated clock.

    Args:
        arrivals: when each image comes, s, ascending.
        service: from images and passes of a batch to its seconds.
        queue: empty.

    Yields:
        The answers, in the order of the arrivals.
    """
    now, coming = 0.0, deque(arrivals)
    while coming or len(queue):
        if not len(queue):
            now = max(now, coming[0])
        while coming and coming[0] <= now:
            queue.put(coming[0], coming.popleft())
        batch = queue.take()
        assert batch is not None
        done = now + service(len(batch.items), batch.mc)
        for came in batch.since:
            yield Simulated(came, now, done, batch.mc)
        now = done
