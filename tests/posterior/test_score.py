from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call

from sigmabench.harness.data.splits import Split
from sigmabench.harness.posterior import initial
from sigmabench.harness.training.score import predict, score


def test_images_are_made_once_for_all_passes() -> None:
    """What is indexed only counts: a tensor answers."""
    made: list[int] = []

    class Counted:
        dtype, names = torch.uint8, ()

        def __init__(self, pixels: torch.Tensor) -> None:
            self.pixels, self.shape = pixels, pixels.shape

        def __len__(self) -> int:
            return len(self.pixels)

        def __getitem__(self, index: slice) -> torch.Tensor:
            made.append(len(self.pixels[index]))
            return self.pixels[index]

        def take(self, index: slice) -> Counted:
            return Counted(self.pixels[index])

    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    posterior = initial(module, 0.5)
    images = torch.randint(0, 255, (600, 1, 2, 2), dtype=torch.uint8)
    split = Split("validation", images, torch.arange(600) % 3, (0.5,), (0.25,), 3)
    found = predict(module, posterior, replace(split, images=Counted(images)), mc=4, seed=9)
    assert sum(made) == 600
    assert torch.equal(found.probs, predict(module, posterior, split, mc=4, seed=9).probs)


def test_predictive_mean_is_the_average_of_softmaxes() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    posterior = initial(module, 0.5)
    images = torch.randint(0, 255, (20, 1, 2, 2), dtype=torch.uint8)
    split = Split("validation", images, torch.arange(20) % 3, (0.5,), (0.25,), 3)
    found = predict(module, posterior, split, mc=4, seed=9, batch=7)
    generator = torch.Generator().manual_seed(9)
    passes = [
        functional_call(module, posterior.sample(generator), (split.batch(slice(None)),))
        for _ in range(4)
    ]
    expected = torch.stack([logits.double().softmax(1) for logits in passes]).mean(0)
    torch.testing.assert_close(found.probs, expected, atol=1e-6, rtol=0)
    scores = score(module, posterior, split, mc=4, seed=9)
    right = expected.argmax(1) == split.labels
    assert scores["accuracy_percent"] == pytest.approx(100 * float(right.double().mean()))
    nll = -expected.gather(1, split.labels[:, None]).log().mean()
    assert scores["nll_nats"] == pytest.approx(float(nll), rel=1e-5)
