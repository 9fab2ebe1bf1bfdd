"""Sentences of studies of one or two images, without seeds, and without an error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from selective_cases import found_of, outputs, sample
from test_selective_choice import SPLITS, of_splits

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.report.rendering import markdown
from sigmabench.harness.studies.selective.agreement import comparisons
from sigmabench.harness.studies.selective.analyse import SelectiveStudy, findings
from sigmabench.harness.studies.selective.conclusions import answer
from sigmabench.harness.studies.selective.document import document, rows
from sigmabench.harness.studies.selective.referral import Choices
from sigmabench.harness.studies.selective.selective_sheets import kept

HALF = Choices(coverage=0.5)


def test_one_image_cannot_be_kept_and_another_referred() -> None:
    with pytest.raises(UserError, match=r"test split has 1 image, too few .* at least 2"):
        findings(of_splits(images=1), SPLITS, HALF, resamples=10)


@pytest.mark.parametrize("formats", [("FP32",), ("FP32", "INT8"), ("DNN_FP32", "DNN_INT8")])
def test_two_images_make_no_false_plural(formats: tuple[str, ...]) -> None:
    records = of_splits(images=2, formats=formats, seeds=(0,), ood=())
    found = findings(records, SPLITS, HALF, resamples=10)
    told = markdown(document(SelectiveStudy(found)))
    for wrong in (" 1 images", " 1 seeds", " 1 classes", " 1 comparisons", " 1 referred images"):
        assert wrong not in told
    bayesian = not formats[0].startswith("DNN_")
    assert ("Nothing is drawn." in kept(found).notes[0]) != bayesian
    assert not rows(found)["outside"]


def test_one_comparison_is_told_in_the_singular() -> None:
    def run(seed: int, noise: float) -> object:
        rng = np.random.default_rng(seed)
        labels = np.arange(200) % 4
        return outputs(np.arange(200) + noise * rng.normal(size=200), labels == 0, labels)

    same = sample({"FP32": [run(s, 9) for s in range(3)], "INT8": [run(s, 9) for s in range(3)]})
    made = comparisons([same], HALF, resamples=50)
    found = replace(found_of(same, HALF, "lenet-digits"), comparisons=tuple(made))
    assert "of 1 comparison 1 changes fewer images" in answer(found)
    assert answer(found).endswith("0 cannot be told from it, 0 change more.")
