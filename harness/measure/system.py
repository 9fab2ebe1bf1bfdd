"""The system under test: answers queries that something else sends, in batches of its own queue.

One thread works: it takes a batch from the queue, makes its input of the images, computes T passes
and their mean probabilities, and only then says so. Whoever sends never waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .batching import Batch, BatchingQueue

#: A query that waits: the number that its sender knows it by, and which image it is of.
Asked = tuple[int, int]


class Answer(Protocol):
    """What a system computes."""

    def __call__(self, images: Sequence[int], mc: int, number: int) -> NDArray[np.float32]:
        """Logarithms of the mean probabilities, float32 [N, C].

        Args:
            images: which.
            mc: passes.
            number: of the batch, from 0; each draws with a seed of its own.
        """
        ...


#: Told of each batch that is answered: the numbers of its queries, and the answers [N, C].
Done = Callable[[Sequence[int], NDArray[np.float32]], None]


@dataclass(frozen=True, eq=False)
class Served:
    """What was answered, an entry for each image, in the order in which it was.

    Attributes:
        image: int32 [Q], which.
        mc: int32 [Q], passes of its batch.
        batch: int32 [Q], number of its batch, from 0.
        service_ns: int64 [Q], how long its batch was computed.
        nll: float32 [Q], negative log-likelihood of its label, nats; NaN of an empty system.
        correct: uint8 [Q], whether the likeliest class is the label.
    """

    image: NDArray[np.int32]
    mc: NDArray[np.int32]
    batch: NDArray[np.int32]
    service_ns: NDArray[np.int64]
    nll: NDArray[np.float32]
    correct: NDArray[np.uint8]

    @property
    def passes(self) -> int:
        """Of all batches."""
        _, first = np.unique(self.batch, return_index=True)
        return int(self.mc[first].sum())


@dataclass
class Answers:
    """What a system has answered so far, as `Served`, but for what takes labels.

    Attributes:
        image: of each query.
        mc: passes of its batch.
        batch: number of its batch.
        service_ns: how long its batch was computed.
        log_probs: float32 [n, C] of each batch.
    """

    image: list[int] = field(default_factory=list)
    mc: list[int] = field(default_factory=list)
    batch: list[int] = field(default_factory=list)
    service_ns: list[int] = field(default_factory=list)
    log_probs: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, batch: Batch[Asked], spent_ns: int, found: NDArray[np.float32]) -> None:
        """A batch was answered."""
        count = len(batch.items)
        self.image += [image for _, image in batch.items]
        self.mc += [batch.mc] * count
        self.batch += [len(self.log_probs)] * count
        self.service_ns += [spent_ns] * count
        self.log_probs.append(found)

    def served(self, labels: NDArray[np.int64]) -> Served:
        """With labels, int64 [images]."""
        own = labels[self.image]
        found = np.concatenate(self.log_probs)
        if found.shape[1] > 1:
            nll, correct = -found[np.arange(len(own)), own], found.argmax(axis=1) == own
        else:
            nll, correct = np.full(len(own), np.nan, np.float32), np.zeros(len(own), bool)
        return Served(
            np.asarray(self.image, np.int32),
            np.asarray(self.mc, np.int32),
            np.asarray(self.batch, np.int32),
            np.asarray(self.service_ns, np.int64),
            nll,
            correct.astype(np.uint8),
        )


class SystemUnderTest:
    """Answers until it is closed.

    Args:
        answer: computes a batch.
        queue: empty.
        done: told of each batch, on the thread that computes.
    """

    def __init__(self, answer: Answer, queue: BatchingQueue[Asked], done: Done) -> None:
        self.answers = Answers()
        self._answer, self._queue, self._done = answer, queue, done
        self._changed = threading.Condition()
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def issue(self, queries: Sequence[Asked]) -> None:
        """Take queries; returns at once."""
        now = time.perf_counter_ns()
        with self._changed:
            for query in queries:
                self._queue.put(query, now)
            self._changed.notify()

    def close(self) -> Answers:
        """Answer what waits, and end.

        Raises:
            BaseException: what computing raised; all queries from then on were answered by nothing.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self.answers

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            numbers = [number for number, _ in batch.items]
            begun = time.perf_counter_ns()
            found = self._computed(batch)
            done = time.perf_counter_ns()
            try:
                self._done(numbers, found)
            except BaseException as failure:
                self._failure = self._failure or failure
            if self._failure is None:
                self.answers.add(batch, done - begun, found)

    def _next(self) -> Batch[Asked] | None:
        with self._changed:
            while not len(self._queue) and not self._closing:
                self._changed.wait()
            return self._queue.take()

    def _computed(self, batch: Batch[Asked]) -> NDArray[np.float32]:
        """Nothing once something has failed: a sender that waits for an answer would wait for
        ever."""
        if self._failure is None:
            images = [image for _, image in batch.items]
            try:
                return self._answer(images, batch.mc, len(self.answers.log_probs))
            except BaseException as failure:
                self._failure = failure
        return np.zeros((len(batch.items), 1), np.float32)
