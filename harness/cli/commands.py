"""What the command line's commands do between options and output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.errors import UserError

if TYPE_CHECKING:
    from ..core.formats import Format
    from ..core.registry import Registry
    from ..core.sheet import RichSheet
    from ..workload.plan import Plan
    from ..workload.workload import Workload

T = TypeVar("T")
#: The slowest 1 % of repeats over the median, up to which a machine counts as quiet.
TAIL = 1.5


def listing() -> dict[str, list[dict[str, Any]]]:
    """Every name a user can give, with what it is."""
    from ..backends.base import BACKENDS
    from ..core.formats import FORMATS
    from ..corruptions.registered import CORRUPTIONS
    from ..data.known_sets import OOD_SETS
    from ..measure.scenarios import SCENARIOS
    from ..methods.method import METHODS
    from ..metrics.metric import METRICS
    from ..peers.environment import PEERS
    from ..quantize.observers import OBSERVERS
    from ..race.networks import NETWORKS
    from ..studies.known import STUDIES
    from ..workload.workload import WORKLOADS

    found: dict[str, list[dict[str, Any]]] = {
        "workloads": [_workload_facts(workload) for workload in _all(WORKLOADS)],
        "formats": [_format_facts(format) for format in _all(FORMATS)],
        "backends": [
            {"name": b.name, "is": b.description, "unavailable": b.unavailable() or ""}
            for b in _all(BACKENDS)
        ],
        "scenarios": [{"name": s.name, "is": s.description} for s in _all(SCENARIOS)],
        "metrics": [{"name": m.name, "unit": m.unit, "is": m.description} for m in _all(METRICS)],
        "methods": [{"name": m.name, "is": m.description} for m in _all(METHODS)],
        "observers": _documented(OBSERVERS),
        "corruptions": [
            {"name": n, "is": "random" if CORRUPTIONS.get(n).random else "the same for all seeds"}
            for n in CORRUPTIONS
        ],
        "sets from outside": _documented(OOD_SETS),
        "networks": [{"name": n, "is": NETWORKS.get(n).title} for n in NETWORKS],
        "peers": [{"name": peer.name, "is": peer.title} for peer in _all(PEERS)],
        "studies": [{"name": study.name, "is": study.summary} for study in _all(STUDIES)],
    }
    return found


def posteriors() -> list[dict[str, Any]]:
    """Posteriors and networks that ship with workloads, each checked by its hashes."""
    from ..workload.workload import WORKLOADS

    found = []
    for workload in _all(WORKLOADS):
        for role, path in workload.shipped_files():
            network, made = workload.load_posterior(path)
            scores = made.get("validation", {})
            found.append(
                {
                    "workload": workload.name,
                    "is": role,
                    "file": path.name,
                    "content hash": network.content_hash()[:16],
                    "recipe": made.get("recipe", {}).get("name", ""),
                    "epochs": made.get("epochs", ""),
                    "seed": made.get("seed", ""),
                    "validation NLL": scores.get("nll_nats", ""),
                }
            )
    return found


def posterior_tables() -> list[RichSheet]:
    """`posteriors` for a person, a table for each workload."""
    from ..core.words import fixed

    homes: dict[str, list[dict[str, Any]]] = {}
    for row in posteriors():
        row["file"] = row["file"].removesuffix(".safetensors").removeprefix(f"{row['workload']}-")
        row["val. NLL"] = fixed(row.pop("validation NLL") or None, 4)
        row.pop("recipe")  # files are called by it
        homes.setdefault(row.pop("workload"), []).append(row)
    return [_table(name, rows) for name, rows in homes.items()]


def _all(registry: Registry[T]) -> list[T]:
    return list(registry.usable().values())


def _documented(functions: Registry[Any]) -> list[dict[str, Any]]:
    """Functions by the first line of what they say of themselves."""
    return [
        {"name": name, "is": (function.__doc__ or "").split("\n")[0]}
        for name, function in functions.usable().items()
    ]


def _workload_facts(workload: Workload) -> dict[str, Any]:
    return {
        "name": workload.name,
        "is": workload.title,
        "recipes": ", ".join(workload.recipes),
        "replicas": ", ".join(replica.stem for replica in workload.replicas),
    }


def _format_facts(format: Format) -> dict[str, Any]:
    return {
        "name": format.name,
        "μ bits": format.mean_bits,
        "σ bits": format.sigma_bits,
        "computes": format.arithmetic,
    }


def _table(title: str, rows: Sequence[dict[str, Any]]) -> RichSheet:
    from ..core.sheet import Column, RichSheet, Sheet

    keys = dict.fromkeys(key for row in rows for key in row)
    shown = [key for key in keys if any(row[key] not in ("", None) for row in rows)]
    columns = tuple(
        Column(
            key,
            numeric=all(isinstance(row[key], (int, float)) for row in rows),
            whole=key in ("name", "recipes"),
        )
        for key in shown
    )
    cells = tuple(tuple(str(row[key]) for key in shown) for row in rows)
    return RichSheet(Sheet(title, columns, cells, {}))


def listing_tables() -> list[RichSheet]:
    """`listing` for a person."""
    found = listing()
    for facts in found["workloads"]:
        names = facts.pop("replicas").split(", ")
        recipes = facts["recipes"].split(", ")
        facts["recipes"] = "\n".join([*recipes, *(f"replica {name}" for name in names if name)])
    return [_table(kind.capitalize(), rows) for kind, rows in found.items()]


def diagnosis(seconds: float, environments: Path | None = None) -> dict[str, Any]:
    """The machine, the backends, the peers' environments (in a folder, by default `ENVIRONMENTS`)
    and a noise check."""
    from ..backends.base import BACKENDS
    from ..core.checks import check_seconds
    from ..machine.describe import describe
    from ..measure.steadiness import noise_check
    from ..peers.environment import ENVIRONMENTS, PEERS, beside, find

    check_seconds(seconds)
    backends = {
        name: f"{backend.unavailable() or 'available'}; needs {backend.needs}"
        for name, backend in BACKENDS.usable().items()
    }
    return {
        "machine": describe(),
        "backends": backends,
        "peers": {
            name: found.unavailable or f"available: {_shown(found.versions)}"
            for name in PEERS
            for found in (find(PEERS.get(name), environments or ENVIRONMENTS),)
        }
        | ({"ipex, in this environment": here} if (here := beside()) else {}),
        "noise_check": asdict(noise_check(seconds)),
    }


def diagnosis_tables(found: dict[str, Any]) -> list[RichSheet]:
    """`diagnosis` for a person."""
    noise = found["noise_check"]
    tail = noise["p99_over_p50"]
    middle = noise["p50_ns"] / 1e6
    summary = {
        "repeats": f"{noise['repeats']:,}",
        "median": f"{middle:.3f} ms",
        "half of the repeats": f"within ± {50 * noise['middle_half']:.1f} % of it",
        "slowest 1 %": "–" if tail is None else f"{tail * middle:.3f} ms or more, {tail:.1f} × it",
        "so": _quiet(tail),
    }
    return [
        _facts("Machine", found["machine"]),
        _facts("Backends", found["backends"]),
        _facts("Peers: environments of other implementations", found["peers"]),
        _facts("Noise: one thread repeating one fixed piece of work", summary),
    ]


def _quiet(tail: float | None) -> str:
    """What the slowest repeats say of the machine."""
    if tail is None:
        return "too few repeats to see a tail: give more --seconds"
    if tail < TAIL:
        return "this machine is quiet"
    return (
        "something takes this core away now and then, another program or another virtual machine: "
        "medians may be right, high percentiles are not"
    )


def _facts(title: str, facts: dict[str, Any]) -> RichSheet:
    rows = [{"what": name.replace("_", " "), "value": _shown(v)} for name, v in facts.items()]
    return _table(title, rows)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return " ".join(_shown(part) for part in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_artefacts(plan: Plan, out: Path) -> list[dict[str, Any]]:
    """Quantize to the plan's formats and save `<workload>-<format>.safetensors` for each."""
    from ..quantize.artefact import save, size
    from ..workload.prepare import prepare

    prepared = prepare(plan)
    fp32 = prepared.artefact("FP32")
    written = []
    for name in plan.formats:
        artefact = prepared.artefact(name)
        path = out / f"{plan.workload.name}-{name.lower()}.safetensors"
        save(artefact, path)
        written.append({"path": str(path), "format": name, **asdict(size(artefact, fp32))})
    return written


