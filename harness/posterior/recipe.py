"""Training recipes: everything that decides a posterior, besides the data and the seed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any, Literal

from ..core.errors import UserError
from .augment import Augmentation, Chain


@dataclass(frozen=True)
class Piecewise:
    """Learning rate lr · factor, the factor changing at given epochs.

    Factors multiply the *initial* rate, as in the 2021 paper (×0.1 and ×0.01 at epochs 40 and 60
    give 0.1·lr and then 0.01·lr).

    Attributes:
        epochs: increasing epochs, counted from 0, from which the factor of the same place holds.
        factors: one factor for each.
    """

    epochs: tuple[int, ...] = ()
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.epochs) != len(self.factors):
            raise UserError("A piecewise schedule needs one factor for each of its epochs.")

    def factor(self, epoch: float, epochs: int) -> float:
        """The multiplier of lr at fractional `epoch` out of `epochs`."""
        held = 1.0
        for start, factor in zip(self.epochs, self.factors, strict=True):
            if epoch >= start:
                held = factor
        return held


@dataclass(frozen=True)
class OneCycle:
    """Learning rate lr · factor, up and down once along half cosines (Smith & Topin 2018).

    Attributes:
        rise: share of the run spent rising.
        start: factor at the beginning.
        end: factor at the end.
    """

    rise: float = 0.25
    start: float = 0.04
    end: float = 0.0001

    def factor(self, epoch: float, epochs: int) -> float:
        """The multiplier of lr at fractional `epoch` out of `epochs`; it peaks at 1."""
        done = epoch / epochs
        if done < self.rise:
            return _half_cosine(self.start, 1.0, done / self.rise)
        return _half_cosine(1.0, self.end, (done - self.rise) / (1 - self.rise))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adam", "adamw", "sgd"),
    "precision": ("fp32", "bf16"),
}
LATER = (
    "rho_lr",
    "delta",
    "deterministic",
    "sigma_scale",
    "precision",
    "mean_fixed",
    "norm_passes",
    "dropout",
    "dropout_at",
)


@dataclass(frozen=True)
class Recipe:
    """How a posterior is trained. Same recipe, seed and thread count: same posterior, bit for bit.

    Attributes:
        name: what `--recipe` calls it.
        description: one sentence for people.
        optimizer: `adam` or `adamw`, with PyTorch's defaults but for the rate and the decay; `sgd`
            with Nesterov's momentum of 0.9 for everything but ρ, which has Adam.
        weight_decay: of μ; decoupled for `adamw`, a gradient for `sgd`, unused by `adam`.
        lr: initial (piecewise) or peak (one-cycle) learning rate.
        rho_lr: the same for ρ; `lr` if None.
        batch: images per minibatch.
        epochs: passes over the training split; 0 where `delta` makes the posterior.
        schedule: how the rate changes.
        prior_std: s of the prior N(0, s²).
        kl_temperature: κ of `elbo.negative_elbo`; 1 is the ELBO proper.
        kl_warmup: epochs over which κ rises linearly from 0.
        initial_std: σ of every weight at the start (μ starts at the module's own initialisation);
            the least σ of a run that trains from `delta`. Without epochs there is no least σ.
        delta: δ of MOPED: the run starts from a trained deterministic network with σ = δ·|w|
            (`posterior.moped`); None to start afresh.
        deterministic: no σ at all and no KL: weights alone, by the likelihood. The outcome is a
            posterior whose σ is 0: a deterministic twin.
        dropout: probability p by which an input of a layer of `dropout_at` is 0, all others being
            divided by 1 − p; of a convolution whole channels (Srivastava et al. 2014; Tompson et
            al. 2015).
        dropout_at: names of these layers, convolutions and linear ones.
        mean_fixed: σ alone is learned; μ and all else stay, batch-norm statistics too.
        norm_passes: sampled passes over the training split by which batch norm is fitted to the
            sampled weights afterwards (`norms.fitted`).
        sigma_scale: what every σ is multiplied by after training. The variational σ is the KL's and
            the temperature's; the σ whose predictions are best is told by validation data.
        bayesian_biases: whether biases carry a distribution too.
        augmentation: applied to training pixels, or None.
        precision: of the network's arithmetic: `fp32`, or `bf16` by automatic mixed precision,
            channels last. Parameters, their gradients and the loss are float32 in both.
        threads: CPU threads of the run, part of the recipe because float sums depend on it.
    """

    name: str
    description: str
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.0
    lr: float = 1e-3
    rho_lr: float | None = None
    batch: int = 128
    epochs: int = 40
    schedule: Piecewise | OneCycle = Piecewise()
    prior_std: float = 1.0
    kl_temperature: float = 1.0
    kl_warmup: float = 0.0
    initial_std: float = 0.01
    delta: float | None = None
    deterministic: bool = False
    dropout: float = 0.0
    dropout_at: tuple[str, ...] = ()
    mean_fixed: bool = False
    norm_passes: int = 0
    sigma_scale: float = 1.0
    bayesian_biases: bool = True
    augmentation: Augmentation | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 1

    def __post_init__(self) -> None:
        least = {"batch": 1, "epochs": int(self.delta is None), "threads": 1, "norm_passes": 0}
        for field, bound in least.items():
            if getattr(self, field) < bound:
                raise UserError(
                    f"Recipe {self.name!r} has {field} {getattr(self, field)}; give at least "
                    f"{bound}."
                )
        if self.mean_fixed and self.deterministic:
            raise UserError(
                f"Recipe {self.name!r} has mean_fixed and deterministic, and nothing to learn; "
                "leave one of them out."
            )
        if not 0 <= self.dropout < 1 or bool(self.dropout) != bool(self.dropout_at):
            raise UserError(
                f"Recipe {self.name!r} has dropout {self.dropout} and dropout_at "
                f"{self.dropout_at}; give a probability below 1 and names of layers, or neither."
            )
        above_zero = {
            "lr": self.lr,
            "rho_lr": self.rho_lr,
            "prior_std": self.prior_std,
            "initial_std": self.initial_std,
            "delta": self.delta,
            "sigma_scale": self.sigma_scale,
        }
        for field, value in above_zero.items():
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"Recipe {self.name!r} has {field} {value}; give a number above 0.")
        for field in ("kl_temperature", "kl_warmup", "weight_decay"):
            if not 0 <= getattr(self, field) < math.inf:
                raise UserError(
                    f"Recipe {self.name!r} has {field} {getattr(self, field)}; give a finite "
                    "number of at least 0."
                )
        for field, known in CHOICES.items():
            if getattr(self, field) not in known:
                raise UserError(
                    f"Recipe {self.name!r} has {field} {getattr(self, field)!r}; give one of "
                    f"{', '.join(known)}."
                )

    def share(self, count: int) -> Recipe:
        """The same for one of `count` networks that share its epochs, the rest of which is left."""
        return replace(
            self,
            name=f"{self.name}-{count}",
            description=f"{self.description.rstrip('.')}, 1/{count} of the epochs.",
            epochs=max(1, self.epochs // count),
        )

    def temperature(self, epoch: float) -> float:
        """κ at fractional `epoch`, after the linear warm-up."""
        if epoch >= self.kl_warmup:
            return self.kl_temperature
        return self.kl_temperature * epoch / self.kl_warmup

    def as_metadata(self) -> dict[str, Any]:
        """Every field as JSON types; schedule and augmentation also say which kind they are.

        What came later is left out where it is as it was before: older files keep their text.
        """
        facts = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in LATER or getattr(self, field.name) != field.default
        }
        if self.dropout_at:
            facts["dropout_at"] = list(self.dropout_at)  # JSON has no tuples
        return {**facts, **{key: _described(facts[key]) for key in ("schedule", "augmentation")}}


def _described(part: object) -> dict[str, Any] | None:
    """A schedule or an augmentation as JSON types. Lists, since JSON has no tuples."""
    if part is None:
        return None
    if not is_dataclass(part) or isinstance(part, type):
        return {"kind": getattr(part, "__qualname__", type(part).__qualname__)}
    if isinstance(part, Chain):
        return {"kind": "Chain", "steps": [_described(step) for step in part.steps]}
    facts = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(part).items()}
    return {"kind": type(part).__name__, **facts}
