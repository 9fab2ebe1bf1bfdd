"""`docs/networks.md` from `networks.json`.

python results/networks/table.py > docs/networks.md
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEAD = """# Which published networks run

Every classifier of torchvision with fewer than 30 million parameters, and of each module of timm
the smallest network (timm {timm}, torchvision {torchvision}, torch {torch}). Weights are random,
inputs small (64 pixels where the network takes them), the posterior is MOPED's with δ = 0.05, the
format INT8_SIGMA4. Made by `python results/networks/survey.py`, which goes on where it stopped, and
`python results/networks/table.py`; raw figures are in `results/networks/networks.json`.
Rows whose commit is kept: {commits}. Most others are of commits before softplus, uneven pools and
group norms ran in int8.

| | |
|---|---|
| native | all of it runs in int8 |
| divided | what no int8 graph holds stays float32 between int8 segments; the share is of the multiply–adds of convolutions, linear layers and products of matrices |
| refused | one sentence says why |
| not measured | it takes more than {seconds} s of a processor core or {gib} GiB, or was not yet reached |

Native and divided mean that two Monte Carlo passes of the native backend (its own loops, see
[the specification](spec.md)) and of the reference agree bit for bit, that the native backend's
logits on oneDNN are finite, and that the FP32 graph agrees with the module within 10⁻⁴ of the
largest logit. Some networks with random weights amplify the rounding of float32 beyond that. There
graph and module, both in float32, are held against the module in float64, and the graph's error
has to be no larger than the module's own, or at most 10⁻⁴ too; the last column has both.

Networks of convolutions, linear and normalisation layers, pooling, functions of one number, sums
and concatenation run natively, but for layer norm over the channels of each position (ConvNeXt and
all transformers) and a layer norm of maps with a factor for each number. What divides a network,
beside these, are products of two activations (attention, squeeze-and-excitation), interpolation,
learnable factors, and padding on one side alone (`hgnetv2_b0` has both).

{counts}

| network | million parameters | pixels | runs | share in int8 | FP32 difference | why |
|---|---:|---:|---|---:|---:|---|
"""  # noqa: E501


def share(found: dict[str, Any]) -> str:
    """In int8, in percent, never 100 of what is less."""
    if found["verdict"] == "native":
        return "100 %"
    if not found.get("multiply_adds"):
        return ""
    inside, total = found["multiply_adds"]
    return "100 %" if inside == total else f"{min(100 * inside / total, 99.9):.1f} %"


def why(found: dict[str, Any]) -> str:
    """The reason of what does not run, or what a difference was judged by."""
    if "graph_error" in found:
        graph, own = found["graph_error"], found["own_error"]
        return f"to the module in float64: graph {graph:.1e}, the module's own {own:.1e}"
    return str(found.get("reason", ""))


def row(name: str, count: int, found: dict[str, Any]) -> str:
    """A network's line."""
    verdict = found["verdict"]
    runs = {"failed": "not measured", "differs": "**differs**"}.get(verdict, verdict)
    error = f"{found['error']:.1e}" if "error" in found else ""
    reason = why(found).replace("|", "\\|")
    count = found.get("parameters", count)
    cells = (f"`{name}`", f"{count / 1e6:.1f}", found.get("size", ""), runs, share(found), error)
    return "| " + " | ".join(str(cell) for cell in (*cells, reason)) + " |"


def page(networks: dict[str, int], results: dict[str, Any]) -> str:
    """The whole page."""
    missing = {"verdict": "failed", "reason": "not yet reached"}
    found = {name: results["networks"].get(name, missing) for name in networks}
    kinds = [one["verdict"] for one in found.values()]
    named = ("native", "divided", "refused")
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in named)
    others = sum(kind not in named for kind in kinds)
    head = HEAD.format(
        commits=sum("commit" in one for one in found.values()),
        counts=f"Of {len(kinds)}: {counts}, {others} not measured.",
        **results["limits"],
        **results["versions"],
    )
    return head + "\n".join(row(name, networks[name], found[name]) for name in networks)


if __name__ == "__main__":
    listed = json.loads((HERE / "list.json").read_text())
    print(page(listed, json.loads((HERE / "networks.json").read_text())))
