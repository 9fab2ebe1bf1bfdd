"""A method of stating uncertainty: what its networks are, and how a format of it predicts.

A method gives logits of T passes: draws of a posterior, members of an ensemble, or one pass of one
network; or, without passes, the law of the logits. What is made of either is the same for all
(`predict.logit_law`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..core.registry import Registry

if TYPE_CHECKING:
    from ..backends.base import Passes
    from ..predict.logit_law import Summarizer
    from ..quantize.artefact import Artefact
    from ..quantize.options import Options
    from ..workload.plan import Plan
    from ..workload.prepare import Prepared

#: Formats that methods are compared in.
FORMATS_OF_METHODS = ("FP32", "INT8", "INT8_SIGMA1")
#: Numbers of passes T.
COUNTS = (1, 2, 4, 10, 20, 50)
#: Noise of what draws nothing.
NOTHING = "-"
#: The format of the main question, fixed beforehand.
MAIN_FORMAT = "INT8"


@dataclass(frozen=True, eq=False)
class LoadedMethod:
    """A method in one format, ready to predict.

    Attributes:
        passes: give logits, pass t of a seed the same whatever else is asked for; or, of a method
            without passes, the law of the logits.
        backend: what computes it.
        artefacts: SHA-256 of each network as it is computed.
        file_bytes: of all of them.
        batch: images that it is given at a time.
        chosen: what was chosen for it on validation images, in words; empty for nothing.
    """

    passes: Passes | Summarizer
    backend: str
    artefacts: tuple[str, ...]
    file_bytes: int
    batch: int
    chosen: str = ""


@dataclass(frozen=True, eq=False)
class MadeMethod:
    """A method in one format before it is loaded, which another process can be given.

    Attributes:
        artefacts: its networks, at least one.
        backend: that computes it.
    """

    artefacts: tuple[Artefact, ...]
    backend: str

    @property
    def batch(self) -> int:
        """Images that it is given at a time."""
        from ..predict.loop import batch_of

        return batch_of(self.artefacts[0].graph)

    @property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each network as it is computed."""
        from ..quantize.artefact import artefact_hash

        return tuple(map(artefact_hash, self.artefacts))

    @property
    def file_bytes(self) -> int:
        """Of all networks."""
        from ..quantize.artefact import size

        return sum(size(one).file_bytes for one in self.artefacts)

    @property
    def chosen(self) -> str:
        """See `LoadedMethod`."""
        return ""

    def passes(self, threads: int) -> Passes | Summarizer:
        """What gives logits, or their law; see `LoadedMethod`.

        Args:
            threads: that a call may use.
        """
        from ..backends.base import BACKENDS

        backend = BACKENDS.get(self.backend)
        return self.together([backend.load(one, threads) for one in self.artefacts])

    def together(self, networks: Sequence[Passes]) -> Passes:
        """What gives the method's passes, of its loaded networks."""
        return networks[0]

    def load(self, threads: int) -> LoadedMethod:
        """Ready to predict; `threads` as in `passes`."""
        return LoadedMethod(
            self.passes(threads),
            self.backend,
            self.digests,
            self.file_bytes,
            self.batch,
            self.chosen,
        )


class Method(Protocol):
    """One way to state uncertainty.

    Attributes:
        name: as on the command line and in records.
        title: for people.
        description: one line for `sigmabench list`.
        draws: whether its passes draw anything, so that a second seed tells something new.
        noise: as of a `Cell`; empty where the runtime draws its weights, as the format says.
        of_posterior: whether its network is the posterior, which is the first of `networks` then.
    """

    name: str
    title: str
    description: str
    draws: bool
    noise: str
    of_posterior: bool

    def without(self, plan: Plan, format: str) -> str | None:
        """Why there is none of it in a format of a workload, one sentence; None where there is."""
        ...

    def networks(self, plan: Plan) -> Sequence[str]:
        """Content hashes of the networks that it uses.

        Raises:
            UserError: a file of theirs is missing, damaged or for another network.
        """
        ...

    def passes(self, plan: Plan, mc: Sequence[int]) -> tuple[int, ...]:
        """Numbers of passes T, ascending: those asked for, or those that it has."""
        ...

    def made(self, prepared: Prepared, format: str, options: Options | None = None) -> MadeMethod:
        """It in a format, by the plan's options of quantization unless others are given."""
        ...


METHODS: Registry[Method] = Registry(
    "method",
    {
        "mean-field": "sigmabench.harness.methods.single:MEAN_FIELD",
        "mean": "sigmabench.harness.methods.single:MEAN",
        "deterministic": "sigmabench.harness.methods.ensemble:DETERMINISTIC",
        "analytic": "sigmabench.harness.methods.propagated:ANALYTIC",
        "laplace": "sigmabench.harness.methods.laplace:LAPLACE",
        "laplace-full": "sigmabench.harness.methods.laplace:LAPLACE_FULL",
        "dropout": "sigmabench.harness.methods.dropout:DROPOUT",
        "augment": "sigmabench.harness.methods.views:AUGMENT",
        "ensemble": "sigmabench.harness.methods.ensemble:ENSEMBLE",
        "ensemble-equal-2": "sigmabench.harness.methods.ensemble:EQUAL_2",
        "ensemble-equal-3": "sigmabench.harness.methods.ensemble:EQUAL_3",
        "ensemble-equal-5": "sigmabench.harness.methods.ensemble:EQUAL_5",
    },
    lambda thing: all(
        hasattr(thing, part)
        for part in ("title", "description", "draws", "noise", "of_posterior", "made")
    ),
)
