"""Which networks the survey is over, written to `list.json`, smallest first.

    python results/networks/listed.py

Every classifier of torchvision with fewer than 30 million parameters, and of each module of timm
the network with the fewest (those that timm has for its own tests aside). Takes minutes: every
network of timm is built, without memory for its weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import timm
import torch
import torchvision

MOST = 30_000_000
HERE = Path(__file__).parent


def of_torchvision() -> dict[str, int]:
    """Parameters of each classifier, as published."""
    found = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        weights = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
        if weights.meta["num_params"] < MOST:
            found[f"torchvision:{name}"] = weights.meta["num_params"]
    return found


def _parameters(name: str) -> int | None:
    """Of a network of timm; None where it cannot be built without its weights."""
    try:
        with torch.device("meta"):
            module = timm.create_model(name)
    except Exception:  # each fails in its own way, such as for want of a package
        return None
    return sum(one.numel() for one in module.parameters())


def of_timm() -> dict[str, int]:
    """Parameters of the smallest network of each module."""
    found = {}
    for family in timm.list_modules():
        names = timm.list_models(module=family)
        published = [name for name in names if not name.startswith("test_")] or names
        counted = {name: _parameters(name) for name in published}
        known = {name: count for name, count in counted.items() if count is not None}
        smallest = min(known, key=lambda name: (known[name], name))
        found[f"timm:{smallest}"] = known[smallest]
    return found


if __name__ == "__main__":
    networks = of_torchvision() | of_timm()
    ordered = dict(sorted(networks.items(), key=lambda item: (item[1], item[0])))
    (HERE / "list.json").write_text(json.dumps(ordered, indent=1) + "\n")
