"""The sampler's benchmark: every width draws and copies the bytes it says."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from sigmabench.harness import native
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.studies.bench import sampler

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason="nothing is compiled")


def test_every_width_moves_its_bytes(tmp_path) -> None:
    plan = sampler.SamplerPlan(weights=1 << 16, threads=1, seconds=0.05)
    widths = sampler.measure(plan)
    assert [width.bits for width in widths] == list(range(1, 9))
    for width in widths:
        assert width.weights == 1 << 16
        assert width.moved_bytes == width.weights * (16 + width.bits) // 8
        assert len(width.draw_ns) == sum(width.draw_slices) >= 20
        assert width.share.low <= width.share.value <= width.share.high
        assert width.share.value == pytest.approx(width.gb_per_s / width.copy_gb_per_s)
    run = sampler.record_of(plan, "x", widths)
    path = sampler.save(run, tmp_path)
    assert json.loads(path.read_text())["widths"][7]["draw_ns"] == list(widths[7].draw_ns)


def test_a_draw_counts_every_weight_once_whatever_shares_it() -> None:
    for threads in (1, 3):
        program = sampler._program(4, 16, sampler.SamplerPlan(threads=threads))
        program.draw(1, 0, 5)
        assert program.draws == 5 * 16 * sampler.INPUTS


def test_a_copy_copies() -> None:
    native.load().Copy(1000, 3).run()


@pytest.mark.parametrize(
    "wrong", [{"weights": 10}, {"weights": 1 << 31}, {"threads": 0}, {"seconds": 0.0}, {"seed": -1}]
)
def test_what_cannot_be_drawn_is_refused(wrong) -> None:
    with pytest.raises(UserError, match="--"):
        sampler.SamplerPlan(**wrong)


def test_the_command_prints_a_row_a_width(tmp_path) -> None:
    command = ["bench", "sampler", "--weights", "65536", "--threads", "1", "--seconds", "0.05"]
    outcome = CliRunner().invoke(main, [*command, "--results", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.count("–") >= 8
    assert len(list(tmp_path.rglob("*.json"))) == 1