def size_table(written: Sequence[dict[str, Any]]) -> RichSheet:
    """`write_artefacts` for a person."""
    rows = [
        {
            "file": Path(one["path"]).name,
            "bytes": one["file_bytes"],
            "weights": one["weight_bytes"],
            "ratio weights": f"{one['ratio_weights']:.2f}×",
            "ratio file": f"{one['ratio_file']:.2f}×",
        }
        for one in written
    ]
    return _table(f"Artefacts in {Path(written[0]['path']).parent}", rows)


def inspection(file: Path) -> dict[str, Any]:
    """What a posterior or an artefact file holds, for JSON."""
    from ..posterior.file import is_posterior

    if not file.is_file():
        raise UserError(f"There is no file {file}; name an artefact's or a posterior's.")
    return _inspect_posterior(file) if is_posterior(file) else _inspect_artefact(file)


def _inspect_posterior(file: Path) -> dict[str, Any]:
    from ..posterior import load

    posterior, metadata = load(file)
    std = posterior.std()
    layers = [
        {
            "parameter": name,
            "shape": "×".join(map(str, mean.shape)),
            "rms μ": float(mean.square().mean().sqrt()),
            "rms σ": float(std[name].square().mean().sqrt()),
            "σ min": float(std[name].min()),
            "σ max": float(std[name].max()),
        }
        for name, mean in posterior.mean.items()
    ]
    facts = {name: value for name, value in metadata.items() if name != "names"}
    return {"file": str(file), "kind": "posterior", **facts, "layers": layers}


