"""From a plan to artefacts: posterior, splits, folding, calibration; each done once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..core.formats import FORMATS, Format
from ..core.waiting import Report
from ..quantize.artefact import Artefact
from ..quantize.calibrate import Calibration, calibrate
from ..quantize.fold import FloatModel, fold
from ..quantize.options import Options
from ..quantize.ptq import Origin, quantize
from .calibrated import calibrated
from .declared import check_network, splits_of

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..posterior import Posterior
    from .plan import Plan


@dataclass(frozen=True, eq=False)
class Networks:
    """What a workload's formats are made of.

    Attributes:
        posterior: of the Bayesian formats.
        twin: of the deterministic ones; the posterior itself, whose mean network is taken, where
            no twin ships, or that is what is asked for.
        findings: what a reader of records should know of where they come from.
    """

    posterior: Posterior
    twin: Posterior
    findings: tuple[str, ...] = ()

    def of(self, format: Format) -> Posterior:
        """The one that a format is made of."""
        return self.posterior if format.bayesian else self.twin

    def hash_of(self, format: Format) -> str:
        """Content hash of the one that a format is made of."""
        return self.posterior_hash if format.bayesian else self.twin_hash

    @cached_property
    def posterior_hash(self) -> str:
        """Content hash of the posterior; taken once, for it reads all of its bytes."""
        return self.posterior.content_hash()

    @cached_property
    def twin_hash(self) -> str:
        """Content hash of the twin; taken once."""
        return self.posterior_hash if self.twin is self.posterior else self.twin.content_hash()


def load_networks(plan: Plan) -> Networks:
    """Posterior and twin of a plan.

    Raises:
        UserError: a file is missing, damaged or for another network.
    """
    workload, data = plan.workload, plan.data
    posterior, _ = workload.load_posterior(plan.posterior, data=data, delta=plan.delta)
    if not plan.has_twin:
        return Networks(posterior, posterior)
    twin, made = workload.load_twin(data)
    told = (f"pretrained weights are from {made['weights']}",) if "weights" in made else ()
    return Networks(posterior, twin, told)


@dataclass(frozen=True, eq=False)
class NetworkPart:
    """One network, ready to be put into the formats that are made of it.

    Attributes:
        plan: the choices.
        splits: the data.
        model: the folded FP32 network.
        source: what artefacts say of where they come from.
    """

    plan: Plan
    splits: Splits
    model: FloatModel
    source: Origin

    @cached_property
    def calibration(self) -> Calibration:
        """Activation ranges, from training images."""

        def make() -> Calibration:
            images = self.splits.calibration.in_memory()
            return calibrate(self.model, images, self.plan.observer, self.plan.sampled)

        return calibrated(self.plan, self.source.posterior, make)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A workload ready to be put into any format.

    Attributes:
        plan: the choices.
        splits: the data.
        bayesian: the posterior.
        twin: the deterministic twin.
        findings: see `Networks`.
        report: told of what takes long when a network is made ready.
    """

    plan: Plan
    splits: Splits
    bayesian: NetworkPart
    twin: NetworkPart
    findings: tuple[str, ...] = ()
    report: Report = field(default=lambda *_: None)

    @property
    def model(self) -> FloatModel:
        """The folded FP32 posterior."""
        return self.bayesian.model

    def artefact(self, format: str, options: Options | None = None) -> Artefact:
        """The model in one format, by the plan's options unless others are given."""
        chosen = FORMATS.get(format)
        part = self.bayesian if chosen.bayesian else self.twin
        ranges = part.calibration if chosen.quantized else None
        return quantize(part.model, format, ranges, options or self.plan.options, part.source)


def prepare(plan: Plan, networks: Networks | None = None, splits: Splits | None = None) -> Prepared:
    """Load and fold; what has to be calibrated is, when it is first asked for.

    Args:
        plan: what is asked for.
        networks: loaded already; the plan's otherwise.
        splits: the same.

    Raises:
        UserError: as `load_networks` and `fold`; what the workload declares does not fit its data
            or its network.
    """
    networks = networks or load_networks(plan)
    splits = splits or splits_of(plan.workload, plan.data)
    network = networks.posterior.load_into(plan.workload.model())
    check_network(plan.workload, splits, network)

    bayesian = network_part(plan, splits, networks.posterior, networks.posterior_hash)
    shared = networks.twin is networks.posterior
    twin = bayesian if shared else network_part(plan, splits, networks.twin, networks.twin_hash)
    return Prepared(plan, splits, bayesian, twin, networks.findings)


def network_part(
    plan: Plan, splits: Splits, posterior: Posterior, content_hash: str
) -> NetworkPart:
    """A network of the plan's workload, folded.

    Args:
        plan: the choices.
        splits: the data.
        posterior: the network.
        content_hash: of it.
    """
    workload = plan.workload
    source = Origin(workload.name, workload.version, content_hash)
    model = fold(workload.model(), posterior, workload.input_shape)
    return NetworkPart(plan, splits, model, source)
