"""Memory, bandwidth, counters and noise: what they say is checked, how fast is not."""

from __future__ import annotations

import errno
import io
import struct
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from rich.console import Console

from sigmabench.harness.cli.commands import diagnosis_tables
from sigmabench.harness.machine import counters
from sigmabench.harness.machine import peak_memory as memory
from sigmabench.harness.machine.energy import energy
from sigmabench.harness.machine.peak_memory import PeakMemory
from sigmabench.harness.measure import bandwidth
from sigmabench.harness.measure.steadiness import noise_check

MIB = 2**20


@pytest.mark.parametrize("method", ["high-water mark", "sampled"])
def test_peak_sees_memory_that_is_gone_again(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if method == "sampled":
        monkeypatch.setattr(memory, "_CLEAR", tmp_path / "absent" / "clear_refs")
    before = psutil.Process().memory_info().rss
    with PeakMemory() as peak:
        block = np.ones(100 * MIB, np.uint8)
        if method == "sampled":  # long enough for a sample, however busy the machine
            while peak.peak_bytes < before + 90 * MIB:
                block[0] = 1
        del block
    assert peak.method == method
    assert before + 90 * MIB < peak.peak_bytes < before + 400 * MIB
    with PeakMemory() as later:
        pass
    assert later.peak_bytes < peak.peak_bytes - 50 * MIB, "an earlier peak is not counted again"


def test_peak_is_there_after_an_exception() -> None:
    peak = PeakMemory()
    with pytest.raises(RuntimeError), peak:
        raise RuntimeError
    assert peak.peak_bytes > MIB


def test_buffers_exceed_the_cache_and_leave_memory() -> None:
    large = bandwidth.buffer_bytes(480 * MIB, 20 * 2**30)
    assert large == 720 * MIB
    assert bandwidth.buffer_bytes(MIB, 20 * 2**30) == 64 * MIB
    assert bandwidth.buffer_bytes(2**40, 2**40) == 2**30
    tight = bandwidth.buffer_bytes(480 * MIB, 800 * MIB)
    assert tight == 100 * MIB  # two of them are a quarter


def test_copy_bandwidth_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "buffer_bytes", lambda cache, available: 4 * MIB)
    bandwidth.copy_bandwidth.cache_clear()
    threads = torch.get_num_threads()
    first = bandwidth.copy_bandwidth(1)
    assert torch.get_num_threads() == threads
    assert first is bandwidth.copy_bandwidth(1)
    assert first.gb_per_s > 0
    assert (first.buffer_bytes, first.threads) == (4 * MIB, 1)
    bandwidth.copy_bandwidth.cache_clear()


def test_bandwidth_counts_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Second:
        now = 0

        def perf_counter_ns(self) -> int:
            self.now += 1_000_000_000
            return self.now

    monkeypatch.setattr(bandwidth, "time", Second())
    monkeypatch.setattr(bandwidth, "buffer_bytes", lambda cache, available: 4_000_000)
    monkeypatch.setattr(bandwidth, "last_level_cache_bytes", lambda: 10_000_000)
    bandwidth.copy_bandwidth.cache_clear()
    measured = bandwidth.copy_bandwidth(1)
    assert measured.gb_per_s == pytest.approx(0.008)
    assert not measured.beyond_cache
    bandwidth.copy_bandwidth.cache_clear()


def test_noise_check_reports_spread() -> None:
    found = noise_check(0.05)
    assert found.repeats >= 1
    assert found.p50_ns > 0
    assert found.middle_half >= 0
    assert (found.p99_over_p50 is None) == (found.repeats < 1000)


def test_every_probe_answers_or_says_why() -> None:
    for answer in (counters.hardware(), counters.dram(), energy()):
        assert answer == "available" or answer.startswith("unavailable: ")
        assert len(answer) != len("unavailable: ")


def controller(root: Path, event: str = "event=0x04,umask=0x03\n") -> None:
    folder = root / "uncore_imc_0"
    (folder / "events").mkdir(parents=True)
    (folder / "type").write_text("14\n")
    (folder / "cpumask").write_text("0,16\n")
    (folder / "events" / "cas_count_read").write_text(event)


def test_dram_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "_DEVICES", tmp_path)
    assert "uncore_imc" in counters.dram()
    controller(tmp_path)
    asked = []

    def count(kind: int, config: int, pid: int, cpu: int, flags: int) -> str | None:
        asked.append((kind, config, pid, cpu, flags))
        return None

    monkeypatch.setattr(counters, "_count", count)
    assert counters.dram() == "available"
    assert asked == [(14, 0x0304, -1, 0, 0)]
    monkeypatch.setattr(counters, "_count", lambda *_, **__: "not permitted")
    assert counters.dram() == "unavailable: not permitted"
    (tmp_path / "uncore_imc_0" / "events" / "cas_count_read").write_text("?")
    assert counters.dram().startswith("unavailable: uncore_imc_0")


def test_counter_that_does_not_count_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        descriptor = 5

        def syscall(self, *_: object) -> int:
            return self.descriptor

    kernel = Kernel()
    monkeypatch.setattr(counters.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(counters.ctypes, "CDLL", lambda *_, **__: kernel)
    monkeypatch.setattr(counters.os, "close", lambda _: None)
    monkeypatch.setattr(counters.os, "read", lambda *_: struct.pack("=Q", 0))
    assert counters.hardware() == "unavailable: the counter opens but does not count"
    monkeypatch.setattr(counters.os, "read", lambda *_: struct.pack("=Q", 7))
    assert counters.hardware() == "available"
    kernel.descriptor = -1
    monkeypatch.setattr(counters.ctypes, "get_errno", lambda: errno.EACCES)
    assert "perf_event_paranoid" in counters.hardware()
    monkeypatch.setattr(counters.ctypes, "get_errno", lambda: errno.ENOSYS)
    assert "perf_event_open failed" in counters.hardware()


@pytest.mark.parametrize(
    ("tail", "says"), [(1.2, "quiet"), (23.7, "takes this core away"), (None, "too few repeats")]
)
def test_the_doctor_does_not_call_a_machine_with_a_long_tail_quiet(tail, says) -> None:
    noise = {"repeats": 5000, "p50_ns": 1e6, "p99_over_p50": tail, "middle_half": 0.0}
    facts = {name: {"any": "of it"} for name in ("machine", "backends", "peers")}
    facts["noise_check"] = noise
    console = Console(width=200, file=io.StringIO())
    console.print(*diagnosis_tables(facts))
    shown = console.file.getvalue()
    assert says in shown
    assert ("quiet" in shown) == (tail == 1.2)
