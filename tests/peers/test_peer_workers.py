"""The real peers, where their environments are: `pytest -m peers`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sigmabench.harness.bench.networks import NETWORKS
from sigmabench.harness.peers.environment import ENVIRONMENTS, PEERS, find
from sigmabench.harness.peers.process import PeerError, Process

pytestmark = pytest.mark.peers

ROOT = Path(os.environ.get("SIGMABENCH_PEERS", Path(__file__).parents[2] / ENVIRONMENTS))
CASES = [
    ("ipex", "lenet5", ("INT8", "BF16", "FP32")),
    ("ipex", "resnet20", ("INT8", "BF16", "FP32")),
    ("ipex", "resnet50", ("INT8",)),
    ("bayesian-torch", "resnet20", ("FP32",)),
    ("bayesian-torch", "resnet50", ("INT8",)),
]


def loaded(name: str, network: str, format: str) -> tuple[Process, dict[str, object]]:
    environment = find(PEERS.get(name), ROOT)
    if environment.unavailable:
        pytest.skip(environment.unavailable)
    process = Process(environment.python, environment.peer.worker, 2, f"{name} {format}")
    declared = NETWORKS.get(network)
    job = {
        "source": declared.source(),
        "format": format,
        "shape": list(declared.input_shape),
        "batch": 2,
        "inputs": 2,
        "threads": 2,
        "seed": 0,
    }
    try:
        return process, process.ask({"load": job}, 600)["loaded"]
    except PeerError:
        process.close()
        raise


@pytest.mark.parametrize(
    ("name", "network", "format"),
    [(name, network, format) for name, network, formats in CASES for format in formats],
)
def test_it_computes_and_then_sleeps(name, network, format):
    process, told = loaded(name, network, format)
    with process:
        assert told["versions"] == find(PEERS.get(name), ROOT).versions
        assert len(process.ask({"run": 3}, 300)["ns"]) == 3
        time.sleep(PAUSE_SECONDS)
        assert process.idle_share() <= IDLE_SHARE


def test_bayesian_torch_quantizes_resnet50_alone():
    with pytest.raises(PeerError, match="quantizes ResNet-50 alone"):
        loaded("bayesian-torch", "lenet5", "INT8")
