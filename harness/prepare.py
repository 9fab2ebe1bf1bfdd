"""From a plan to artefacts: posterior, splits, folding, calibration; each done once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .quantize.artefact import Artefact
from .quantize.calibrate import Calibration, calibrate
from .quantize.fold import FloatModel, fold
from .quantize.ptq import Source, quantize

if TYPE_CHECKING:
    from .data import Splits
    from .plan import Plan
    from .posterior import Posterior

CALIBRATION_IMAGES = 1024


@dataclass(frozen=True, eq=False)
class Prepared:
    """A workload ready to be put into any format.

    Attributes:
        plan: the choices.
        splits: the data.
        model: the folded FP32 posterior.
        calibration: activation ranges, from training images.
        source: what artefacts say of where they come from.
    """

    plan: Plan
    splits: Splits
    model: FloatModel
    calibration: Calibration
    source: Source

    def artefact(self, format: str) -> Artefact:
        """The model in one format."""
        return quantize(self.model, format, self.calibration, self.plan.options, self.source)


def prepare(plan: Plan, posterior: Posterior | None = None) -> Prepared:
    """Load, fold and calibrate.

    Args:
        plan: what is asked for.
        posterior: loaded already; the plan's file otherwise.
    """
    workload = plan.workload
    if posterior is None:
        posterior, _ = workload.load_posterior(plan.posterior)
    splits = workload.splits(plan.data)
    model = fold(workload.model(), posterior, workload.input_shape)
    images = splits.train.batch(slice(0, CALIBRATION_IMAGES))
    return Prepared(
        plan,
        splits,
        model,
        calibrate(model, images, plan.observer, plan.sampled),
        Source(workload.name, workload.version, posterior.content_hash()),
    )
