"""What a script needs, in one import."""

from __future__ import annotations

from .backends.base import BACKENDS
from .core.errors import UserError
from .core.stopping import StoppingRule
from .data.splits import Split, Splits, hold_out
from .metrics.detection import detections
from .metrics.metric import score
from .posterior import Posterior, initial, moped
from .posterior import load as load_posterior
from .posterior import save as save_posterior
from .posterior.augment import Chain, CropAndFlip, RandomAffine, Symmetries
from .posterior.bayesian_torch import from_bayesian_torch, to_bayesian_torch
from .posterior.laplace_torch import from_laplace_torch
from .posterior.recipe import OneCycle, Piecewise, Recipe
from .posterior.torch_uncertainty import from_torch_uncertainty
from .predict.adaptive import predict_adaptive
from .predict.loop import evaluate, predict
from .quantize.artefact import load as load_artefact
from .quantize.artefact import save as save_artefact
from .quantize.calibrate import calibrate
from .quantize.fold import fold, sampled_parameters
from .quantize.options import Options
from .quantize.ptq import quantize
from .race.networks import NETWORKS
from .training.train import train
from .workload.workload import Workload, resolve_workload

__all__ = [
    "BACKENDS",
    "NETWORKS",
    "Chain",
    "CropAndFlip",
    "OneCycle",
    "Options",
    "Piecewise",
    "Posterior",
    "RandomAffine",
    "Recipe",
    "Split",
    "Splits",
    "StoppingRule",
    "Symmetries",
    "UserError",
    "Workload",
    "calibrate",
    "detections",
    "evaluate",
    "fold",
    "from_bayesian_torch",
    "from_laplace_torch",
    "from_torch_uncertainty",
    "hold_out",
    "initial",
    "load_artefact",
    "load_posterior",
    "moped",
    "predict",
    "predict_adaptive",
    "quantize",
    "resolve_workload",
    "sampled_parameters",
    "save_artefact",
    "save_posterior",
    "score",
    "to_bayesian_torch",
    "train",
]
