"""The sampler's benchmark: every width draws and copies the bytes it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from studied import studied

from sigmabench.harness import native
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records.runtime_record import SAMPLER, SamplerSubject
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.sampler import measure
from sigmabench.harness.studies.sampler.analyse import rates, share
from sigmabench.harness.studies.sampler.plan import INPUTS, plan

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason="nothing is compiled")


def planned(**choices: Any) -> SamplerSubject:
    asked = {"weights": 1 << 16, "threads": 1, "seconds": 0.01, "seed": 0, **choices}
    return plan(scoring=True, **asked)[0]


def test_every_width_moves_its_bytes(tmp_path) -> None:
    (record,) = studied("sampler", planned(), tmp_path)
    widths = record.body.widths
    assert [width.bits for width in widths] == list(range(1, 9))
    for width in widths:
        assert width.weights == 1 << 16
        assert width.moved_bytes == width.weights * (16 + width.bits) // 8
        assert len(width.draw_ns) == sum(width.draw_slices) >= 20
        ratio = share(width)
        assert ratio.low <= ratio.value <= ratio.high
        assert ratio.value == pytest.approx(rates(width).gb_per_s / rates(width).copy_gb_per_s)
    assert record.body.sampler == native.load().sampler_paths()[0]
    assert Store(tmp_path, SAMPLER).records("sampler") == [record]
    (path,) = (tmp_path / "runtime" / "sampler").rglob("*.json")
    assert json.loads(path.read_text())["body"]["widths"][7]["draw_ns"] == list(widths[7].draw_ns)


def test_weights_are_those_of_whole_blocks_of_outputs() -> None:
    assert planned(weights=100_000).weights == 16 * INPUTS
    assert planned(weights=131_072).weights == 32 * INPUTS


def test_a_draw_counts_every_weight_once_whatever_shares_it() -> None:
    for threads in (1, 3):
        program = measure._program(4, SamplerSubject(16 * INPUTS, threads, 1.0, 0))
        program.draw(1, 0, 5)
        assert program.draws == 5 * 16 * INPUTS


def test_a_copy_copies_and_a_reading_reads_every_word() -> None:
    for size, threads in ((1000, 3), (64, 1), (1 << 20, 2)):
        buffers = native.load().Buffers(size, threads)
        buffers.copy(2)
        lines = sum(
            -(-(size * (k + 1) // threads - size * k // threads) // 64) for k in range(threads)
        )
        assert buffers.read(3) == 2 * 3 * 8 * lines * 0x0101010101010101 % 2**64


@pytest.mark.parametrize(
    "wrong", [{"weights": 10}, {"weights": 1 << 31}, {"threads": 0}, {"seconds": 0.0}, {"seed": -1}]
)
def test_what_cannot_be_drawn_is_refused(wrong) -> None:
    with pytest.raises(UserError, match="--"):
        planned(**wrong)


def test_the_command_prints_a_row_a_width(tmp_path) -> None:
    command = ["bench", "sampler", "--weights", "65536", "--threads", "1", "--seconds", "0.01"]
    outcome = CliRunner().invoke(main, [*command, "--results", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.count("–") >= 8
    assert len(list(tmp_path.rglob("*.json"))) == 1
    for policy in ("only-missing", "never"):
        again = [*command, "--results", str(tmp_path), "--policy", policy, "--json"]
        told = json.loads(CliRunner().invoke(main, again).stdout)
        assert [one["bits"] for one in told["figures"]] == list(range(1, 9))
        assert told["widths"][0]["draw_ns"]
