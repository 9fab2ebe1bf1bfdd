"""The real peers, where their environments are: `pytest -m peers`."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sigmabench.harness.peers.contender import IDLE_SHARE, PAUSE_SECONDS, remotes_of
from sigmabench.harness.peers.environment import ENVIRONMENTS, OPENVINO, PEERS, find
from sigmabench.harness.peers.handover import write_images, write_networks
from sigmabench.harness.peers.process import PeerError, Process
from sigmabench.harness.peers.source import source_of
from sigmabench.harness.posterior import Posterior
from sigmabench.harness.race.networks import NETWORKS
from sigmabench.harness.records.runtime_record import Contender
from sigmabench.harness.studies.peers.peer_audits import effective
from sigmabench.harness.workload.prepare import Networks
from sigmabench.harness.workload.workload import Workload, resolve_workload

pytestmark = pytest.mark.peers

ROOT = Path(os.environ.get("SIGMABENCH_PEERS", Path(__file__).parents[2] / ENVIRONMENTS))
DETERMINISTIC = ("DNN_INT8", "DNN_BF16", "DNN_FP32")
CASES = [
    ("ipex", "lenet5", (*DETERMINISTIC, "FP32")),
    ("ipex", "resnet20", (*DETERMINISTIC, "FP32")),
    ("ipex", "resnet50", ("DNN_INT8",)),
    ("inductor", "lenet5", ("DNN_INT8", "FP32")),
    ("bayesian-torch", "lenet5", ("INT8 layers",)),
    ("bayesian-torch", "resnet20", ("FP32",)),
    ("bayesian-torch", "resnet50", ("INT8",)),
    ("openvino", "lenet5", tuple(OPENVINO.formats)),
    ("openvino", "resnet20", tuple(OPENVINO.formats)),
    ("openvino", "resnet50", ("DNN_INT8 (1 stream per core)",)),
]
REFUSED = [
    ("bayesian-torch", "lenet5", "INT8", "quantizes ResNet-50 alone"),
    ("bayesian-torch", "resnet20", "INT8 layers", "QuantizedCPU"),
    ("inductor", "lenet5", "INT8", "take constant weights"),
    ("ipex", "lenet5", "INT8", "hold constant weights"),
]


def loaded(name: str, network: str, format: str) -> tuple[Process, dict[str, object]]:
    environment = find(PEERS.get(name), ROOT)
    if environment.unavailable:
        pytest.skip(environment.unavailable)
    process = Process([environment.python, environment.peer.worker], 2, f"{name} {format}")
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
        process.ask({"build": job}, 600)
        return process, process.ask({"load": True}, 600)["loaded"]
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
        assert len(process.ask({"run": 3}, 300)["ns"]) == (1 if told["together"] else 3)
        time.sleep(PAUSE_SECONDS)
        assert process.idle_share() <= IDLE_SHARE


@pytest.mark.parametrize(("name", "network", "format", "says"), REFUSED)
def test_what_it_refuses_is_a_sentence(name, network, format, says):
    with pytest.raises(PeerError, match=says):
        loaded(name, network, format)


def digits(folder: Path, **changes: object) -> tuple[Workload, Posterior, dict[str, object]]:
    """A trained network and eight images, handed over."""
    workload = resolve_workload("lenet-digits")
    posterior, _ = workload.load_posterior()
    splits = workload.splits(None)
    write_images(folder, splits.validation.limit(8), splits.train.limit(40))
    write_networks(folder, Networks(posterior, posterior), workload.model())
    job = {
        **source_of(workload.model).job(),
        "shape": list(workload.input_shape),
        "batch": 8,
        "inputs": 1,
        "threads": 1,
        "seed": 0,
        "data": str(folder),
    }
    return workload, posterior, {**job, **changes}


@pytest.mark.parametrize("name", ["bayesian-torch", "inductor", "ipex"])
def test_it_draws_the_posterior_it_was_given(name, tmp_path):
    """In float32 its draws keep all of σ, and its logits vary from pass to pass."""
    environment = find(PEERS.get(name), ROOT)
    if environment.unavailable:
        pytest.skip(environment.unavailable)
    workload, posterior, job = digits(tmp_path)
    only = replace(environment.peer, formats={"FP32": "FP32"})
    with remotes_of(job, [replace(environment, peer=only)]) as (remotes, absent):
        assert not absent
        drawn = remotes[0].drawn_std(64)
        for parameter, std in posterior.std().items():
            if std.ndim > 1:
                expected = float(std.double().square().mean().sqrt())
                error = 1 / math.sqrt(2 * 63 * effective(std.numpy()))
                assert drawn[parameter] == pytest.approx(expected, rel=6 * error)
        logits = remotes[0].logits(0, 5, tmp_path)
        assert logits.shape == (5, 8, workload.classes)
        assert len({one.tobytes() for one in logits}) == 5
        assert remotes[0].saved_bytes() > 2 * 4 * posterior.parameter_count


def test_openvino_computes_the_twin_it_was_given(tmp_path):
    """Float32 as PyTorch does, the others nearly so; the same in both modes; in int8 where it is
    quantized, and with as many threads and streams as it was told."""
    environment = find(OPENVINO, ROOT)
    if environment.unavailable:
        pytest.skip(environment.unavailable)
    workload, posterior, job = digits(tmp_path, threads=2)
    images = workload.splits(None).validation.limit(8).batch(slice(0, 8))
    module = workload.model().eval()
    module.load_state_dict({**posterior.state, **posterior.mean})
    with torch.no_grad():
        expected = module(images).numpy()
    size = {}
    with remotes_of(job, [environment]) as (remotes, absent):
        assert all("in other precisions" in one.reason for one in absent)
        for remote in remotes:
            name, _, mode = remote.peer_format.partition(" ")
            (found,) = remote.logits(0, 1, tmp_path)
            off = {"DNN_FP32": 1e-4, "DNN_BF16": 0.05, "DNN_INT8": 0.25}[name]
            assert np.abs(found - expected).max() < off * np.abs(expected).max()
            assert (found.argmax(1) == expected.argmax(1)).all()
            told = remote.details()
            assert told["threads"] == "2"
            assert told["streams"] == ("2" if "per core" in mode else "1") == str(remote.streams)
            precision = {"DNN_FP32": "f32", "DNN_BF16": "bf16", "DNN_INT8": "int8"}[name]
            assert f"in {precision}" in told["multiply_adds"]
            assert remote.query(0, 6) > 0
            size[name] = remote.saved_bytes()
    assert {"DNN_FP32", "DNN_INT8"} <= set(size)
    assert size["DNN_INT8"] < size["DNN_FP32"]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("ipex", "DNN_INT8"),
        ("inductor", "DNN_INT8"),
        ("openvino", "DNN_INT8 (1 stream)"),
    ],
)
def test_what_is_quantized_once_computes_the_same_in_a_later_process(name, format, tmp_path):
    """It is read, in the form that was chosen, and nothing is calibrated again."""
    environment = find(PEERS.get(name), ROOT)
    if environment.unavailable:
        pytest.skip(environment.unavailable)
    kept = tmp_path / "kept"
    kept.mkdir()
    _, _, job = digits(tmp_path, threads=2, kept=str(kept))
    only = replace(environment.peer, formats={format: environment.peer.formats[format]})
    found = []
    before: dict[str, Contender] = {}
    for _ in range(2):
        with remotes_of(job, [replace(environment, peer=only)], before=before) as (remotes, absent):
            assert not absent
            (remote,) = remotes
            found.append(remote.logits(0, 1, tmp_path))
            chosen = remote.details()["input"]
        first = Contender(remote.name, name, remote.format, name, 1, details=remote.details())
        before = before or {remote.name: first}
        (tmp_path / "calibration.npy").unlink(missing_ok=True)
    assert chosen == before[remote.name].details["input"]
    assert np.array_equal(*found)


def test_openvino_refuses_a_mode_that_one_core_does_not_have(tmp_path):
    environment = find(OPENVINO, ROOT)
    if environment.unavailable:
        pytest.skip(environment.unavailable)
    _, _, job = digits(tmp_path)
    formats = {name: OPENVINO.formats[name] for name in ("DNN_FP32 (1 stream per core)",)}
    peer = replace(OPENVINO, formats=formats)
    with remotes_of(job, [replace(environment, peer=peer)]) as (remotes, absent):
        assert not remotes
        assert "is the same as 1 stream" in absent[0].reason
