"""A run of a divided network, from the workload to the tables."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from studied import studied
from torch import Tensor, nn

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.measure.operations import finding
from sigmabench.harness.posterior import moped, save
from sigmabench.harness.quantize.artefact import save as save_artefact
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.race.profiled import load_program
from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.report import table
from sigmabench.harness.studies.run import measure as sweep
from sigmabench.harness.training.progress import Run
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import prepare
from sigmabench.harness.workload.workload import Workload, resolve_workload


class SqueezeExcite(nn.Module):
    """Digits by two convolutions, one of them weighted by what its maps hold on average."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.squeeze = nn.Conv2d(16, 4, 1)
        self.excite = nn.Conv2d(4, 16, 1)
        self.second = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x))
        weight = self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True))))
        y = torch.relu(self.second(y * weight.sigmoid()))
        return self.head(self.norm(y.flatten(2).mean(2)))


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Weights that fit the network's 1,097 training images a little."""
    base = resolve_workload("lenet-digits")
    torch.manual_seed(0)
    module, train = SqueezeExcite(), base.splits(None).train
    x, labels = train.batch(slice(0, len(train))), train.labels
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), labels).backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("posterior") / "digits.safetensors"
    save(moped(module, 0.05), path)
    return replace(base, name="digits-se", model=SqueezeExcite, posterior=path)


@pytest.fixture(scope="module")
def records(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    with pytest.MonkeyPatch.context() as patch:
        # Speed on a shared machine is not what is tested here.
        patch.setattr(sweep.audits, "noise_bounded", lambda noise: "pass")
        patch.setattr(sweep.audits, "inputs_not_cached", lambda *_: "pass")
        plan = Plan(
            workload, formats=("FP32", "BF16", "INT8", "INT8_SIGMA2"), mc=(3,), batches=(4,),
            limit=96, seconds=0.1, seeds=2,
        )  # fmt: skip
        return studied("run", plan, tmp_path_factory.mktemp("results"))


def test_records_are_valid_and_tell_what_stays_float(records: list[RunRecord]) -> None:
    assert [record.verdict.audits for record in records if not record.verdict.valid] == []
    for record in records:
        found = record.body.operations
        assert found is not None
        assert (found.segments, found.inside, found.total) == (4, 5, 10)
        assert found.inside_multiply_adds == found.total_multiply_adds == (
            16 * 9 * 64 + 16 * 4 + 4 * 16 + 16 * 16 * 9 * 16 + 160
        )  # fmt: skip
        told = [line for line in record.verdict.findings if "operations" in line]
        arithmetic = {"FP32": [], "BF16": ["bf16"]}.get(record.subject.format, ["int8"])
        assert told == [
            f"5 of 10 operations (100 % of multiply–adds) in {one}; the rest stays float32"
            for one in arithmetic
        ]
        assert record.body.size.constant_bytes == 2 * 16 * 4
        assert set(record.body.kernels) == {"first", "squeeze", "excite", "second", "head"}
    accuracy = [record.body.quality.scores["accuracy"][0] for record in records]
    assert min(accuracy) > 60
    assert max(accuracy) - min(accuracy) < 8


def test_tables_say_so_within_80_columns(records: list[RunRecord]) -> None:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(table.narrow(records))
    output = console.file.getvalue()
    assert max(map(len, output.splitlines())) <= 80
    assert "5 of 10 operations (100 % of multiply–adds) in int8" in " ".join(output.split())
    assert "Float: parameters of operations that stay float." in " ".join(output.split())
    assert '"inside": 5' in "".join(table.json_lines(records))


def test_inspect_and_profile_say_so(workload: Workload, tmp_path: Path) -> None:
    artefact = prepare(Plan(workload, formats=("INT8",))).artefact("INT8")
    save_artefact(artefact, tmp_path / "it.safetensors")
    shown = CliRunner().invoke(main, ["inspect", str(tmp_path / "it.safetensors")])
    assert shown.exit_code == 0
    assert "5 of 10 operations" in " ".join(shown.output.split())
    with pytest.raises(UserError, match="divided into 4 programs"):
        load_program(artefact, 1)


class ChannelAttention(nn.Module):
    """Channels weighted by a convolution over their averages, as in ECA networks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3)
        self.attend = nn.Conv1d(1, 1, 3, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        weight = self.attend(y.mean((2, 3)).unsqueeze(1)).sigmoid()
        return self.head((y * weight.transpose(1, 2).unsqueeze(3)).amax((2, 3)))


def test_moped_and_training_give_no_sigma_where_nothing_is_sampled() -> None:
    base = resolve_workload("lenet-digits")
    workload = replace(
        base, model=ChannelAttention, posterior=None, delta=0.1,
        pretrained=lambda root: ChannelAttention(),
    )  # fmt: skip
    posterior, _ = workload.load_posterior()
    sampled = ["first.weight", "first.bias", "head.weight", "head.bias"]
    assert list(posterior.mean) == sampled
    graph = fold(ChannelAttention(), posterior, workload.input_shape).graph
    told = finding(graph, FORMATS.get("FP32"))
    assert told == ("layers without a σ, the same in every pass: attend.weight",)
    recipe = base.recipe("best")
    run = Run.begin(workload, recipe, 0, torch.device("cpu"), None)
    assert list(run.posterior().mean) == sampled
