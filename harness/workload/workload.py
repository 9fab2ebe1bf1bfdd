"""A workload: the frozen declaration of a network, its data, its posterior and its recipes."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError, first_line, unknown
from ..core.registry import Registry
from ..machine.torch_state import PlainCall, plain

if TYPE_CHECKING:
    from torch import nn

    from ..data.splits import Splits
    from ..posterior import Posterior
    from ..posterior.recipe import Recipe


DEFAULT_RECIPE = "best"
MOST_DELTA = 10.0  # a σ of ten times |w| leaves nothing of a network


@dataclass(frozen=True)
class Workload:
    """What is benchmarked.

    Attributes:
        name: how users call it; lower case with hyphens.
        version: raised whenever network, data, splits or shipped posterior change, because records
            of different versions must not be compared.
        title: one line for listings.
        model: builds the network with fresh weights, from PyTorch's global generator.
        splits: loads the data; takes the data root or None (see `splits.data_root`).
        input_shape: (C, H, W) of one image.
        classes: number of classes.
        recipes: recipe name to `Recipe`; the default one is `best` or, without one of this name,
            the first.
        posterior: the posterior file that ships, or None.
        twin: the deterministic twin's file that ships: a posterior whose σ is 0, trained on the
            same data. None: the network of `pretrained`, or the mean network of the posterior.
        pretrained: loads the deterministic network with weights that may not ship; takes the data
            root or None. The posterior is then made from it by MOPED.
        weights_origin: says where `pretrained` takes its weights from; takes the data root or None.
        delta: δ of that MOPED posterior, chosen on data that is not the test split.
        replicas: shipped posteriors of the same recipe from other training seeds.
        members: shipped deterministic networks from several training seeds, each with the epochs of
            the posterior and its pretraining together; the first one also stands for itself.
        dropout: shipped network of a recipe with `dropout`, whose file says where and how much.
        equal_members: number k to k such networks that had a k-th of these epochs each.
        paper: format name to the paper's figures by metric (`accuracy`, `ece`, `nll`,
            `brier`), or empty.
        official_corruptions: folder under the data root with published corrupted copies of the test
            split (`CIFAR-10-C`), used instead of generated ones where it is there.
        other_splits: names of further test sets (`Splits.others`).
        class_names: a name for each class, in words; empty where classes have numbers alone.
        split_notes: name of a test set to what its scores do not show, a sentence that follows its
            name and a colon; conclusions of a study begin with the others.
        outside: sets of `OOD_SETS` that belong to this data: images that have none of its classes.
        needs_data: one sentence on the data the user must have, empty if it comes with a package.
        files: where images and pretrained weights that users bring are read from: files and
            folders, of a data root or None.
        digest_data: whether cells tell the images of a workload that ships by a digest too, because
            users bring their own and `version` cannot know them.
    """

    name: str
    version: str
    title: str
    model: Callable[[], nn.Module]
    splits: Callable[[Path | None], Splits]
    input_shape: tuple[int, int, int]
    classes: int
    recipes: Mapping[str, Recipe]
    posterior: Path | None = None
    twin: Path | None = None
    pretrained: Callable[[Path | None], nn.Module] | None = None
    weights_origin: Callable[[Path | None], str] | None = None
    delta: float | None = None
    replicas: tuple[Path, ...] = ()
    members: tuple[Path, ...] = ()
    dropout: Path | None = None
    equal_members: Mapping[int, tuple[Path, ...]] = field(default_factory=dict)
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    official_corruptions: str | None = None
    other_splits: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    split_notes: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    needs_data: str = ""
    digest_data: bool = False
    files: Callable[[Path | None], Sequence[Path]] | None = None

    def __post_init__(self) -> None:
        for name in ("model", "splits", "pretrained"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, PlainCall):
                object.__setattr__(self, name, PlainCall(given))
        for name in ("posterior", "twin", "dropout"):
            if (file := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(file))
        for name in ("replicas", "members"):
            object.__setattr__(self, name, tuple(map(Path, getattr(self, name))))

    def class_name(self, label: int) -> str:
        """What tables call a class: its name, or its number where it has none."""
        return self.class_names[label] if self.class_names else str(label)

    @property
    def scored_splits(self) -> tuple[str, ...]:
        """What `--split` may name."""
        return ("test", "validation", *self.other_splits)

    @property
    def ships(self) -> bool:
        """Whether it is one of ours as it stands, whose `version` says what it is: a test holds
        network, preprocessing and images of each version (`tests/workloads/test_versions.py`)."""
        return WORKLOADS.built_in(self.name) is self

    def shipped_files(self) -> Iterator[tuple[str, Path]]:
        """What each file of weights that ships stands for, and where it lies."""
        named = (("posterior", self.posterior), ("twin", self.twin))
        yield from ((role, path) for role, path in named if path is not None)
        yield from (("replica", path) for path in self.replicas)
        yield from (("member", path) for path in self.members)
        if self.dropout is not None:
            yield "dropout", self.dropout
        for count, paths in self.equal_members.items():
            yield from ((f"member of {count}", path) for path in paths)

    def network_digest(self) -> str:
        """16 hex digits of what the network computes; empty where `version` says it.

        Raises:
            UserError: the network cannot be captured.
        """
        if self.ships:
            return ""
        import torch

        from ..quantize.identity import network_digest

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # constants that are drawn are the same in every process
            return network_digest(self.model(), self.input_shape)[:16]

    def data_digest(self, split: str, data: Path | None = None, limit: int | None = None) -> str:
        """16 hex digits of the images of a split and of those to calibrate on; empty where
        `version` says what they are.

        Args:
            split: one of `scored_splits`.
            data: data root, see `splits.data_root`.
            limit: images scored; None for all.
        """
        if self.ships and not self.digest_data:
            return ""
        from .remembered import remembered

        def taken() -> str:
            return self._digest_of(split, data, limit)

        return remembered(self, data, "images", [split, limit], taken)

    def _digest_of(self, split: str, data: Path | None, limit: int | None) -> str:
        from ..data.splits import CALIBRATION_IMAGES
        from .declared import splits_of

        splits = splits_of(self, data)
        parts = (splits.scored(split).limit(limit), splits.train.limit(CALIBRATION_IMAGES))
        joined = " ".join(part.digest() for part in parts)
        return hashlib.sha256(joined.encode()).hexdigest()[:16]

    def recipe(self, name: str | None = None) -> Recipe:
        """The recipe called `name`, or the default one.

        Raises:
            UserError: there is none of this name, with the nearest names, or none at all.
        """
        if not self.recipes:
            untrained = (
                ", or make a posterior of the pretrained weights without training, by "
                "`sigmabench run --delta`"
            )
            raise UserError(
                f"{self.name} has no recipes to train by; declare some in a Workload of your own"
                f"{untrained if self.has_twin else ''}."
            )
        if name is None:
            name = DEFAULT_RECIPE if DEFAULT_RECIPE in self.recipes else next(iter(self.recipes))
        if name not in self.recipes:
            raise unknown(f"recipe of {self.name}", name, self.recipes)
        return self.recipes[name]

    @property
    def has_twin(self) -> bool:
        """Whether there is a twin beside the posterior's mean network."""
        return self.twin is not None or self.pretrained is not None

    def load_posterior(
        self,
        path: Path | str | None = None,
        *,
        data: Path | str | None = None,
        delta: float | None = None,
    ) -> tuple[Posterior, dict[str, Any]]:
        """A posterior checked against this network, and its metadata.

        Args:
            path: a file, or the name of a replica (`lenet5-mnist-seed1`); by default the file that
                ships or, where none does, MOPED from the pretrained network.
            data: data root, see `splits.data_root`.
            delta: δ of a MOPED posterior from the deterministic twin, instead of any file.

        Raises:
            UserError: none ships, the file is missing, damaged or for another network, or both a
                file and δ are given.
        """
        from ..posterior import load

        if path is not None and delta is not None:
            raise UserError(
                "--posterior names a posterior and --delta makes one; give one of them."
            )
        if delta is not None or (path is None and self.posterior is None and self.pretrained):
            return self._moped(data, self.delta if delta is None else delta)
        source = self.posterior_file(path)
        if source is None:
            raise UserError(
                f"No posterior ships with {self.name}; train one with "
                f"`sigmabench train {self.name}` and name its file."
            )
        posterior, metadata = load(source)
        posterior.validate(self.model(), str(source))
        return posterior, metadata

    def posterior_file(self, path: Path | str | None = None) -> Path | None:
        """The file that `load_posterior` reads; None where it makes the posterior, or none ships.

        Args:
            path: as `load_posterior`.
        """
        named = {replica.stem: replica for replica in self.replicas}
        found = named.get(str(path), path or self.posterior)
        return None if found is None else Path(found)

    def load_twin(self, data: Path | str | None = None) -> tuple[Posterior, dict[str, Any]]:
        """The deterministic twin, checked against this network, and its metadata.

        Args:
            data: data root, see `splits.data_root`.

        Raises:
            UserError: there is none, or the file is missing, damaged or for another network.
        """
        from ..posterior import moped

        data = None if data is None else Path(data)
        if self.twin is None and self.pretrained is not None:
            origin = {"weights": self.weights_origin(data)} if self.weights_origin else {}
            return moped(self.pretrained(data), 0.0), {"made": "pretrained", **origin}
        if self.twin is None:
            raise UserError(
                f"{self.name} has no deterministic twin to start from; choose another recipe, or "
                "leave out --delta."
            )
        return self.load_posterior(self.twin)

    def _moped(
        self, data: Path | str | None, delta: float | None
    ) -> tuple[Posterior, dict[str, Any]]:
        from ..posterior import SAMPLED_LAYERS, bayesian_parameters, moped

        if delta is None:
            raise UserError(f"{self.name} declares no δ of MOPED; give one with --delta.")
        if not 0 < delta <= MOST_DELTA:
            raise UserError(
                f"--delta is {delta}; give a number above 0 and up to {MOST_DELTA}: σ = δ·|w|."
            )
        network = self.load_twin(data)[0].load_into(self.model())
        sampled = bayesian_parameters(network, layers=SAMPLED_LAYERS)
        return moped(network, delta, bayesian=sampled), {"made": "MOPED", "delta": delta}


