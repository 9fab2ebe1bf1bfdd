"""What peers are given: networks by name, posteriors and images as plain arrays."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy import Residual

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.torch_state import PlainCall
from sigmabench.harness.peers.handover import (
    NoRoomError,
    all_bayesian,
    write_images,
    write_networks,
)
from sigmabench.harness.peers.process import PeerError
from sigmabench.harness.peers.source import source_of
from sigmabench.harness.peers.workers import network as far
from sigmabench.harness.peers.workers.draws import Drawn, Probe
from sigmabench.harness.posterior import Posterior, moped
from sigmabench.harness.posterior.bayesian_torch import from_bayesian_torch
from sigmabench.harness.workload.prepare import Networks
from sigmabench.harness.workload.workload import WORKLOADS, resolve_workload


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def tiny(channels: int, *, classes: int) -> nn.Module:
    return nn.Linear(channels, classes)


#: In a process that cannot import SigmaBench, as in a peer's environment.
FAR_END = """
import json, sys
sys.modules["sigmabench"] = None
from network import make
made = {name: make(**job).state_dict() for name, job in json.load(sys.stdin).items()}
print(json.dumps({n: {k: list(v.shape) for k, v in state.items()} for n, state in made.items()}))
"""


@pytest.mark.thorough
def test_the_far_end_builds_every_workload_s_network():
    models = {name: resolve_workload(name).model for name in WORKLOADS.names()}
    models["torchvision:googlenet"] = resolve_workload("torchvision:googlenet").model
    models["timm:resnet18"] = resolve_workload("timm:resnet18").model
    done = subprocess.run(
        [sys.executable, "-c", FAR_END],
        input=json.dumps({name: source_of(model).job() for name, model in models.items()}),
        env={**os.environ, "PYTHONPATH": str(Path(far.__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ours = {n: {k: list(v) for k, v in shapes(m()).items()} for n, m in models.items()}
    assert json.loads(done.stdout) == ours


def test_a_partial_is_a_call_with_arguments():
    found = source_of(partial(tiny, 3, classes=2))
    assert source_of(PlainCall(partial(tiny, 3, classes=2))) == found
    assert found.source == f"{Path(__file__)}:tiny"
    made = far.make(*found.job().values())
    assert (made.in_features, made.out_features) == (3, 2)
    torchvision = pytest.importorskip("torchvision.models")
    assert source_of(torchvision.resnet50).source == "torchvision.models.resnet:resnet50"


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (lambda: nn.Linear(2, 2), "which another interpreter cannot name"),
        (partial(tiny, 3, classes=torch.tensor(2)), "not plain numbers and text"),
    ],
)
def test_what_cannot_be_named_is_a_sentence(factory, says):
    with pytest.raises(PeerError, match=says):
        source_of(factory)


def test_images_arrive_as_ours_are(tmp_path):
    splits = resolve_workload("lenet-digits").splits(None)
    scored = splits.validation.limit(70)
    write_images(tmp_path, scored, splits.calibration)
    batches = far.Batches(str(tmp_path), "images", 32)
    assert len(batches) == 3
    assert torch.equal(batches[1], scored.batch(slice(32, 64)))
    assert torch.equal(batches[2][:6], scored.batch(slice(64, 70)))
    assert torch.equal(batches[2][6:], scored.batch(slice(0, 26)))
    assert len(np.load(tmp_path / "calibration.npy", mmap_mode="r")) == 1024
    assert len(list(batches)) == 3


class Full(FileIO):
    """A file on a disk that has room for a .npy's header and no more."""

    def write(self, data: bytes) -> int:
        if self.tell():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_images_that_find_no_room_are_a_sentence(tmp_path, monkeypatch):
    splits = resolve_workload("lenet-digits").splits(None)
    scored = splits.validation.limit(70)
    says = (
        f"The temporary folder {tmp_path} cannot hold images.npy of "
        f"{4 * scored.images.numel():,} bytes ({{}}); name another one with TMPDIR, or score fewer "
        "images with --limit."
    )
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode: Full(path, mode))
        with pytest.raises(NoRoomError) as full:
            write_images(tmp_path, scored, splits.calibration)
    assert str(full.value) == says.format("No space left on device")
    assert not list(tmp_path.iterdir())
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NoRoomError) as full:
        write_images(tmp_path, scored, splits.calibration)
    assert str(full.value) == says.format("1,000 are free")
    assert not list(tmp_path.iterdir())


