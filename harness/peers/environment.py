"""Which peers there are, and whether their environments are here and hold what they should.

A peer lives in `<environments>/<name>/`, a virtual environment of its own: it may need another
PyTorch. Versions are read from package metadata; nothing of a peer is imported to find it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..core.errors import UserError
from ..core.registry import Registry

ENVIRONMENTS = Path(".peers")
_WORKERS = Path(__file__).parent / "workers"
_PROBE = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_PROBE_SECONDS = 60


@dataclass(frozen=True)
class Peer:
    """Another implementation.

    Attributes:
        name: how users call it, and the folder of its environment.
        title: one line.
        worker: the file that its own Python runs.
        pins: the packages that must be there, each with its version.
        bare: those of them that are installed without the dependencies they declare.
        formats: what it is asked for, with what SigmaBench calls the format; `DNN_...` has fixed
            weights.
    """

    name: str
    title: str
    worker: Path
    pins: Mapping[str, str]
    bare: tuple[str, ...]
    formats: Mapping[str, str]

    def bayesian(self, format: str) -> bool:
        """Whether one of its formats draws weights."""
        return not self.formats[format].startswith("DNN_")

    def build_command(self, environments: Path) -> str:
        """The shell command that makes its environment, wherever it is run."""
        folder = environments / self.name
        install = f"{shlex.quote(str(folder / 'bin' / 'pip'))} install"
        pinned = {name: f"{name}=={version}" for name, version in self.pins.items()}
        first = [pin for name, pin in pinned.items() if name not in self.bare]
        steps = [f"python3 -m venv {shlex.quote(str(folder))}", " ".join([install, *first])]
        if self.bare:
            steps.append(" ".join([install, "--no-deps", *(pinned[name] for name in self.bare)]))
        return " && ".join(steps)


_BOTH = {name: name for name in ("FP32", "INT8", "DNN_FP32", "DNN_BF16", "DNN_INT8")}
IPEX = Peer(
    name="ipex",
    title="Intel Extension for PyTorch (ended: 2.8.0 was its last release), traced and frozen",
    worker=_WORKERS / "ipex_worker.py",
    pins={
        "torch": "2.8.0",
        "torchvision": "0.23.0",
        "timm": "1.0.31",
        "intel-extension-for-pytorch": "2.8.0",
    },
    bare=(),
    formats=_BOTH,
)
INDUCTOR = Peer(
    name="inductor",
    title="torch.compile, with torchao's PT2E quantization",
    worker=_WORKERS / "inductor_worker.py",
    pins={"torch": "2.14.1", "torchvision": "0.29.1", "timm": "1.0.31", "torchao": "0.18.0"},
    bare=(),
    formats=_BOTH,
)
#: How OpenVINO's cores are shared out: all of them to one inference, or one to each of as many.
ONE_STREAM, STREAM_PER_CORE = "1 stream", "1 stream per core"
OPENVINO = Peer(
    name="openvino",
    title="OpenVINO, with NNCF's quantization",
    worker=_WORKERS / "openvino_worker.py",
    pins={
        "torch": "2.14.1",
        "torchvision": "0.29.1",
        "timm": "1.0.31",
        "openvino": "2026.4.1",
        "nncf": "3.4.0",
    },
    bare=(),
    formats={
        f"{name} ({streams})": name
        for name in ("DNN_FP32", "DNN_BF16", "DNN_INT8")
        for streams in (ONE_STREAM, STREAM_PER_CORE)
    },
)
BAYESIAN_TORCH = Peer(
    name="bayesian-torch",
    title="bayesian-torch: MC passes, a fresh draw each",
    worker=_WORKERS / "bayesian_torch_worker.py",
    pins={
        "torch": "2.14.1",
        "torchvision": "0.29.1",
        "timm": "1.0.31",
        "bayesian-torch": "0.5.0",
    },
    bare=("bayesian-torch",),
    formats={"FP32": "FP32", "INT8": "INT8", "INT8 layers": "INT8"},
)

PEERS: Registry[Peer] = Registry(
    "peer",
    {
        "bayesian-torch": f"{__name__}:BAYESIAN_TORCH",
        "inductor": f"{__name__}:INDUCTOR",
        "ipex": f"{__name__}:IPEX",
        "openvino": f"{__name__}:OPENVINO",
    },
)


@dataclass(frozen=True)
class Environment:
    """A peer's environment as it was found.

    Attributes:
        peer: whose.
        python: its interpreter.
        versions: of the packages that are pinned, as installed.
        unavailable: why it cannot be used and how to build it, one sentence; empty if it can.
    """

    peer: Peer
    python: Path
    versions: dict[str, str] = field(default_factory=dict)
    unavailable: str = ""


def find(peer: Peer, environments: Path = ENVIRONMENTS) -> Environment:
    """Look for a peer's environment."""
    python = environments.absolute() / peer.name / "bin" / "python"
    build = f"build it with `{peer.build_command(environments)}`."
    if not python.exists():
        return Environment(peer, python, {}, f"There is no environment {python.parent}: {build}")
    try:
        versions = _probe(python, list(peer.pins))
    except subprocess.CalledProcessError as reason:
        lines = reason.stderr.decode(errors="replace").strip().splitlines()
        told = f"status {reason.returncode}" + (f": {lines[-1].strip()}" if lines else "")
        return Environment(peer, python, {}, f"{python} does not run ({told}); {build}")
    except subprocess.TimeoutExpired:
        told = f"no answer within {_PROBE_SECONDS} s"
        return Environment(peer, python, {}, f"{python} does not run ({told}); {build}")
    except (OSError, ValueError) as reason:
        told = f"{type(reason).__name__}: {reason}".splitlines()[0]
        return Environment(peer, python, {}, f"{python} does not run ({told}); {build}")
    for name, wanted in peer.pins.items():
        found = versions.get(name)
        if found is None or found.split("+")[0] != wanted:
            wrong = f"holds {name} {found}, not {wanted}" if found else f"lacks {name} {wanted}"
            return Environment(peer, python, versions, f"{python.parent.parent} {wrong}; {build}")
    return Environment(peer, python, versions)