#: Collections of networks: `COLLECTION:NETWORK` is a workload too.
COLLECTIONS: Registry[Callable[[str], Workload]] = Registry(
    "collection",
    {
        "timm": "sigmabench.workloads.imagenet:timm_classifier",
        "torchvision": "sigmabench.workloads.imagenet:torchvision_classifier",
    },
)
WORKLOADS: Registry[Workload] = Registry(
    "workload",
    {
        "histology-colorectal": "sigmabench.workloads.histology_colorectal:WORKLOAD",
        "lenet-digits": "sigmabench.workloads.lenet_digits:WORKLOAD",
        "lenet5-mnist": "sigmabench.workloads.lenet5_mnist:WORKLOAD",
        "resnet20-cifar10": "sigmabench.workloads.resnet20_cifar10:WORKLOAD",
        "resnet50-imagenet": "sigmabench.workloads.resnet50_imagenet:WORKLOAD",
    },
    lambda thing: isinstance(thing, Workload),
)


def resolve_workload(name: str) -> Workload:
    """The workload registered as `name`, a network of a collection on ImageNet
    (`torchvision:resnet18`, `timm:resnet18`), or the one at `"package.module:attribute"`.

    Raises:
        UserError: the name is unknown, or what it points to cannot be imported or is no workload.
    """
    return _imported(name) if ":" in name else WORKLOADS.get(name)


@plain
def _imported(name: str) -> Workload:
    """A network of a collection, or the workload of a user's module: either may make tensors."""
    module, _, attribute = name.partition(":")
    if module in COLLECTIONS:
        return COLLECTIONS.get(module)(attribute)
    if "" not in sys.path:
        sys.path.insert(0, "")  # a console script does not look in the current directory
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as reason:  # a user's module may fail in any way
        raise UserError(
            f"The workload {name!r} cannot be loaded: {type(reason).__name__}: "
            f"{first_line(reason)}; give package.module:attribute of a module that can be imported."
        ) from reason
    if not isinstance(found, Workload):
        raise UserError(f"{name!r} is a {type(found).__name__}; give the name of a Workload.")
    return found


def paper_of(name: str) -> Mapping[str, Mapping[str, float]] | None:
    """The paper's figures for the workload of that name, where it is registered and has some."""
    return (WORKLOADS.get(name).paper or None) if name in WORKLOADS else None
