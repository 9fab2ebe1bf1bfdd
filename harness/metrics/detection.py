"""Out-of-distribution detection by an uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from ..core.errors import UserError
from ..machine.torch_state import plain
from ..predict.predicted import Summary


@dataclass(frozen=True)
class Detection:
    """How well a score tells images from outside the distribution (the positives) from others.

    Attributes:
        auroc: area under the ROC curve, in 0 … 1; 0.5 is chance and a tie counts one half.
        aupr: area under the precision–recall curve as average precision, in 0 … 1; chance is
            `prevalence`.
        prevalence: share of the images that are out of distribution, in 0 … 1.
    """

    auroc: float
    aupr: float
    prevalence: float


def detection(inside: Tensor, outside: Tensor) -> Detection:
    """Score a detector (Hendrycks and Gimpel, ICLR 2017, section 2).

    Args:
        inside: [N] scores of images of the distribution.
        outside: [M] scores of images outside of it; larger is to mean farther outside.

    Raises:
        UserError: either is empty, is not one-dimensional or holds NaN or an infinity.
    """
    for name, given in (("in-distribution", inside), ("out-of-distribution", outside)):
        if given.ndim != 1 or len(given) == 0 or not bool(torch.isfinite(given).all()):
            raise UserError(
                f"The {name} scores have shape {tuple(given.shape)} or are not all finite; give "
                "one finite score an image, of at least one image."
            )
    scores = torch.cat([inside.double(), outside.double()]).numpy()
    is_outside = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))]).numpy()
    return Detection(
        auroc=float(roc_auc_score(is_outside, scores)),
        aupr=float(average_precision_score(is_outside, scores)),
        prevalence=len(outside) / len(scores),
    )


@plain
def detections(inside: Summary, outside: Summary) -> dict[str, Detection | None]:
    """Detection by predictive entropy and by mutual information.

    Args:
        inside: over images of the distribution.
        outside: of the same network and T, over images outside of it.

    Returns:
        `entropy` and `mutual_information`, the latter None where it is not defined.

    Raises:
        UserError: the summaries differ in T or in classes, or one has no image.
    """
    if (inside.T, inside.classes) != (outside.T, outside.classes):
        raise UserError(
            f"The in-distribution summary has T = {inside.T} and {inside.classes} classes, the "
            f"out-of-distribution one T = {outside.T} and {outside.classes}; predict both alike."
        )
    mutual = None
    if inside.mutual_information is not None and outside.mutual_information is not None:
        mutual = detection(inside.mutual_information, outside.mutual_information)
    return {"entropy": detection(inside.entropy, outside.entropy), "mutual_information": mutual}
