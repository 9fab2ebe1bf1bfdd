"""The mean-field Gaussian posterior: w ~ N(μ, σ²), σ = softplus(ρ), as data beside a module.

A posterior is two trees of tensors, not a network. A Monte Carlo (MC) pass is

    torch.func.functional_call(module, {**posterior.state, **posterior.sample(generator)}, (x,))

over any ordinary `torch.nn.Module`. Definitions: docs/spec.md, "Posterior".
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.errors import UserError
from ..core.escape import is_text
from ..machine.torch_state import plain
from .elbo import gaussian_kl

BAYESIAN_LAYERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
"""Layer types whose weights may carry a distribution. Normalisation layers never do."""
SAMPLED_LAYERS = (nn.Conv2d, nn.Linear)
"""Those that every format samples; the others stay float in a quantized network, as their mean."""


def inverse_softplus(std: Tensor) -> Tensor:
    """ρ with softplus(ρ) = σ: ρ = σ + log(1 − exp(−σ)), computed in float64.

    Args:
        std: σ ≥ 0, any shape. σ = 0 gives ρ = −inf, and softplus(−inf) is exactly 0 again.

    Returns:
        ρ as float32, of the same shape.
    """
    wide = std.double()
    return (wide + torch.log(-torch.expm1(-wide))).float()


@dataclass(frozen=True, eq=False)
class Posterior:
    """A mean-field Gaussian over a module's weights. All tensors live on the CPU.

    σ = 0 is allowed, as ρ = −inf: such a weight is *frozen*, a constant rather than a random
    variable. It is sampled as its mean and contributes nothing to the KL divergence.

    Attributes:
        mean: parameter name to μ, float32, in the module's order of parameters.
        rho: the same names, in the same order, to ρ, float32, of μ's shape.
        state: the module's other parameters and its buffers (batch-norm statistics and the like)
            by name; floating-point ones are float32, integer ones keep their type.
    """

    mean: dict[str, Tensor]
    rho: dict[str, Tensor]
    state: dict[str, Tensor]

    def __post_init__(self) -> None:
        if list(self.mean) != list(self.rho):
            raise UserError("A posterior needs one ρ for each μ, under the same names in order.")

    @property
    def parameter_count(self) -> int:
        """Number of Bayesian weights (each has a μ and a σ)."""
        return sum(mean.numel() for mean in self.mean.values())

    def std(self) -> dict[str, Tensor]:
        """σ = softplus(ρ) per parameter name, float32."""
        return {name: functional.softplus(rho) for name, rho in self.rho.items()}

    def scaled(self, factor: float) -> Posterior:
        """The same with every σ times a factor ≥ 0; a factor of 1 changes no bit."""
        if factor == 1.0:
            return self
        return replace(
            self, rho={name: inverse_softplus(factor * std) for name, std in self.std().items()}
        )

    @plain
    def sample(self, generator: torch.Generator) -> dict[str, Tensor]:
        """One draw w = μ + σ·ε, ε ~ N(0, 1), per parameter name, float32.

        Args:
            generator: CPU generator; the draws are taken from it in the order of `mean`.
        """
        draws = {}
        for name, mean in self.mean.items():
            noise = torch.randn(mean.shape, generator=generator)
            draws[name] = torch.addcmul(mean, functional.softplus(self.rho[name]), noise)
        return draws

    def kl(self, prior_mean: float = 0.0, prior_std: float = 1.0) -> float:
        """KL(N(μ, σ²) ‖ N(prior_mean, prior_std²)) in nats, summed over all weights (σ > 0)."""
        return sum(
            float(gaussian_kl(mean.double(), std.double(), prior_mean, prior_std))
            for mean, std in zip(self.mean.values(), self.std().values(), strict=True)
        )

    def content_hash(self) -> str:
        """SHA-256, hexadecimal, over every tensor's role, name, type, shape and bytes.

        It does not depend on the order of names, so it survives any file layout.
        """
        digest = hashlib.sha256()
        for role, tree in (("mean", self.mean), ("rho", self.rho), ("state", self.state)):
            for name in sorted(tree):
                tensor = tree[name].contiguous()
                digest.update(f"{role}/{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def load_into(self, module: nn.Module) -> nn.Module:
        """Copy μ and `state` into `module`, in place: its deterministic twin (the mean network)."""
        self.validate(module)
        module.load_state_dict({**self.state, **self.mean})
        return module

    def check_types(self, source: str = "the posterior") -> None:
        """Check that every tensor is of a type that a posterior holds, and every name is text.

        Args:
            source: what the messages call this posterior, such as its file's path.

        Raises:
            UserError: one is not; with its name.
        """
        drawn = ((torch.float32,), "float32")
        kept = ((torch.float32, *_WHOLE), "float32, integers or booleans")
        trees = ((self.mean, drawn), (self.rho, drawn), (self.state, kept))
        for tree, (allowed, wanted) in trees:
            for name, tensor in tree.items():
                if not is_text(name):
                    raise UserError(f"The name {name!a} in {source} is not text; rename it.")
                if tensor.dtype not in allowed:
                    kind = str(tensor.dtype).removeprefix("torch.")
                    raise UserError(f"{name} in {source} is {kind}, not {wanted}; {_RETRAIN}")

    def validate(self, module: nn.Module | None = None, source: str = "the posterior") -> None:
        """Check the values and, given a module, that names and shapes are the module's.

        Args:
            module: the network this posterior is for.
            source: what the messages call this posterior, such as its file's path.

        Raises:
            UserError: a tensor is missing, unexpected or of another shape; μ or `state` is not
                finite; σ is NaN or infinite; two layers share a tensor that has a σ.
        """
        self.check_types(source)
        for name, mean in self.mean.items():
            _check_values(name, mean, self.rho[name], source)
        for name, tensor in self.state.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                what = f"NaN; {_RETRAIN}" if tensor.isnan().any() else f"infinity; {_INFINITE}"
                raise UserError(f"{name} in {source} holds {what}")
        if module is not None:
            _check_names_and_shapes(module, {**self.mean, **self.state}, source)
            check_untied(module, (n for n, rho in self.rho.items() if torch.isfinite(rho).any()))


_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_RETRAIN = "train or export the posterior again."
_INFINITE = (
    "where the network is built so, such as with a bound that bounds nothing, put the largest "
    "finite number (`torch.finfo(torch.float32).max`) in its place in the module; where it is not, "
    "train or export the posterior again."
)


def _check_values(name: str, mean: Tensor, rho: Tensor, source: str) -> None:
    if mean.shape != rho.shape:
        raise UserError(
            f"μ and ρ of {name} in {source} have shapes {tuple(mean.shape)} and "
            f"{tuple(rho.shape)}, which must be equal; {_RETRAIN}"
        )
    if not torch.isfinite(mean).all():
        raise UserError(f"μ of {name} in {source} holds NaN or infinity; {_RETRAIN}")
    if not torch.isfinite(functional.softplus(rho)).all():
        raise UserError(f"σ of {name} in {source} holds NaN or infinity; {_RETRAIN}")


def _check_names_and_shapes(module: nn.Module, found: Mapping[str, Tensor], source: str) -> None:
    expected = module.state_dict()
    way_out = "use the posterior that was trained for this network."
    for name, tensor in expected.items():
        if name not in found:
            raise UserError(f"{name} of the network is missing from {source}; {way_out}")
        if found[name].shape != tensor.shape:
            raise UserError(
                f"{name} in {source} has shape {tuple(found[name].shape)} and the network's has "
                f"{tuple(tensor.shape)}; {way_out}"
            )
    for name in found:
        if name not in expected:
            raise UserError(f"{name} in {source} is not a tensor of the network; {way_out}")


def check_untied(module: nn.Module, names: Iterable[str]) -> None:
    """Refuse parameters that two layers share: each layer draws and learns its own.

    Args:
        module: the network.
        names: of the parameters that are looked at.

    Raises:
        UserError: one is shared; the message says what the layers call it.
    """
    called: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        called.setdefault(id(parameter), []).append(name)
    wanted = set(names)
    for several in called.values():
        if len(several) > 1 and wanted & set(several):
            first, second = several[:2]
            raise UserError(
                f"{first} and {second} are one tensor (tied weights), and each layer draws weights "
                "of its own; give the second layer a copy in the module "
                f"(`{second} = nn.Parameter({first}.detach().clone())`)."
            )


def from_std(
    mean: Mapping[str, Tensor], std: Mapping[str, Tensor], state: Mapping[str, Tensor] | None = None
) -> Posterior:
    """A posterior from μ and σ trees.

    Args:
        mean: parameter name to μ.
        std: the same names to σ ≥ 0, of μ's shapes.
        state: other parameters and buffers.

    Raises:
        UserError: the names differ, or σ is negative, NaN or infinite.
    """
    if set(mean) != set(std):
        different = sorted(set(mean) ^ set(std))[0]
        raise UserError(f"{different} has a μ or a σ but not both; give both trees the same names.")
    for name, value in std.items():
        if not (torch.isfinite(value).all() and (value >= 0).all()):
            raise UserError(
                f"σ of {name} holds a negative, NaN or infinite value; a standard deviation is "
                "finite and at least 0."
            )
    posterior = Posterior(
        {name: _own(value) for name, value in mean.items()},
        {name: inverse_softplus(std[name].detach().cpu()) for name in mean},
        {name: _own(value) for name, value in (state or {}).items()},
    )
    posterior.validate()
    return posterior


def bayesian_parameters(
    module: nn.Module,
    *,
    biases: bool = True,
    layers: tuple[type[nn.Module], ...] = BAYESIAN_LAYERS,
) -> list[str]:
    """Names of the parameters that carry a distribution, in the module's order.

    These are the weights of convolution and linear layers, or of other `layers`, and, unless
    `biases` is false, their biases; normalisation parameters never.
    """
    chosen: set[int] = set()
    for layer in module.modules():
        if isinstance(layer, layers):
            chosen.add(id(layer.weight))
            if biases and layer.bias is not None:
                chosen.add(id(layer.bias))
    return [name for name, parameter in module.named_parameters() if id(parameter) in chosen]


@plain
def moped(
    module: nn.Module,
    delta: float,
    *,
    floor: float = 0.0,
    bayesian: Collection[str] | None = None,
) -> Posterior:
    """MOPED: μ = pretrained w, σ = δ·|w| (Krishnan et al. 2020, "Specifying weight priors in
    Bayesian deep neural networks with empirical Bayes", AAAI).

    Args:
        module: the pretrained network; it is not changed.
        delta: δ ≥ 0.
        floor: least σ; with the default, weights that are exactly 0 are frozen at 0.
        bayesian: names to make Bayesian; `bayesian_parameters(module)` by default.
    """
    if not delta >= 0 or delta == float("inf"):
        raise UserError(f"MOPED's delta is {delta}; give a finite number of at least 0.")
    names = _chosen(module, bayesian)
    tensors = module.state_dict()
    mean = {name: tensors[name] for name in names}
    std = {name: (delta * value.double().abs()).clamp_min(floor) for name, value in mean.items()}
    return from_std(mean, std, _others(module, names))


@plain
def initial(
    module: nn.Module, std: float = 0.01, *, bayesian: Collection[str] | None = None
) -> Posterior:
    """The starting point of training from scratch: μ = the module's initial w, σ = `std` > 0."""
    if not 0 < std < float("inf"):
        raise UserError(f"The initial σ is {std}; give a finite number above 0.")
    names = _chosen(module, bayesian)
    tensors = module.state_dict()
    mean = {name: tensors[name] for name in names}
    return from_std(
        mean, {n: torch.full_like(m, std) for n, m in mean.items()}, _others(module, names)
    )


def check_has_numbers(module: nn.Module) -> None:
    """Refuse a network whose tensors are on PyTorch's meta device.

    Raises:
        UserError: one of them is, with its name.
    """
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_meta:
            raise UserError(
                f"{name} of the network is on the meta device and holds no numbers; build the "
                "network on the CPU and load its weights."
            )


def _chosen(module: nn.Module, bayesian: Collection[str] | None) -> list[str]:
    check_has_numbers(module)
    if bayesian is None:
        names = bayesian_parameters(module)
    else:
        known = [name for name, _ in module.named_parameters()]
        for name in bayesian:
            if name not in known:
                raise UserError(f"{name} is not a parameter of the network; known: {known}.")
        names = [name for name in known if name in bayesian]
    if not names:
        raise UserError("The network has no convolution or linear layer to make Bayesian.")
    check_untied(module, names)
    return names


def _others(module: nn.Module, names: list[str]) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if name not in names}


def _own(value: Tensor) -> Tensor:
    """A detached, contiguous CPU copy; floating-point values as float32."""
    copy = value.detach().to("cpu", copy=True).contiguous()
    return copy.float() if copy.is_floating_point() else copy