def test_networks_that_find_no_room_are_a_sentence(
    tmp_path, monkeypatch, residual: nn.Module, posterior: Posterior
):
    def full(path: Path, **_: object) -> None:
        path.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(
        NoRoomError, match=r"cannot hold twin\.npz of .* another one with TMPDIR\.$"
    ):
        write_networks(tmp_path, Networks(posterior, posterior), residual)
    assert not list(tmp_path.iterdir())


def test_networks_arrive_bit_for_bit(tmp_path, residual: nn.Module, posterior: Posterior):
    twin = replace(posterior, mean={n: m + 1 for n, m in posterior.mean.items()})
    write_networks(tmp_path, Networks(posterior, twin), residual)
    module = Residual()
    module.load_state_dict(far.tensors(str(tmp_path), "twin"))
    assert torch.equal(module.conv1.weight, residual.conv1.weight + 1)
    std = far.load_posterior(module, str(tmp_path))
    for name, value in posterior.std().items():
        assert torch.equal(std[name], value)
        assert torch.equal(module.get_parameter(name), posterior.mean[name])
    assert torch.equal(module.norm1.running_var, residual.norm1.running_var)
    back = from_bayesian_torch(far.tensors(str(tmp_path), "bayesian-torch"), residual)
    assert back.content_hash() == posterior.content_hash()


def test_deterministic_layers_become_frozen_ones(residual: nn.Module, posterior: Posterior):
    lacking = {n for n in posterior.mean if n.startswith("head")}
    mixed = Posterior(
        {n: m for n, m in posterior.mean.items() if n not in lacking},
        {n: r for n, r in posterior.rho.items() if n not in lacking},
        {**posterior.state, **{n: posterior.mean[n] for n in lacking}},
    )
    whole = all_bayesian(mixed, residual)
    assert set(whole.mean) == set(posterior.mean)
    assert set(whole.state) == set(posterior.state)
    assert not any(bool(whole.std()[name].any()) for name in lacking)
    assert torch.equal(whole.mean["head.weight"], posterior.mean["head.weight"])


def test_a_posterior_without_counterpart_still_leaves_the_others_files(tmp_path):
    module = nn.PReLU(3)
    odd = Posterior({"slope.alpha": module.weight.data}, {"slope.alpha": torch.zeros(3)}, {})
    with pytest.raises(UserError, match=r"slope\.alpha"):
        write_networks(tmp_path, Networks(odd, odd), module)
    assert {p.name for p in tmp_path.iterdir()} == {"twin.npz", "posterior.npz"}


def test_nothing_pickled_is_read(tmp_path):
    np.savez(tmp_path / "twin.npz", weight=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        far.tensors(str(tmp_path), "twin")


def test_a_pass_computes_with_what_it_drew(residual: nn.Module, posterior: Posterior):
    module = Residual().eval()
    module.load_state_dict(residual.state_dict())
    drawn = Drawn(module, posterior.std()).eval()
    x = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        logits, *weights = Probe(drawn)(x)
        named = dict(zip(drawn.draws, weights, strict=True))
        expected = torch.func.functional_call(residual, named, (x,))
        torch.testing.assert_close(logits, expected)
        assert not torch.equal(drawn(x), logits)
        passes = [dict(zip(drawn.draws, Probe(drawn)(x)[1:], strict=True)) for _ in range(200)]
    for name in ("conv1.weight", "head.weight"):
        z = torch.stack([one[name] for one in passes]) - posterior.mean[name]
        z = (z / posterior.std()[name]).double()
        assert abs(float(z.mean())) < 6 / z.numel() ** 0.5
        assert float(z.var()) == pytest.approx(1, abs=6 * (2 / z.numel()) ** 0.5)


def test_a_synthetic_posterior_is_moped_s(residual: nn.Module):
    expected = moped(residual, far.DELTA).std()
    for name, value in far.load_posterior(residual, "").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-9)