def _inspect_artefact(file: Path) -> dict[str, Any]:
    from ..measure.operations import operations, told
    from ..quantize.artefact import load, size

    artefact = load(file)
    header = artefact.header
    layers = [
        {
            "layer": conv.name,
            "shape": "×".join(map(str, conv.shape)),
            "rms μ": _rms(artefact.layers[conv.name].real_mean()),
            "rms σ": _rms(artefact.layers[conv.name].real_std()),
            "clipped %": 100 * header.saturation.get(conv.name, 0.0),
        }
        for conv in artefact.graph.convs
    ]
    facts = {
        name: getattr(header, name)
        for name in (
            "format",
            "workload",
            "workload_version",
            "posterior",
            "range",
            "granularity",
            "sigma_offset",
            "sigma_grid",
            "rounding",
            "observer",
            "calibration",
            "noise_stream",
            "schema",
        )
    }
    found = operations(artefact.graph)
    if found is not None:
        facts["operations"] = told(found, artefact.format)
    itemised = {k: v for k, v in asdict(size(artefact)).items() if v is not None}
    return {"file": str(file), "kind": "artefact", **facts, "size": itemised, "layers": layers}


def _rms(values: Any) -> float:
    import numpy as np

    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def inspection_tables(found: dict[str, Any]) -> list[RichSheet]:
    """`inspection` for a person."""
    from ..core.words import plural

    facts = {name: value for name, value in found.items() if name not in ("layers", "file")}
    if log := facts.get("log"):
        facts["log"] = f"the last of {plural(len(log), 'epoch')}: {_shown(log[-1])}"
    rows = [
        {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in layer.items()}
        for layer in found["layers"]
    ]
    layers = [_table("Layers", rows)] if rows else []
    return [_facts(found["file"], facts), *layers]
