"""One training run in memory: its weights, its optimiser, its random generators, its epochs.

One draw of the weights serves a minibatch. Three seeded CPU generators (weight noise, order of
images, augmentation) and PyTorch's global one (initialisation, dropout) are the only sources of
chance, and all four are part of a snapshot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ..data import Split
from ..errors import UserError
from ..workload import Workload
from .elbo import gaussian_kl, negative_elbo
from .posterior import Posterior, bayesian_parameters, initial
from .recipe import Recipe


@dataclass
class Run:
    """A training run between two epochs. μ and ρ of all weights are two flat vectors."""

    recipe: Recipe
    module: nn.Module
    shapes: dict[str, torch.Size]
    mean: Tensor
    rho: Tensor
    state: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    noise: torch.Generator
    order: torch.Generator
    augmentation: torch.Generator
    epoch: int = 0
    loss: float = float("nan")

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
        if start is None:
            names = bayesian_parameters(module, biases=recipe.bayesian_biases)
            start = initial(module, recipe.initial_std, bayesian=names)
        else:
            start.validate(module)
        mean = torch.cat([m.flatten() for m in start.mean.values()]).to(device)
        rho = torch.cat([r.flatten() for r in start.rho.values()]).to(device)
        trained = dict(module.named_parameters())
        state = {
            name: value.to(device, copy=True).requires_grad_(name in trained)
            for name, value in start.state.items()
        }
        leaves = [mean.requires_grad_(), rho.requires_grad_()]
        leaves += [value for value in state.values() if value.requires_grad]
        return cls(
            recipe,
            module.train(),
            {name: value.shape for name, value in start.mean.items()},
            mean,
            rho,
            state,
            _optimizer(recipe, leaves),
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
        total = 0.0
        for step, index in enumerate(order.split(self.recipe.batch)):
            loss = self._step(split, index, self.epoch + step / self.steps(split))
            total += loss * len(index)
            report(loss)
        self.loss = total / len(split)
        self.epoch += 1

    def _step(self, split: Split, index: Tensor, epoch: float) -> float:
        recipe, device = self.recipe, self.mean.device
        rate = recipe.lr * recipe.schedule.factor(epoch, recipe.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        pixels = split.pixels(index).to(device)
        if recipe.augmentation is not None:
            pixels = recipe.augmentation(pixels, self.augmentation)
        images, labels = split.normalise(pixels), split.labels[index].to(device)
        std = functional.softplus(self.rho)
        noise = torch.randn(self.mean.shape, generator=self.noise).to(device)
        weights = self._tree(torch.addcmul(self.mean, std, noise))
        logits = functional_call(self.module, {**self.state, **weights}, (images,))
        kl = gaussian_kl(self.mean, std, 0.0, recipe.prior_std)
        loss = negative_elbo(logits, labels, kl, len(split), recipe.temperature(epoch))
        if not torch.isfinite(loss):
            raise UserError(
                f"Training diverged in epoch {self.epoch + 1} (the loss is {loss.item()}); "
                "lower the recipe's lr."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

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
            "optimizer": self.optimizer.state_dict(),
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
        self.optimizer.load_state_dict(snapshot["optimizer"])
        self.noise.set_state(snapshot["noise"])
        self.order.set_state(snapshot["order"])
        self.augmentation.set_state(snapshot["augmentation"])
        torch.set_rng_state(snapshot["global"])


def _optimizer(recipe: Recipe, leaves: list[Tensor]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(leaves, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.Adam(leaves, lr=recipe.lr)


def _generator(seed: int, purpose: str) -> torch.Generator:
    digest = hashlib.sha256(f"sigmabench/train/{purpose}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
