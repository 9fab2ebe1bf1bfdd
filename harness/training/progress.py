"""One training run in memory: its weights, its optimiser, its random generators, its epochs.

One draw of the weights serves a minibatch. Three seeded CPU generators (weight noise, order of
images, augmentation) and PyTorch's global one (initialisation, dropout) are the only sources of
chance, and all four are part of a snapshot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ..core.errors import UserError
from ..data.splits import Split
from ..posterior.elbo import gaussian_kl, negative_elbo
from ..posterior.posterior import (
    SAMPLED_LAYERS,
    Posterior,
    bayesian_parameters,
    check_untied,
    initial,
    moped,
)
from ..posterior.recipe import Recipe
from ..workload.workload import Workload
from .drop_inputs import drop_inputs

MOMENTUM = 0.9


@dataclass
class Run:
    """A training run between two epochs. μ and ρ of all weights are two flat vectors."""

    recipe: Recipe
    module: nn.Module
    shapes: dict[str, torch.Size]
    mean: Tensor
    rho: Tensor
    state: dict[str, Tensor]
    optimizers: list[torch.optim.Optimizer]
    noise: torch.Generator
    order: torch.Generator
    augmentation: torch.Generator
    epoch: int = 0
    loss: float = float("nan")
    log: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        workload: Workload,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        start: Posterior | None,
    ) -> Run:
        torch.manual_seed(seed)
        module = workload.model().to(device)
        drop_inputs(module, recipe)
        start = _start(recipe, module, start)
        check_untied(module, (name for name, _ in module.named_parameters()))
        mean = torch.cat([m.flatten() for m in start.mean.values()]).to(device)
        rho = torch.cat([r.flatten() for r in start.rho.values()]).to(device)
        trained = dict(module.named_parameters())
        state = {
            name: value.to(device, copy=True).requires_grad_(
                name in trained and not recipe.mean_fixed
            )
            for name, value in start.state.items()
        }
        mean.requires_grad_(not recipe.mean_fixed)
        rho.requires_grad_(not recipe.deterministic)
        others = [value for value in state.values() if value.requires_grad]
        return cls(
            recipe,
            module.train(not recipe.mean_fixed),
            {name: value.shape for name, value in start.mean.items()},
            mean,
            rho,
            state,
            _optimizers(recipe, mean, rho, others),
            _generator(seed, "noise"),
            _generator(seed, "order"),
            _generator(seed, "augmentation"),
        )

    def steps(self, split: Split) -> int:
        """Minibatches in an epoch."""
        return -(-len(split) // self.recipe.batch)

    def train_epoch(self, split: Split, report: Callable[[float], None]) -> None:
        """One pass over `split` in a fresh order; the last minibatch may be smaller.

        Args:
            split: the training split.
            report: called with the loss after every step.
        """
        order = torch.randperm(len(split), generator=self.order)
        total = total_nll = 0.0
        for step, index in enumerate(order.split(self.recipe.batch)):
            loss, nll = self._step(split, index, self.epoch + step / self.steps(split))
            total += loss * len(index)
            total_nll += nll * len(index)
            report(loss)
        self.loss = total / len(split)
        self.epoch += 1
        self.log.append(
            {"epoch": self.epoch, "loss": self.loss, "nll_nats": total_nll / len(split)}
        )

    def _step(self, split: Split, index: Tensor, epoch: float) -> tuple[float, float]:
        recipe, device = self.recipe, self.mean.device
        factor = recipe.schedule.factor(epoch, recipe.epochs)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        pixels = split.pixels(index).to(device)
        if recipe.augmentation is not None:
            pixels = recipe.augmentation(pixels, self.augmentation)
        images, labels = split.normalise(pixels), split.labels[index].to(device)
        std = functional.softplus(self.rho)
        logits = self._logits(images, std)
        nll = functional.cross_entropy(logits, labels)
        loss = nll
        if not recipe.deterministic:
            kl = gaussian_kl(self.mean, std, 0.0, recipe.prior_std)
            loss = negative_elbo(logits, labels, kl, len(split), recipe.temperature(epoch))
        if not torch.isfinite(loss):
            raise UserError(
                f"Training diverged in epoch {self.epoch + 1} (the loss is {loss.item()}); "
                "lower the recipe's lr."
            )
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.item(), nll.item()

    def _logits(self, images: Tensor, std: Tensor) -> Tensor:
        """One draw of the weights, or the weights themselves, on a minibatch; float32."""
        flat = self.mean
        if not self.recipe.deterministic:
            noise = torch.randn(self.mean.shape, generator=self.noise).to(self.mean.device)
            flat = torch.addcmul(self.mean, std, noise)
        weights = {**self.state, **self._tree(flat)}
        if self.recipe.precision == "fp32":
            return functional_call(self.module, weights, (images,))
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16):
            return functional_call(self.module, weights, (images,)).float()

    def _tree(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split([shape.numel() for shape in self.shapes.values()])
        return {n: p.view(s) for (n, s), p in zip(self.shapes.items(), parts, strict=True)}

    def posterior(self) -> Posterior:
        """The posterior as it stands, copied to the CPU."""

        def copied(tree: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.detach().to("cpu", copy=True) for name, value in tree.items()}

        found = Posterior(
            copied(self._tree(self.mean)), copied(self._tree(self.rho)), copied(self.state)
        )
        found.validate()
        return found

    def snapshot(self) -> dict[str, Any]:
        """Everything that changes during training, as tensors and plain values."""
        return {
            "epoch": self.epoch,
            "loss": self.loss,
            "mean": self.mean.detach().cpu(),
            "rho": self.rho.detach().cpu(),
            "state": {name: value.detach().cpu() for name, value in self.state.items()},
            "log": self.log,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "noise": self.noise.get_state(),
            "order": self.order.get_state(),
            "augmentation": self.augmentation.get_state(),
            "global": torch.get_rng_state(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take over what `snapshot` returned."""
        self.epoch, self.loss = snapshot["epoch"], snapshot["loss"]
        with torch.no_grad():
            self.mean.copy_(snapshot["mean"])
            self.rho.copy_(snapshot["rho"])
            for name, value in self.state.items():
                value.copy_(snapshot["state"][name])
        self.log = list(snapshot["log"])
        for optimizer, state in zip(self.optimizers, snapshot["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.noise.set_state(snapshot["noise"])
        self.order.set_state(snapshot["order"])
        self.augmentation.set_state(snapshot["augmentation"])
        torch.set_rng_state(snapshot["global"])


def _start(recipe: Recipe, module: nn.Module, start: Posterior | None) -> Posterior:
    """The posterior before the first step."""
    if start is not None:
        start.validate(module)
        if recipe.delta is None:
            return start
        module = start.load_into(module)
    names = bayesian_parameters(module, biases=recipe.bayesian_biases, layers=SAMPLED_LAYERS)
    if recipe.delta is not None:
        floor = recipe.initial_std if recipe.epochs else 0.0  # no gradient moves a σ of 0
        return moped(module, recipe.delta, floor=floor, bayesian=names)
    if recipe.deterministic:
        return moped(module, 0.0, bayesian=names)
    return initial(module, recipe.initial_std, bayesian=names)


def _optimizers(
    recipe: Recipe, mean: Tensor, rho: Tensor, others: list[Tensor]
) -> list[torch.optim.Optimizer]:
    """One for all, or with `sgd` a second one for ρ, whose gradients are of another size."""
    decay = 0.0 if recipe.optimizer == "adam" else recipe.weight_decay
    std = {"params": [rho], "lr": recipe.rho_lr or recipe.lr}
    if recipe.mean_fixed:
        return _rated([torch.optim.Adam([std])])
    groups: list[dict[str, Any]] = [{"params": [mean], "weight_decay": decay}]
    if others:
        groups.append({"params": others})
    found: list[torch.optim.Optimizer]
    if recipe.optimizer == "sgd":
        found = [torch.optim.SGD(groups, lr=recipe.lr, momentum=MOMENTUM, nesterov=True)]
        if not recipe.deterministic:
            found.append(torch.optim.Adam([std]))
    else:
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        groups += [] if recipe.deterministic else [std]
        found = [kind(groups, lr=recipe.lr, weight_decay=0.0)]
    return _rated(found)


def _rated(optimizers: list[torch.optim.Optimizer]) -> list[torch.optim.Optimizer]:
    """The same, each group with the rate that its schedule multiplies."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _generator(seed: int, purpose: str) -> torch.Generator:
    digest = hashlib.sha256(f"sigmabench/train/{purpose}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
