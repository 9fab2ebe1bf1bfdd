"""The cell: every input that changes a result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

FIXED = "fixed"
MEAN_FIELD, MEAN, DETERMINISTIC = "mean-field", "mean", "deterministic"
#: Noise of PyTorch's generator, and of what draws views of the images and no weights.
NORMAL, VIEWS, MASKS = "normal", "views", "masks"
#: What a format and the posterior say already is no part of a key; with a temperature the format is
#: that of the arithmetic alone.
_IMPLIED = ("method",)


@dataclass(frozen=True)
class Cell:
    """One point of the grid; a record is what came out of measuring it.

    Attributes:
        workload: name of the workload.
        workload_version: version of its declaration.
        posterior: first 16 hex digits of the posterior's content hash.
        format: numeric format.
        range: `headroom` or `paper`, the range μ and the sampled weights share; `-` for floats.
        granularity: of σ's quantization, `channel` or `tensor`; `-` for floats.
        sigma_offset: `float` or `integer` offset of σ's grid; `-` for floats and codebooks.
        observer: of the activation ranges, `minmax`, `percentile` or `mse`; `-` for floats.
        calibration: `mean` network or `sampled` passes; `-` for floats.
        split: which part of the data was scored.
        corruption: type of corruption, or `none`.
        severity: 0 where there is none, else 1 to 5.
        limit: images scored; 0 for all of the split.
        mc: Monte Carlo passes T, the most there may be where `stopping` is not `fixed`.
        batch: images that a timed query holds.
        scenario: how queries arrive; `closed-loop`: one after the other.
        backend: what computes.
        isa: instruction set asked for; `auto` for the best there is.
        threads: cores a query may use.
        instances: processes side by side.
        noise: `stream-v1` or, for the floats' own generator, `normal`; `views` where views of the
            images are drawn and no weights, `masks` where inputs of layers are dropped out; `-` if
            nothing is drawn.
        seed: of the MC draws; repeats use seed, seed + 1, ...
        seeds: how many repeats of the MC draw are scored.
        stopping: `fixed`: every image has T passes; `auto 0.99`: it has no more than its prediction
            needs to be settled at that confidence (`docs/adaptive.md`).
        team: threads that were told to share a pass; 0: whatever measured fastest.
        sigma_grid: of σ's values: `affine` or `codebook`.
        rounding: of sampled weights: `nearest` or `dithered`.
        shifted: where corrupted images came from: `generated SEED` or `official DIGEST`; empty
            without corruption.
        data: digest of the images scored and calibrated on and of their preprocessing, where the
            workload is the user's own or they bring the images (`Workload.digest_data`); empty
            where the workload's version says what they are.
        network: digest of what the network computes, where the workload is the user's own; empty
            where its version says it.
        seconds: timed at least; of cells that are not timed as by default. Records from before do
            not hold it and stand as those of one second.
        processes: fresh processes that it is timed in.
        method: how uncertainty comes about: `mean-field` passes of the posterior, one pass of its
            `mean` network, or of a `deterministic` one that was trained for itself. The format says
            which of the first or the others it is, and the posterior which of the last two. Where
            there is a temperature, any name in `METHODS`, and the format is `FP32`, `INT8` or
            `INT8_SIGMA1`.
        temperature: what its temperature was fitted on: `validation`, with the digest of the images
            where the workload's version does not say what they are; empty where it has none.
        members: the same as `posterior` of further networks that the method uses.
    """

    workload: str
    workload_version: str
    posterior: str
    format: str
    range: str
    granularity: str
    sigma_offset: str
    observer: str
    calibration: str
    split: str
    corruption: str
    severity: int
    limit: int
    mc: int
    batch: int
    scenario: str
    backend: str
    isa: str
    threads: int
    instances: int
    noise: str
    seed: int
    seeds: int
    stopping: str = FIXED
    team: int = 0
    sigma_grid: str = "affine"
    rounding: str = "nearest"
    shifted: str = ""
    data: str = ""
    network: str = ""
    seconds: float = 1.0
    processes: int = 1
    method: str = MEAN_FIELD
    temperature: str = ""
    members: tuple[str, ...] = ()

    @property
    def draws(self) -> bool:
        """Whether a second seed tells something new."""
        return self.noise != "-"

    @property
    def home(self) -> str:
        """Where its records lie together: the workload's name."""
        return self.workload

    @property
    def adaptive(self) -> bool:
        """Whether images may have different numbers of passes."""
        return self.stopping != FIXED

    @property
    def confidence(self) -> float | None:
        """At which a prediction counts as settled; None where every image has T passes."""
        return float(self.stopping.removeprefix("auto ")) if self.adaptive else None

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of all fields: the cell's file name.

        What came later takes part only where it is not as it was before: older cells keep theirs.
        """
        return _key(self)


def not_by_default(one: Any) -> dict[str, Any]:
    """The fields of a dataclass whose values are not their defaults, as JSON types.

    A field that came later takes part in a key by this, and changes none of those from before.
    """
    values = ((f.name, getattr(one, f.name), f.default) for f in fields(one))
    return {
        name: asdict(value) if hasattr(value, "__dataclass_fields__") else value
        for name, value, default in values
        if value != default
    }


@lru_cache(maxsize=1 << 14)
def _key(cell: Cell) -> str:
    implied = () if cell.temperature else _IMPLIED
    asked = {k: value for k, value in not_by_default(cell).items() if k not in implied}
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
