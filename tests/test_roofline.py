"""Rooflines: limits by hand, what is said of them, and the command."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from records_made import changed
from report import factory

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.claims.counted import bandwidths
from sigmabench.harness.claims.evidence import Evidence
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import counters
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.measure.bandwidth import level_rates, within
from sigmabench.harness.measure.clock import fastest
from sigmabench.harness.race.own_process import answer_of
from sigmabench.harness.records.envelope import Provenance
from sigmabench.harness.records.profile_record import Profile, ProfileSubject, Step
from sigmabench.harness.records.roofline_record import (
    ROOFLINES,
    Drawing,
    LevelRate,
    LoopRate,
    ProductRate,
    Roofline,
    RooflineRecord,
    SamplerRate,
    StepCount,
)
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.roofline import loop_process
from sigmabench.harness.studies.roofline.analyse import (
    COMPUTE,
    OVERHEAD,
    SAMPLER,
    Found,
    analyse,
)
from sigmabench.harness.studies.roofline.ceilings import loop_rates, thread_counts
from sigmabench.harness.studies.roofline.document import document
from sigmabench.harness.studies.roofline.drawing import BAYESIAN_TORCH_BYTES, NAIVE_BYTES
from sigmabench.harness.studies.roofline.drawing_sheets import drawing_conclusions, drawings_sheet
from sigmabench.harness.studies.roofline.roofline_conclusions import bound_of, conclusions, reached
from sigmabench.harness.studies.roofline.roofline_figures import roofline_figure

CACHES = {"L1d": "32K", "L2": "1M", "L3": "32M"}
#: Bytes per second on one thread.
LEVELS = {"L1": 100e9, "L2": 50e9, "L3": 20e9, "memory": 10e9}


def step(name: str, taken: float, **how: Any) -> tuple[Step, StepCount]:
    """One whose time on one thread is half computing, half drawing."""
    counted = {
        "weights": 0, "mean_bytes": 0, "std_bytes": 0, "sampled_bytes": 0, "activation_bytes": 0,
        "multiply_adds": 0, "executed": 0,
    }  # fmt: skip
    count = StepCount(name=name, **{**counted, **how})
    shape = (4, 4, 1, 1) if count.multiply_adds else ()
    half = taken / 2
    return Step(name, "conv", shape, "brg:avx2", "direct", 0, half, half, 0.0, 0.0), count


def made(
    *steps: tuple[Step, StepCount], wall: float = 100.0, threads: int = 1, **how: Any
) -> RooflineRecord:
    here = fingerprint()
    assert here.machine is not None
    machine = replace(here.machine, caches=CACHES)
    profile = Profile("made up", 1, 9, wall, tuple(one for one, _ in steps))
    body = Roofline(
        profile=profile,
        counts=tuple(count for _, count in steps),
        loops=(
            LoopRate("fp32", "avx2", threads, 50e9, 3e9),
            LoopRate("int8", "avx2", threads, 100e9, 3e9),
            LoopRate("int8", "avx512_vnni", threads, 200e9, 3e9),
        ),
        levels=tuple(LevelRate(n, 1024, threads, rate, rate / 2) for n, rate in LEVELS.items()),
        samplers=(SamplerRate("avx2", threads, 5e9),),
        products=(),
        drawings=(),
        counters={"cycles": "unavailable: no counter"},
    )
    return RooflineRecord(
        ProfileSubject("net", "ab", "INT8", 1, 50, threads, 1.0, 0),
        Provenance.now(replace(here, machine=machine, cpu="a CPU"), "test"),
        None,
        replace(body, **how),
    )


def found(*steps: tuple[Step, StepCount], **how: Any) -> Found:
    (one,) = analyse([made(*steps, **how)])
    return one


def test_limits_by_hand() -> None:
    one = found(
        step("compute", 40.0, multiply_adds=4_000_000, executed=5_000_000, weights=10_000,
             activation_bytes=1000),
        step("sampler", 30.0, multiply_adds=100_000, executed=100_000, weights=100_000,
             mean_bytes=100_000, std_bytes=100_000, sampled_bytes=200_000),
        step("memory", 20.0, activation_bytes=2 << 20),
    )  # fmt: skip
    compute, sampler, memory = one.steps
    assert (compute.compute_us, compute.sampler_us) == pytest.approx((20.0, 2.0))
    assert compute.limit_us == pytest.approx(22.0)
    assert compute.bound == COMPUTE
    assert compute.share == pytest.approx(22 / 40)
    assert compute.padding == pytest.approx(0.25)
    assert compute.per_byte == pytest.approx(4000)
    assert compute.per_weight == pytest.approx(400)
    assert compute.per_second == pytest.approx(1e11)
    # A pass touches 300,500 + 2²⁰ bytes, more than L2 has; this layer 300,000.
    assert sampler.memory_us == pytest.approx(200_000 / 20e3 + 200_000 / 50e3)
    assert sampler.limit_us == pytest.approx(20.5)
    assert sampler.bound == SAMPLER
    assert memory.bound == "L2"  # half of 2 MiB, for it moves twice
    assert memory.limit_us == pytest.approx((2 << 20) / 50e3)
    assert memory.padding is memory.per_byte is memory.per_second is None
    assert one.limit_us == pytest.approx(22 + 20.5 + (2 << 20) / 50e3)
    assert one.parts == pytest.approx(
        {COMPUTE: 20.5, SAMPLER: 22.0, "L2": memory.limit_us, OVERHEAD: 100 - one.limit_us}
    )
    assert sum(one.parts.values()) == pytest.approx(one.wall_us)
    assert one.layers == [compute, sampler]


def test_times_are_of_all_threads_together() -> None:
    one = found(step("x", 40.0, multiply_adds=4_000_000), threads=4)
    assert one.steps[0].taken_us == 10.0
    assert one.steps[0].compute_us == pytest.approx(20.0)  # the loop's rate is that of four


@pytest.mark.parametrize(
    ("how", "bound", "says"),
    [
        ({"multiply_adds": 16_000_000}, COMPUTE, "bound by arithmetic: of 0.100 ms per pass, "
         "multiply–adds at the rate of the avx512_vnni loop take 80.0 %"),
        ({"weights": 400_000}, SAMPLER, "bound by the sampler"),
        ({"activation_bytes": 1_500_000}, OVERHEAD, "bound by overhead"),
        ({"activation_bytes": 3_000_000}, "L3", "bound by the bandwidth of L3"),
        ({"mean_bytes": 80 << 20}, "memory", "bound by memory bandwidth"),
    ],
)  # fmt: skip
def test_the_largest_part_bounds_a_pass(how: dict[str, int], bound: str, says: str) -> None:
    one = found(step("x", 90.0, **how))
    assert one.bound == bound
    sentence = bound_of(one)
    assert sentence.startswith("net in INT8 at batch 1 on 1 thread is ")
    assert says in sentence
    assert sentence.count(".  ") == 0


def test_ceilings_below_a_pass_are_told() -> None:
    one = found(step("x", 90.0, multiply_adds=40_000_000, executed=80_000_000))
    assert one.parts[OVERHEAD] == 0
    told = " ".join(conclusions(one))
    assert "200.0 % of the time of a pass" in told
    assert "2.00 times the multiply–adds" in told


def test_a_machine_without_known_caches_reads_from_memory() -> None:
    record = made(step("x", 9.0, mean_bytes=10_000))
    machine = replace(record.fingerprint.machine, caches={})
    made_on = replace(record.provenance, fingerprint=replace(record.fingerprint, machine=machine))
    for other in (
        made_on,
        replace(made_on, fingerprint=replace(made_on.fingerprint, machine=None)),
    ):
        (one,) = analyse([replace(record, provenance=other)])
        assert one.steps[0].memory_us == pytest.approx(1.0)
        assert one.steps[0].level == "memory"


def test_a_level_that_was_not_measured_counts_as_the_next() -> None:
    record = made(step("x", 9.0, mean_bytes=10_000))
    levels = tuple(one for one in record.body.levels if one.level in ("L2", "memory"))
    (one,) = analyse([changed(record, levels=levels)])
    assert one.steps[0].level == "L2"


def test_bfloat16_without_instructions_has_the_ceiling_of_float32() -> None:
    record = made(step("x", 9.0, multiply_adds=1000))
    (one,) = analyse([replace(record, subject=replace(record.subject, format="BF16"))])
    assert one.ceilings.loop.numbers == "fp32"


def product(by: str, numbers: str, rate: float | None, why: str = "") -> ProductRate:
    return ProductRate(by, numbers, 1024, 1, rate, why)


@pytest.mark.parametrize(
    ("products", "why"),
    [
        ([product("PyTorch", "int8", 150e9)], ""),
        ([product("PyTorch", "int8", 209e9)], ""),
        ([product("PyTorch", "int8", 220e9)], "the loop was disturbed"),
        ([product("PyTorch", "int8", 90e9)], "it is at 90 % of the loop of avx2"),
        ([product("PyTorch", "int8", 50e9)], "it is at 100 % of the loop of fp32 in avx2"),
        ([product("PyTorch", "int8", 10e9), product("sigmabench", "int8", 160e9)],
         "sigmabench reaches 80 % with as large matrices"),
        ([product("PyTorch", "int8", 10e9)], "measure again on a quiet one"),
        ([product("PyTorch", "bf16", 10e9)], "this CPU has no instructions for bf16"),
        ([product("PyTorch", "int8", None, "there is none")], "there is none"),
    ],
)  # fmt: skip
def test_a_product_reaches_its_loop_or_it_is_told_why(
    products: list[ProductRate], why: str
) -> None:
    one = found(step("x", 9.0, multiply_adds=1000), products=tuple(products))
    assert why in reached(one)[0].why
    assert bool(reached(one)[0].why) == bool(why)
    told = " ".join(conclusions(one))
    assert ("of the fastest loop of their numbers" in told) == any(not r.why for r in reached(one))
    assert not why or why in told


def with_drawings(**how: Any) -> Found:
    layers = [
        step("a", 10.0, multiply_adds=1000, weights=1000, mean_bytes=1000, std_bytes=1000,
             sampled_bytes=2000),
        step("b", 4.0, multiply_adds=10, weights=500, mean_bytes=512, std_bytes=512,
             sampled_bytes=1024),
        step("fixed", 2.0, multiply_adds=10, mean_bytes=100),
    ]  # fmt: skip
    drawings = tuple(
        Drawing(scheme, ("a", "b"), (each * 1000, each * 500), times)
        for scheme, each, times in (
            ("naive FP32", NAIVE_BYTES, (90.0, 50.0)),
            ("bayesian-torch INT8", BAYESIAN_TORCH_BYTES, (40.0, 30.0)),
        )
    )
    return found(*layers, drawings=drawings, **how)


def test_bytes_of_schemes_are_those_of_their_operators() -> None:
    assert sum([4, 4 + 4 + 4, 4 + 4 + 4, 4]) == NAIVE_BYTES
    assert sum([4, 4 + 1, 1 + 1 + 1, 1 + 1 + 1, 1 + 1, 1]) == BAYESIAN_TORCH_BYTES


def test_drawing_is_held_against_the_claim() -> None:
    one = with_drawings()
    naive, theirs, ours = one.drawings
    assert ours.bytes == (4000, 2048)
    assert ours.layer_us == (5.0, 2.0)
    sheet = drawings_sheet(one)
    assert [column.name for column in sheet.columns[1:5]] == ["naive", "b.-torch", "ours", "fewer"]
    assert sheet.rows[0][:5] == ("a", "32.0", "18.0", "4.00", "8.00")
    assert sheet.rows[-1] == (
        "a pass",
        "48.0",
        "27.0",
        "6.05",
        "7.94",
        "140",
        "70.0",
        "7.00",
        "20.0",
    )
    told = " ".join(drawing_conclusions(one))
    assert "200 times at T = 50" in told
    assert "7.9 times fewer bytes than naive FP32, in 20 times less time" in told
    assert "4.5 times fewer bytes than bayesian-torch INT8, in 10 times less time" in told
    assert "0.343 GB/s, 3 % of what memory delivers, so bandwidth does not explain" in told
    assert sum(naive.bytes) == 48_000
    assert sum(theirs.bytes) == 27_000


def test_the_claim_on_bandwidth_quotes_the_time_of_drawing() -> None:
    record = with_drawings().record
    mine = replace(record, subject=replace(record.subject, target="synthetic"))
    other = replace(mine, subject=replace(mine.subject, format="FP32"))
    for rooflines, told in (([mine], True), ([record], False), ([other], False), ([], False)):
        runs = [factory.record(format="INT8", mc=50)]
        findings = bandwidths(Evidence({"run": runs, "roofline": rooflines}))
        (finding,) = [one for one in findings if one.workload == "synthetic"]
        assert ("Drawing them took 20 times less time than by" in finding.sentence) == told
        assert finding.record == ("run", runs[0].subject.key)


def test_a_deterministic_format_draws_nothing() -> None:
    one = found(step("x", 9.0, multiply_adds=1000, activation_bytes=10), samplers=())
    assert one.ceilings.weights_per_second is None
    assert not drawings_sheet(one).rows
    assert not list(drawing_conclusions(one))
    assert len(roofline_figure(one).panels) == 1
    assert "draws" not in bound_of(one)
    assert "draws no weights" in str(document(one).sheets[1].notes)


def test_the_figure_has_log_axes_units_and_a_point_per_layer() -> None:
    memory, sampler = roofline_figure(with_drawings()).panels
    for panel, unit in ((memory, "per byte"), (sampler, "per weight")):
        assert panel.x.log
        assert panel.y.log
        assert unit in panel.x.label
        assert "10⁹ multiply–adds per second" in panel.y.label
    *roofs, layers, passes = memory.marks
    assert [roof.label for roof in roofs] == list(LEVELS)
    for roof, rate in zip(roofs, LEVELS.values(), strict=True):
        assert roof.y[0] == pytest.approx(roof.x[0] * rate / 1e9)
        assert max(roof.y) == pytest.approx(200)
        assert 200e9 / rate in [pytest.approx(x) for x in roof.x]
    assert len(layers.x) == 3
    assert len(passes.x) == 1
    assert passes.y[0] == pytest.approx(1020 / 100e-6 / 1e9)
    assert len(sampler.marks[-2].x) == 2  # the third layer draws nothing


def test_threads_double_up_to_all() -> None:
    assert thread_counts(1) == (1,)
    assert thread_counts(2) == (1, 2)
    assert thread_counts(6) == (1, 2, 4, 6)


def test_buffers_stay_within_their_level() -> None:
    caches = {1: 32 << 10, 2: 1 << 20, 3: 32 << 20}
    assert within(caches, 1) == {"L1": 16 << 10, "L2": 1 << 19, "L3": (33 << 20) // 2}
    assert within(caches, 2)["L3"] == (34 << 20) // 2
    assert list(within({**caches, 3: 16 << 20}, 32)) == ["L1", "L2"]  # all L2 are larger
    assert within({}, 4) == {}


def test_memory_that_is_short_is_partly_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := BACKENDS.get("native").unavailable():
        pytest.skip(reason)
    place = "sigmabench.harness.measure.bandwidth"
    monkeypatch.setattr(f"{place}.cache_sizes", lambda told: {1: 4096, 2: 1 << 16})
    *caches, memory = level_rates(1, 1e-4)
    assert memory.level == "memory"
    assert memory.bytes == 4 << 16
    assert not memory.partly_cache
    assert [one.level for one in caches] == ["L1", "L2"]
    assert all(one.read_per_second > 0 and one.copy_per_second > 0 for one in caches)
    monkeypatch.setattr(f"{place}.memory_limit.limit", lambda: 1 << 17)
    *_, memory = level_rates(1, 1e-4)
    assert (memory.bytes, memory.partly_cache) == (1 << 16, True)


def test_the_fastest_of_several_calls_counts() -> None:
    calls: list[int] = []
    assert 0 < fastest(lambda: calls.append(1), 1e-9) < 1
    assert len(calls) == 4  # one before, and three at least


def test_a_loop_that_does_not_add_up_is_no_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    class Extension:
        def loops(self) -> list[dict[str, Any]]:
            return [{"name": "fp32 avx2", "multiply_adds": 96}]

        def run_loop(self, name: str, threads: int, steps: int) -> dict[str, float]:
            return {"multiply_adds": 95 * threads * steps, "seconds": 1e-3, "hertz": 1e9}

    monkeypatch.setattr(loop_process.native, "load_alone", Extension)
    told = loop_process.measure({"loop": "fp32 avx2", "threads": [1], "seconds": 0.01})
    assert set(told) == {"error"}
    monkeypatch.setattr("sigmabench.harness.studies.roofline.ceilings.answer_of", lambda *_: told)
    with pytest.raises(UserError, match="fp32 avx2 did not compute what it should; give --policy"):
        list(loop_rates("fp32 avx2", (1,), 0.01))


def test_a_process_that_fails_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"^It ended with status 1 \(.*\); try less\.$"):
        answer_of("sigmabench.harness.nowhere", {}, "It", ("wait", "try less"))


def test_counters_of_all_threads_or_the_reason() -> None:
    found = counters.per_call(lambda: sum(range(10**5)), {"task clock": (1, 1), "none": (0, 999)})
    assert str(found["none"]).startswith("unavailable: ")
    allowed = counters._count(1, 1, 0, -1, counters._EXCLUDE_KERNEL_AND_HYPERVISOR) is None
    clock = found["task clock"]
    assert isinstance(clock, float) == allowed
    assert not allowed or 1e5 < clock < 60e9  # nanoseconds


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"loops": ()}, "no ceilings"),
        ({"levels": ()}, "no ceilings"),
        ({"counts": ()}, "other steps"),
        ({"samplers": (SamplerRate("avx2", 1, 0.0),)}, "no rate"),
        ({"samplers": (SamplerRate("avx2", 0, 1.0),)}, "out of range"),
        ({"drawings": (Drawing("x", ("a",), (), ()),)}, "do not add up"),
        ({"profile": Profile("x", 1, 1, 0.0, ())}, "no step"),
    ],
)
def test_records_that_do_not_fit_are_refused(wrong: dict[str, Any], says: str, tmp_path) -> None:
    store = Store(tmp_path, ROOFLINES)
    good = made(step("x", 9.0, multiply_adds=1000))
    assert store.load(store.save(good)) == good
    path = store.save(changed(good, **wrong))
    with pytest.raises(UserError, match=says):
        store.load(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The command, once."""
    if reason := BACKENDS.get("native").unavailable():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("roofline")
    command = ["roofline", "lenet5", "--mc", "2", "--threads", "1", "--seconds", "0.02"]
    command += ["--results", str(folder / "results")]
    done = CliRunner(env={"COLUMNS": "80"}).invoke(main, [*command, "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    return folder, command, done


def test_the_command_prints_tables_of_80_columns_and_one_bound(run: Any) -> None:
    folder, _, done = run
    lines = [line for line in done.output.splitlines() if str(folder) not in line]
    assert max(map(len, lines)) <= 80
    text = " ".join(done.output.split())
    assert text.count("lenet5 in INT8 at batch 1 on 1 thread is bound by ") == 1
    assert "Hardware counters: " in text
    for name in ("Arithmetic at best", "Data at best", "Where a pass's time goes", "a pass"):
        assert name in done.output


def test_every_number_is_in_files_and_for_scripts(run: Any) -> None:
    folder, command, _ = run
    names = ("layers", "loops", "levels", "products", "drawings", "parts")
    wanted = {f"lenet5-{name}.csv" for name in names}
    wanted |= {f"lenet5-roofline.{kind}" for kind in ("md", "svg", "png")}
    assert {path.name for path in (folder / "out").iterdir()} == wanted
    rows = list(csv.DictReader((folder / "out" / "lenet5-layers.csv").open()))
    assert [row["step"] for row in rows if row["multiply_adds"] != "0"] == [
        "conv1", "conv2", "fc1", "fc2", "fc3"
    ]  # fmt: skip
    assert sum(int(row["weights"]) for row in rows) == 61_470
    for policy in ("only-missing", "never"):
        again = CliRunner().invoke(main, [*command, "--policy", policy, "--json"])
        told = json.loads(again.stdout)
        parts = told["figures"]["parts_us"]
        assert sum(parts.values()) >= told["profile"]["wall_us"] * (1 - 1e-9)
        assert all(math.isfinite(one) for one in parts.values())
    fp32 = [one for one in told["loops"] if one["numbers"] == "fp32"]
    assert fp32
    assert all(one["per_second"] > 1e8 and one["clock_hertz"] > 1e6 for one in told["loops"])
    assert len(told["drawings"]) >= 1
    naive = told["drawings"][0]
    assert naive["bytes"] == [NAIVE_BYTES * n for n in (150, 2400, 48000, 10080, 840)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("lenet6",), "no workload or network named 'lenet6'; did you mean lenet5"),
        (("lenet5", "--format", "INT9"), "no format named 'INT9'"),
        (("lenet5", "--threads", "0"), "--threads is 0"),
        (("lenet5", "--policy", "never"), "leave out --policy never"),
    ],
)
def test_mistakes_get_one_sentence(options, says, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["roofline", *options])
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
