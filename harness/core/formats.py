"""Numeric formats: what μ, σ, the sampled weights and the arithmetic are made of."""

from __future__ import annotations

from dataclasses import dataclass

from .registry import Registry


@dataclass(frozen=True)
class Format:
    """A numeric format.

    Attributes:
        name: as in the papers (`INT8_SIGMA4`), or after their manner (`INT4_SIGMA4`).
        mean_bits: bits of a stored μ; of 4, μ lies on every k-th step of an int8 grid.
        sigma_bits: bits of a stored σ; 0 for a deterministic twin, which is the mean network and
            has no σ.
        arithmetic: `fp32`, `bf16` or `int8`: the type of sampled weights and of the products.
    """

    name: str
    mean_bits: int
    sigma_bits: int
    arithmetic: str

    @property
    def bayesian(self) -> bool:
        """Whether there is anything to sample."""
        return self.sigma_bits > 0

    @property
    def quantized(self) -> bool:
        """Whether it computes in int8."""
        return self.arithmetic == "int8"

    @property
    def weight_bits(self) -> int:
        """Bits that a weight takes on disk: the closed form of the model-size table."""
        return self.mean_bits + self.sigma_bits


def _int8(name: str, sigma_bits: int) -> Format:
    return Format(name, 8, sigma_bits, "int8")


FP32 = Format("FP32", 32, 32, "fp32")
BF16 = Format("BF16", 16, 16, "bf16")
INT8 = _int8("INT8", 8)
INT8_SIGMA1 = _int8("INT8_SIGMA1", 1)
INT8_SIGMA2 = _int8("INT8_SIGMA2", 2)
INT8_SIGMA3 = _int8("INT8_SIGMA3", 3)
INT8_SIGMA4 = _int8("INT8_SIGMA4", 4)
INT8_SIGMA5 = _int8("INT8_SIGMA5", 5)
INT8_SIGMA6 = _int8("INT8_SIGMA6", 6)
INT8_SIGMA7 = _int8("INT8_SIGMA7", 7)
INT4 = Format("INT4", 4, 8, "int8")
INT4_SIGMA4 = Format("INT4_SIGMA4", 4, 4, "int8")
INT4_SIGMA2 = Format("INT4_SIGMA2", 4, 2, "int8")
INT4_SIGMA1 = Format("INT4_SIGMA1", 4, 1, "int8")
DNN_FP32 = Format("DNN_FP32", 32, 0, "fp32")
DNN_INT8 = _int8("DNN_INT8", 0)

FORMATS: Registry[Format] = Registry(
    "format",
    {
        name: f"sigmabench.harness.core.formats:{name}"
        for name in (
            "FP32",
            "BF16",
            "INT8",
            "INT8_SIGMA4",
            "INT8_SIGMA2",
            "INT8_SIGMA1",
            "INT8_SIGMA7",
            "INT8_SIGMA6",
            "INT8_SIGMA5",
            "INT8_SIGMA3",
            "DNN_FP32",
            "DNN_INT8",
            "INT4",
            "INT4_SIGMA4",
            "INT4_SIGMA2",
            "INT4_SIGMA1",
        )
    },
    lambda thing: isinstance(thing, Format),
)

#: What `sigmabench run` measures unless told otherwise: the paper's Table 1, and BF16.
DEFAULT_FORMATS = ("FP32", "BF16", "INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")


def reference_of(format: str) -> str | None:
    """The format that one is compared with: FP32 with the deterministic network, others with FP32,
    deterministic ones with DNN_FP32."""
    if format == "DNN_FP32":
        return None
    return "FP32" if FORMATS.get(format).bayesian and format != "FP32" else "DNN_FP32"
