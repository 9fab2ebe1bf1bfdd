"""What a backend is: something that turns an artefact into a predictor.

A backend is an object that satisfies `Backend`, and one line in `BACKENDS`. Ours are in `shipped`,
and compute in a module each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..core.errors import NotFiniteImageError, UserError
from ..core.formats import FORMATS
from ..core.registry import Registry
from ..data.given import as_input
from ..machine.torch_state import plain_torch

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..data.given import Given
    from ..quantize.artefact import Artefact
    from ..quantize.graph import Graph
    from ..quantize.need import Need

MOST_THREADS = 1024  # of a compiled program


@dataclass(frozen=True)
class Traffic:
    """Bytes one MC pass moves, counted from what runs, not measured.

    Attributes:
        mean: μ read (bytes).
        std: σ read as it lies in memory (bytes).
        sampled: sampled weights, written once and read once (bytes).
        activations: activations written and read (bytes), for the whole batch.
    """

    mean: int
    std: int
    sampled: int
    activations: int

    @property
    def total(self) -> int:
        """All of it (bytes per pass)."""
        return self.mean + self.std + self.sampled + self.activations


def check_call(x: Given, graph: Graph, seed: int, passes: range) -> Tensor:
    """Refuse arguments of `Predictor.logits` that cannot be right, before anything is computed.

    Returns:
        The images, as a tensor on the CPU that requires no gradient.

    Raises:
        UserError: wrong dtype or shape, an empty batch, no passes, an index or a seed that the
            noise stream's counter cannot hold.
    """
    images = as_input(x, graph.activations[graph.input].shape)
    if not len(images):
        raise UserError("The batch is empty; give at least one image.")
    if not len(passes) or passes.step != 1 or passes.start < 0 or passes.stop > 2**32:
        raise UserError(
            f"MC passes run from 0 up to at most 2^32 - 1, in steps of 1, not {passes}."
        )
    if not 0 <= seed < 2**64:
        raise UserError(f"A seed lies between 0 and 2^64 - 1; {seed} does not.")
    return images


def check_finite(x: Tensor) -> None:
    """Refuse images with NaN or infinity, where no loop that converts them does.

    Raises:
        NotFiniteImageError: with the number of the first.
    """
    import torch

    low, high = torch.aminmax(x)  # NaN goes through
    if not torch.isfinite(low) or not torch.isfinite(high):
        good = torch.isfinite(x.flatten(1)).all(dim=1)
        raise NotFiniteImageError(int(good.int().argmin()))


def check_threads(threads: int, team: int = 0) -> None:
    """Refuse numbers of threads that no compiled program takes.

    Raises:
        UserError: not 1 to `MOST_THREADS` threads, or a team that leaves some of them over.
    """
    if not 1 <= threads <= MOST_THREADS:
        raise UserError(f"--threads is {threads}; give a number from 1 to {MOST_THREADS}.")
    if team < 0 or (team and threads % team):
        raise UserError(
            f"--team is {team}; give a number that divides the {threads} threads, or 0 for what "
            "measures fastest."
        )


#: From narrow to wide, as backends name them.
_ISAS = (
    "numpy", "torch", "default", "portable", "avx2", "avx2_vnni", "avx512", "avx512_core_vnni",
    "avx512_core_amx",
)  # fmt: skip


def widest(isas: Iterable[str]) -> str:
    """The widest of some instruction sets."""
    return max(isas, key=lambda isa: _ISAS.index(isa) if isa in _ISAS else -1)


Load = TypeVar("Load", bound=Callable[..., Any])


def checked(load: Load) -> Load:
    """`Backend.load` that refuses what no artefact is, and runs in plain PyTorch."""

    @wraps(load)
    def checked_load(self: Backend, artefact: Artefact, threads: int, team: int = 0) -> Predictor:
        from ..quantize.artefact_check import check_object

        if artefact.header.format not in FORMATS or self.supports(artefact.header.format):
            check_object(artefact)
        with plain_torch():
            loaded: Predictor = load(self, artefact, threads, team)
        return loaded

    return checked_load  # type: ignore[return-value]


class Passes(Protocol):
    """What gives the logits of passes. Calls with the same arguments return the same values."""

    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """Logits of the MC passes in `passes` on one batch; pass t draws with MC index t.

        Args:
            x: images, float32 [N, C, H, W], normalised; a tensor or a NumPy array.
            seed: of the noise, 0 <= seed < 2**64.
            passes: MC indices, step 1.

        Returns:
            float32 [len(passes), N, classes].
        """
        ...


class Predictor(Passes, Protocol):
    """A loaded model. Calls with the same arguments return the same values.

    Attributes:
        threads: how many cores a call may use.
        need: the memory that a call takes.
    """

    threads: int
    need: Need

    @property
    def isa(self) -> str:
        """The widest instruction set that the loaded kernels really dispatch to."""
        ...

    @property
    def kernels(self) -> dict[str, str]:
        """What computes each layer, by layer name."""
        ...

    @property
    def draws(self) -> int:
        """Weights drawn since loading (biases not counted); every stochastic pass adds all of the
        model's Bayesian weights."""
        ...

    def sample(self, layer: str, seed: int, mc: int) -> np.ndarray:
        """The weights that pass `mc` uses in `layer`: [O, I, KH, KW], int8 where the format is INT8
        (units of the layer's weight scale), float32 otherwise."""
        ...

    def traffic(self, batch: int) -> Traffic:
        """Bytes one MC pass moves at this batch size."""
        ...


class Backend(Protocol):
    """One way to compute.

    Attributes:
        name: as the CLI spells it.
        description: one line for `sigmabench list`.
        needs: what has to be there for it to run, one line for `sigmabench doctor`.
        noise: what its draws come from: `stream-v1`, or `normal` and `normal-torch` for the
            floats' own generators.
    """

    name: str
    description: str
    needs: str

    @property
    def noise(self) -> str: ...

    def unavailable(self) -> str | None:
        """None if it can run here, else the reason and the way out, one sentence."""
        ...

    def supports(self, format: str) -> bool:
        """Whether artefacts of this format run on it."""
        ...

    def claimed_isa(self) -> str:
        """The instruction set its widest kernels should run on this CPU; an audit holds
        `Predictor.isa` against it."""
        ...

    def load(self, artefact: Artefact, threads: int, team: int = 0) -> Predictor:
        """A predictor for the artefact.

        Args:
            artefact: the model.
            threads: how many cores a call may use.
            team: how many of them share each pass, where the backend can do either; 0 for what
                measures fastest. No result depends on it.

        Raises:
            UserError: the backend is unavailable here, the format is not supported, or the artefact
                is none that can be computed (`checked`).
        """
        ...


BACKENDS: Registry[Backend] = Registry(
    "backend",
    {
        "float": "sigmabench.harness.backends.shipped:FLOAT",
        "reference": "sigmabench.harness.backends.shipped:REFERENCE",
        "native": "sigmabench.harness.backends.shipped:NATIVE",
        "drawn": "sigmabench.harness.backends.shipped:DRAWN",
    },
    lambda thing: all(hasattr(thing, part) for part in ("description", "needs", "load")),
)
