"""What systems under test answer with: a loaded model, and the images of a split."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..backends.base import BACKENDS
from ..machine.cores import give_back
from ..machine.memory_limit import require
from ..predict.loop import batch_of, mean_log_probs, outcomes
from ..records.load_record import ACCURACY, EMPTY, Generated
from .batching import BatchingQueue, PassesRule
from .load_test import LoadTest
from .scenarios import SCENARIOS
from .system import Answer, Done, Served, SystemUnderTest

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.splits import Split
    from ..quantize.artefact import Artefact

#: A thread that wants Python's lock waits no longer: queries come while batches are made.
SWITCH_SECONDS = 2e-4
#: Seeds of what answers are held against, far from those of the answers.
REFERENCE_SEED = 1 << 62
#: That a batch is timed for before any test.
SHAPE_SECONDS = 0.3
_WARM, _MOST = 2, 50  # calls that are not counted, and calls at most


@dataclass(frozen=True, eq=False)
class Model:
    """What a host is made of.

    Attributes:
        artefact: the model.
        backend: that loads it.
        threads: that it may use.
        split: images that queries are of.
        seed: of the noise; batch b of a test draws with seed + b.
    """

    artefact: Artefact
    backend: str
    threads: int
    split: Split
    seed: int


class Host:
    """Loads a model, and answers by it.

    Args:
        model: see there.
    """

    def __init__(self, model: Model) -> None:
        give_back()
        sys.setswitchinterval(SWITCH_SECONDS)
        torch.set_num_threads(model.threads)
        self.model = model
        self.predictor = BACKENDS.get(model.backend).load(model.artefact, model.threads)
        self._images = torch.empty(0)
        self._place: dict[int, int] = {}

    def load(self, images: Sequence[int]) -> None:
        """Have these images in memory, normalised, and no others."""
        shape = self.model.split.images.shape[1:]
        require("Images in memory", 4 * len(images) * int(np.prod(shape)))
        self._place = {image: place for place, image in enumerate(images)}
        self._images = torch.empty((len(images), *shape))
        for start in range(0, len(images), 64):
            part = torch.tensor(images[start : start + 64])
            self._images[start : start + len(part)] = self.model.split.batch(part)

    def answer(self, images: Sequence[int], mc: int, number: int) -> NDArray[np.float32]:
        """See `Answer`."""
        return self._computed(images, mc, self.model.seed + number)

    def shape_seconds(
        self, shapes: Iterable[tuple[int, int]], seconds: float = SHAPE_SECONDS
    ) -> dict[tuple[int, int], float]:
        """How long a batch takes, s, the least of a few, for each (images, passes). What a backend
        has to try or to plan is tried and planned afterwards.

        Args:
            shapes: at least one.
            seconds: that each is timed for, about.
        """
        found, asked = {}, list(shapes)
        self.load(range(min(len(self.model.split), max(images for images, _ in asked))))
        for images, mc in asked:
            which = [place % len(self._place) for place in range(images)]
            spent: list[float] = []
            while len(spent) <= _WARM or (len(spent) < _MOST and sum(spent[_WARM:]) < seconds):
                start = time.perf_counter()
                self.answer(which, mc, len(spent))
                spent.append(time.perf_counter() - start)
            found[images, mc] = min(spent[_WARM:])
        return found

    def run(self, test: LoadTest, largest: int, rule: PassesRule) -> tuple[Generated, Served, int]:
        """Make one test.

        Args:
            test: what a generator is asked.
            largest: batch of the queue, images.
            rule: how many passes a batch has.

        Returns:
            What the generator says, what was answered, and how many weights were drawn.
        """
        generator = SCENARIOS.get(test.scenario).generator
        assert generator is not None
        before = self.predictor.draws

        def start(done: Done) -> SystemUnderTest:
            return SystemUnderTest(self._answers(test), BatchingQueue(largest, rule), done)

        told, answers = generator(test, start, self.load)
        labels = self.model.split.labels.numpy()
        return told, answers.served(labels), self.predictor.draws - before

    def nlls(self, mc: int, seeds: Sequence[int]) -> NDArray[np.float64]:
        """[K, N] negative log-likelihood of each image at T = `mc`, nats, for each seed."""
        found = []
        for seed in seeds:
            by_passes = outcomes(
                self.predictor,
                self.model.split,
                (mc,),
                seed,
                batch=batch_of(self.model.artefact.graph),
            )
            nlls = by_passes[mc].nlls
            assert nlls is not None
            found.append(nlls.numpy())
        return np.stack(found)

    def _answers(self, test: LoadTest) -> Answer:
        if test.purpose == EMPTY:
            nothing = np.zeros((1, 1), np.float32)
            return lambda images, mc, number: nothing.repeat(len(images), axis=0)
        if test.purpose == ACCURACY:  # one seed, so that answers can be held against scores
            return lambda images, mc, number: self._computed(images, mc, self.model.seed)
        return self.answer

    def _computed(self, images: Sequence[int], mc: int, seed: int) -> NDArray[np.float32]:
        places = torch.tensor([self._place[image] for image in images])
        logits: Tensor = self.predictor.logits(self._images[places], seed, range(mc))
        found: NDArray[np.float32] = mean_log_probs(logits).float().numpy()
        return found
