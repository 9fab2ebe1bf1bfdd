"""The backends that ship, as far as can be said of them before anything is computed.

What computes is imported when an artefact is loaded: listing names, and telling the key of a cell,
need no PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import native
from ..core.errors import UserError
from ..core.formats import FORMATS
from .base import checked

if TYPE_CHECKING:
    from ..quantize.artefact import Artefact
    from .base import Predictor


class FloatBackend:
    """See `Backend`."""

    name = "float"
    description = "FP32 and BF16: oneDNN, normals drawn in the kernels' layout; or stacked PyTorch"
    needs = "PyTorch; much faster with the compiled extension and onednn-cpu-gomp"

    @property
    def noise(self) -> str:
        """See `Backend`."""
        return native.noise_source()

    def unavailable(self) -> str | None:
        """It runs wherever PyTorch does."""
        return None

    def supports(self, format: str) -> bool:
        """The float formats."""
        return not FORMATS.get(format).quantized

    def claimed_isa(self) -> str:
        """See `Backend`."""
        import torch

        return torch.backends.cpu.get_cpu_capability().lower()

    @checked
    def load(self, artefact: Artefact, threads: int, team: int = 0) -> Predictor:
        """See `Backend.load`."""
        from .float import load

        if not self.supports(artefact.header.format):
            raise UserError(
                f"The float backend computes FP32 and BF16, not {artefact.header.format}; use "
                "--backend native or reference."
            )
        return load(artefact, threads, team)


class ReferenceBackend:
    """See `Backend`."""

    name = "reference"
    description = "int8 in numpy integers: slow, defines the bits"
    needs = "numpy"
    noise = "stream-v1"

    def unavailable(self) -> str | None:
        """It runs anywhere."""
        return None

    def supports(self, format: str) -> bool:
        """The int8 formats."""
        return FORMATS.get(format).quantized

    def claimed_isa(self) -> str:
        """See `Backend`."""
        return "numpy"

    @checked
    def load(self, artefact: Artefact, threads: int, team: int = 0) -> Predictor:
        """See `Backend.load`; `threads` makes no difference."""
        from .reference import load

        if not self.supports(artefact.header.format):
            raise UserError(
                f"The {self.name} backend computes int8 formats, not {artefact.header.format}; use "
                "--backend float."
            )
        return load(artefact)


class NativeBackend:
    """See `Backend`."""

    name = "native"
    description = "int8 on oneDNN (AMX, VNNI), weights sampled in the kernels' layout"
    needs = "Linux on x86-64, the compiled extension and onednn-cpu-gomp"
    noise = "stream-v1"

    def unavailable(self) -> str | None:
        """None if the extension and oneDNN load, else the reason."""
        return native.unavailable()

    def supports(self, format: str) -> bool:
        """The int8 formats."""
        return FORMATS.get(format).quantized

    def claimed_isa(self) -> str:
        """The widest of oneDNN's exact int8 instruction sets that the CPU has."""
        from ..machine.describe import instruction_sets

        has = instruction_sets()
        needs = {"avx512_core_amx": "amx_int8", "avx512_core_vnni": "avx512_vnni"}
        needs["avx2_vnni"] = "avx_vnni"
        return next((isa for isa, flag in needs.items() if flag in has), "portable")

    @checked
    def load(self, artefact: Artefact, threads: int, team: int = 0) -> Predictor:
        """See `Backend.load`."""
        from .native import load

        reason = self.unavailable()
        if reason is not None:
            raise UserError(f"The native backend cannot run here: {reason}")
        header = artefact.header
        if not self.supports(header.format):
            raise UserError(
                f"The native backend computes int8 formats, not {header.format}; use "
                "--backend float."
            )
        if not header.compiled_sampler:
            raise UserError(
                "The native backend draws weights from an affine σ grid, rounded to nearest, not "
                f"from this artefact's ({header.sigma_grid}, {header.rounding}); use --backend "
                "drawn."
            )
        return load(artefact, threads, team)


class DrawnBackend(ReferenceBackend):
    """See `Backend`."""

    name = "drawn"
    description = "int8 with any σ grid and rounding, or float; drawn in numpy, then compiled"
    needs = "numpy; much faster with what `native` needs"

    def supports(self, format: str) -> bool:
        """All formats."""
        return format in FORMATS

    def claimed_isa(self) -> str:
        """Of the int8 arithmetic."""
        return super().claimed_isa() if native.unavailable() else NATIVE.claimed_isa()

    @checked
    def load(self, artefact: Artefact, threads: int, team: int = 0) -> Predictor:
        """See `Backend.load`; `team` makes no difference."""
        from .drawn import load

        if artefact.format.quantized and native.unavailable():
            return super().load(artefact, threads)
        return load(artefact, threads)


FLOAT = FloatBackend()
REFERENCE = ReferenceBackend()
NATIVE = NativeBackend()
DRAWN = DrawnBackend()
