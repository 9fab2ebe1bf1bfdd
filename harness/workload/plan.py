"""What a run is to measure: the user's choices, checked, and the cells they make."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ..backends.base import BACKENDS
from ..core.checks import check_counts, check_seconds, check_seed
from ..core.errors import UserError
from ..core.formats import DEFAULT_FORMATS, FORMATS, Format
from ..core.stopping import CONFIDENCE, StoppingRule
from ..quantize.options import Options
from .cell import DETERMINISTIC, FIXED, MEAN, MEAN_FIELD, Cell
from .workload import Workload

#: One arithmetic each, so a cell never runs on a backend that computes in something else.
FLOAT_BACKEND = "float"
INT8_BACKEND = "native"
#: For what the compiled sampler does not draw.
DRAWN_BACKEND = "drawn"
#: Passes at most where no number is given beside `auto`: the paper's.
MOST_PASSES = 50


class Identity(Protocol):
    """What tells the networks of a run from others; `prepare.Networks` is one."""

    def hash_of(self, format: Format) -> str:
        """Content hash of the posterior that a format is made of."""
        ...


@dataclass(frozen=True)
class Plan:
    """A grid of cells of one workload.

    Attributes:
        workload: what is measured.
        formats: names in `FORMATS`.
        mc: Monte Carlo counts T; may be empty if `adaptive`.
        batches: images that a timed query holds.
        threads: cores a query may use.
        team: how many of them share a pass; 0 for what measures fastest.
        backend: of the int8 formats, or `auto`: `native`, `drawn` where the options want what it
            does not draw, `reference` where nothing was compiled. The float formats run on `float`.
        data: data root, see `splits.data_root`.
        posterior: file; the one that ships if None.
        delta: δ of a MOPED posterior from the deterministic twin, instead of `posterior`.
        mean: whether deterministic formats are made of the posterior's mean network, also where
            there is a twin.
        options: of post-training quantization.
        observer: of activation ranges.
        sampled: whether ranges are observed over sampled passes too.
        split: `test`; `validation` is for choosing.
        limit: images scored, None for all.
        seed: first seed of the MC draws.
        seeds: how many seeds are scored.
        seconds: timed seconds per cell.
        processes: fresh processes that cells are timed in.
        adaptive: whether there are cells of adaptive T too, of at most the largest of `mc` passes.
        confidence: of adaptive T.
    """

    workload: Workload
    formats: tuple[str, ...] = DEFAULT_FORMATS
    mc: tuple[int, ...] = (1, 10, 50)
    batches: tuple[int, ...] = (1, 32)
    threads: int = 1
    team: int = 0
    backend: str = "auto"
    data: Path | None = None
    posterior: Path | None = None
    delta: float | None = None
    mean: bool = False
    options: Options = field(default_factory=Options)
    observer: str = "minmax"
    sampled: bool = False
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    seeds: int = 3
    seconds: float = 1.0
    processes: int = 1
    adaptive: bool = False
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        for name in ("formats", "mc", "batches"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if not self.formats:
            raise UserError("--formats names nothing; give at least one format.")
        if self.backend != "auto":
            BACKENDS.get(self.backend)
        for flag, values in (("--mc", self.mc), ("--batch", self.batches)):
            check_counts(flag, values, may_be_empty=self.adaptive and flag == "--mc")
        for flag in ("threads", "seeds", "processes"):
            check_counts(f"--{flag}", (getattr(self, flag),))
        if self.team < 0 or (self.team and self.threads % self.team):
            raise UserError(
                f"--team is {self.team}; give a number that divides the {self.threads} threads, or "
                "leave it out."
            )
        if self.limit is not None:
            check_counts("--limit", (self.limit,))
        check_seed(self.seed)
        check_seconds(self.seconds)
        StoppingRule(MOST_PASSES, self.confidence)  # refused even where it would not be used
        if self.adaptive:
            StoppingRule(max(self.mc, default=MOST_PASSES), self.confidence)
        if self.split not in self.workload.scored_splits:
            known = ", ".join(self.workload.scored_splits)
            raise UserError(f"The split {self.split!r} is not scored; give one of {known}.")
        for name in self.formats:
            FORMATS.get(name)

    @property
    def has_twin(self) -> bool:
        """Whether deterministic formats are made of a network that was trained for itself."""
        return self.workload.has_twin and not self.mean

    @property
    def rule(self) -> StoppingRule:
        """When adaptive cells stop.

        Raises:
            UserError: the confidence is none, or the largest T leaves nothing to stop.
        """
        return StoppingRule(max(self.mc, default=MOST_PASSES), self.confidence)

    def backend_of(self, format: Format) -> str:
        """Name of the backend that computes a format."""
        if not format.quantized:
            return FLOAT_BACKEND
        if self.backend == "auto":
            if format.bayesian and not self.options.compiled_sampler:
                return DRAWN_BACKEND
            missing = BACKENDS.get(INT8_BACKEND).unavailable()
            return INT8_BACKEND if missing is None else "reference"
        backend = BACKENDS.get(self.backend)
        if not backend.supports(format.name):
            raise UserError(
                f"The backend {self.backend!r} does not compute {format.name}; leave out --backend "
                "or choose other --formats."
            )
        return self.backend

    def cells(
        self, networks: Identity, data: str | None = None, network: str | None = None
    ) -> list[Cell]:
        """Every cell, grouped by (batch, T): the cells of a group are timed in turns.

        A deterministic twin has one pass, whatever T the others have.

        Args:
            networks: content hashes of what the formats are made of.
            data: digest of the images, where it was taken already.
            network: digest of the network, where it was taken already.
        """
        if data is None:
            data = self.workload.data_digest(self.split, self.data, self.limit)
        if network is None:
            network = self.workload.network_digest()
        counts = [(mc, FIXED) for mc in self.mc]
        if self.adaptive:
            counts.append((self.rule.limit, f"auto {self.confidence!r}"))
        return [
            replace(
                self._cell(FORMATS.get(name), mc, stopping, batch, networks),
                data=data,
                network=network,
            )
            for batch in self.batches
            for mc, stopping in counts
            for name in self.formats
            if FORMATS.get(name).bayesian or (mc, stopping) == min(counts, key=lambda c: c[0])
        ]

    def _cell(self, format: Format, mc: int, stopping: str, batch: int, networks: Identity) -> Cell:
        quantized, bayesian = format.quantized, format.bayesian
        affine = quantized and bayesian and self.options.sigma_grid == "affine"
        noise = BACKENDS.get(self.backend_of(format)).noise
        return Cell(
            workload=self.workload.name,
            workload_version=self.workload.version,
            posterior=networks.hash_of(format)[:16],
            format=format.name,
            range=(self.options.range if bayesian else "paper") if quantized else "-",
            granularity=self.options.granularity if quantized and bayesian else "-",
            sigma_offset=self.options.sigma_offset if affine else "-",
            observer=self.observer if quantized else "-",
            calibration=("sampled" if self.sampled else "mean") if quantized else "-",
            split=self.split,
            corruption="none",
            severity=0,
            limit=self.limit or 0,
            mc=mc if bayesian else 1,
            batch=batch,
            scenario="closed-loop",
            backend=self.backend_of(format),
            isa="auto",
            threads=self.threads,
            instances=1,
            noise=noise if bayesian else "-",
            seed=self.seed,
            seeds=self.seeds if bayesian else 1,
            stopping=stopping if bayesian else FIXED,
            team=self.team,
            sigma_grid=self.options.sigma_grid if quantized and bayesian else "affine",
            rounding=self.options.rounding if quantized and bayesian else "nearest",
            seconds=self.seconds,
            processes=self.processes,
            method=self._method(format),
        )

    def _method(self, format: Format) -> str:
        if format.bayesian:
            return MEAN_FIELD
        return DETERMINISTIC if self.has_twin else MEAN