def _probe(python: Path, packages: list[str]) -> dict[str, str]:
    ran = subprocess.run(
        [str(python), "-c", _PROBE, *packages],
        capture_output=True,
        check=True,
        timeout=_PROBE_SECONDS,
        stdin=subprocess.DEVNULL,
        cwd=python.parent,
    )
    versions = json.loads(ran.stdout)
    if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
        raise ValueError(f"it answered {ran.stdout[:40]!r}")
    return versions


def chosen(names: tuple[str, ...]) -> list[Peer]:
    """The peers that `--peers` names; `none` is none of them.

    Raises:
        UserError: a name is not known, or `none` stands beside others.
    """
    if names == ("none",):
        return []
    if "none" in names:
        raise UserError("--peers names none and others; leave one of the two out.")
    return [PEERS.get(name) for name in dict.fromkeys(names)]


def beside() -> str | None:
    """What is to be said of an Intel Extension for PyTorch in this very environment, one sentence.

    Its import fails beside any torch but the one it was built for, with errors of many kinds, so it
    is judged by package metadata alone.

    Returns:
        None if it is not installed here.
    """
    found = {name: _installed(name) for name in ("intel-extension-for-pytorch", "torch")}
    extension, torch = found.values()
    if extension is None:
        return None
    wanted, there = (".".join((v or "0").split("+")[0].split(".")[:2]) for v in found.values())
    if wanted == there:
        return f"intel-extension-for-pytorch {extension} beside torch {torch}: they fit."
    return (
        f"intel-extension-for-pytorch {extension} is installed beside torch {torch} but runs with "
        f"torch {wanted} alone, so its import fails; nothing here uses it: uninstall it, and give "
        f"it an environment of its own with `{IPEX.build_command(ENVIRONMENTS)}`."
    )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
