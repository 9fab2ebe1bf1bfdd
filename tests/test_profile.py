"""Profiles: what is measured, what is shown, and what a mistake prints."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from records_made import changed
from rich.console import Console
from studied import studied

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.race.profiled import load_target, operations, profile
from sigmabench.harness.race.target import TargetPlan
from sigmabench.harness.records.envelope import Provenance, file_names
from sigmabench.harness.records.profile_record import (
    KINDS_OF_TIME,
    PROFILES,
    Profile,
    ProfileRecord,
    ProfileSubject,
    Step,
)
from sigmabench.harness.records.store import Policy, Store
from sigmabench.harness.report.rendering import terminal
from sigmabench.harness.studies.profile import document as report
from sigmabench.harness.studies.profile.plan import plan, tasks
from sigmabench.harness.workload.workload import WORKLOADS

#: Multiplications and additions of LeNet-5 on one 28×28 image, counted by hand.
LENET5_OPERATIONS = {
    "conv1": 2 * 6 * 25 * 28 * 28,
    "conv2": 2 * 16 * 6 * 25 * 10 * 10,
    "fc1": 2 * 120 * 400,
    "fc2": 2 * 84 * 120,
    "fc3": 2 * 10 * 84,
}


def planned(target: str = "lenet5", **choices: object) -> TargetPlan:
    asked = {"format": "INT8", "batch": 1, "mc": 50, "threads": 1, "seconds": 2.0, "seed": 0}
    asked |= {"data": None, "posterior": None}
    return plan(target, scoring=True, **{**asked, **choices})[0]


def subject(made: TargetPlan) -> ProfileSubject:
    ((one,),) = (task.subjects for task in tasks(made, True))
    return one


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> ProfileRecord:
    if reason := BACKENDS.get("native").unavailable():
        pytest.skip(reason)
    asked = planned(batch=3, mc=4, seconds=0.02)
    (record,) = studied("profile", asked, tmp_path_factory.mktemp("results"))
    return record


def made(
    *steps: tuple[float, float, float, float], threads: int = 2, wall: float = 10
) -> ProfileRecord:
    made = tuple(
        Step(f"layer{i}", "conv", (4, 3, 2, 1), "brgconv:avx512_core_amx", "direct", 10**6, *times)
        for i, times in enumerate(steps)
    )
    return ProfileRecord(
        ProfileSubject("net", "ab", "INT8", 1, 5, threads, 1.0, 0),
        Provenance.now(replace(fingerprint(), cpu="a CPU"), "test"),
        None,
        Profile("made up", 1, 9, wall, made),
    )


def printed(renderable: object, **options: object) -> str:
    out = io.StringIO()
    Console(file=out, width=80, **options).print(renderable)
    return out.getvalue()


def test_every_operation_is_measured_in_order(measured):
    names = [step.name for step in measured.body.steps]
    layers = [step for step in measured.body.steps if step.operation == "conv"]
    assert measured.body.steps[0].operation == "input"
    assert [step.operation for step in measured.body.steps].count("max") == 2
    assert [step.name for step in layers] == [n for n in names if n in LENET5_OPERATIONS]
    for step in layers:
        assert step.operations == 3 * LENET5_OPERATIONS[step.name]
        assert step.sampling_us > 0
        assert step.compute_us > 0
        assert step.kernel
        assert step.tops == pytest.approx(step.operations / step.compute_us / 1e6)
    for step in set(measured.body.steps) - set(layers):
        assert step.kernel == ""
        assert step.compute_us == 0
        assert step.rest_us > 0
        assert step.tops is None
    assert measured.body.queries >= 5
    assert 0 < measured.spent <= 1.01
    assert sum(measured.body.share(kind) for kind in KINDS_OF_TIME) == pytest.approx(1)
    assert measured.body.origin.startswith("synthetic")


def test_operations_of_an_image():
    target = load_target(planned())
    graph = target.artefact.graph
    assert {conv.name: operations(graph, conv) for conv in graph.convs} == LENET5_OPERATIONS
    assert target.images.shape == (4, 1, 28, 28)


def test_a_workload_brings_its_posterior():
    asked = planned("lenet-digits", batch=2, format="dnn_int8")
    target = load_target(asked)
    assert subject(asked).target == "lenet-digits"
    assert "ships" in target.origin
    assert len(target.images) == 8
    assert target.artefact.header.format == "DNN_INT8"


def test_a_workload_takes_another_posterior(tmp_path):
    file = tmp_path / "mine.safetensors"
    shutil.copyfile(WORKLOADS.get("lenet-digits").posterior, file)
    asked = planned("lenet-digits", posterior=file)
    assert load_target(asked).origin == "mine.safetensors"
    assert subject(asked) == subject(planned("lenet-digits"))  # by content, not by name


def test_shares_are_of_thread_time():
    found = made((1, 2, 3, 0), (3, 0, 0, 1), threads=2, wall=8)
    assert found.body.total_us == 10
    assert found.spent == pytest.approx(10 / 16)
    assert found.body.share("sampling") == pytest.approx(0.4)
    assert found.body.share("waiting") == pytest.approx(0.1)
    assert found.body.steps[0].tops == pytest.approx(1e6 / 2e6)
    assert "62.5 % of a pass's time × threads" in report.summary(found)[2]


def test_the_table_says_what_it_leaves_out():
    found = made(*[(float(i), 0, 0, 0) for i in range(1, 21)])
    shown = printed(terminal(report.document(("net", found))))
    assert "layer0 " not in shown
    assert "layer5 " in shown
    assert "5 more steps take 15.0 µs, 7.1 %" in shown
    everything = report.document(("net", found), every=True)
    shown = printed(terminal(everything))
    assert "layer0 " in shown
    assert "more steps" not in shown
    assert len(everything.sheets[0].rows) == len(everything.data["steps"]) == 20


@pytest.mark.parametrize(
    ("kernel", "path", "operation", "short"),
    [
        ("sigmabench:avx512_core_amx", "direct", "conv", "own amx"),
        ("brgconv_1x1:avx512_core_amx", "direct", "conv", "brg 1x1 amx"),
        ("brgconv:avx512_core_vnni", "gather", "conv", "brgconv vnni*"),
        ("jit:avx2_vnni", "reorder", "conv", "jit vnni*"),
        ("sigmabench:portable", "direct", "conv", "own portable"),
        ("", "", "avg", "average pool"),
        ("", "", "input", "input"),
    ],
)
def test_kernels_have_short_names(kernel, path, operation, short):
    step = Step("x", operation, (), kernel, path, 0, 0, 0, 0, 0)
    assert report.short_kernel(step) == short


times = st.tuples(*[st.floats(0, 1e6, allow_nan=False)] * 4).filter(lambda t: sum(t) > 1e-3)


@given(st.lists(times, min_size=1, max_size=80))
def test_bar_fits_and_keeps_the_order(steps):
    found = made(*steps)
    lines = printed(report.Bar(found.body)).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(len(line) == report.WIDTH for line in lines[: report.HEIGHT])
    assert set("".join(lines[: report.HEIGHT])) <= set(report.GLYPHS.values())
    places = [found.body.steps.index(step) for step in report._columns(found.body, report.WIDTH)]
    assert places == sorted(places)


def test_bar_is_divided_by_kind():
    found = made((1, 1, 0, 0), (0, 0, 4, 4))
    lines = printed(report.Bar(found.body)).splitlines()[: report.HEIGHT]
    narrow, wide = lines[0].count("="), lines[0].count(".")
    assert narrow + wide == report.WIDTH
    assert narrow == pytest.approx(report.WIDTH / 5, abs=1)
    assert lines[-1] == "#" * narrow + ":" * wide


def test_bar_has_colours_where_there_are_any():
    coloured = printed(
        report.Bar(made((1, 1, 1, 1)).body), color_system="truecolor", force_terminal=True
    )
    assert "█" in coloured
    assert "\x1b[38;2;213;94;0m" in coloured  # vermillion
    assert "█" not in printed(report.Bar(made((1, 1, 1, 1)).body))


def test_figure():
    (panel,) = report.profile_figure(made((1, 2, 3, 4), (4, 3, 2, 1))).panels
    assert panel.y.names == ("layer0", "layer1")
    assert [mark.label for mark in panel.marks] == list(KINDS_OF_TIME)
    assert "µs" in panel.x.label
    for words in ("net", "INT8", "batch 1", "T = 5", "2 threads", "a CPU"):
        assert words in panel.title
    last = panel.marks[-1]
    assert np.add(last.starts, last.sizes) == pytest.approx([10, 10])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("lenet6",), "no workload or network named 'lenet6'; did you mean lenet5"),
        (("lenet5", "--format", "INT9"), "no format named 'INT9'"),
        (("lenet5", "--batch", "0"), "--batch is 0"),
        (("lenet5", "--mc", "0"), "--mc is 0"),
        (("lenet5", "--threads", "0"), "--threads is 0"),
        (("lenet5", "--seconds", "inf"), "--seconds is inf"),
        (("lenet5", "--seed", "-1"), "--seed is -1"),
        (("lenet5", "--posterior", "other"), "--posterior is for workloads; that of lenet5"),
        (("lenet5", "--policy", "never"), "leave out --policy never"),
    ],
)
def test_mistakes_get_one_sentence(options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["profile", *options])
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_format_without_a_program_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sigmabench.harness.backends.float.load_program", lambda *_: None)
    command = ["profile", "lenet5", "--format", "fp32", "--results", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2, done.output
    assert "PyTorch computes FP32 here" in done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_command(tmp_path, monkeypatch, measured):
    monkeypatch.setenv("COLUMNS", "80")
    command = ["profile", "lenet5", "--mc", "2", "--threads", "1", "--seconds", "0.02"]
    command += ["--results", str(tmp_path)]
    done = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    for words in ("lenet5, INT8, batch 1, T = 2, 1 thread,", "synthetic", "fc1", "16×6×5×5"):
        assert words in done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "lenet5-profile.md",
        "lenet5-profile.png",
        "lenet5-profile.svg",
        "lenet5-steps.csv",
    }
    for policy in ("only-missing", "never"):
        again = CliRunner().invoke(main, [*command, "--policy", policy, "--json"])
        told = json.loads(again.stdout)
        assert [s["name"] for s in told["steps"]] == [s.name for s in measured.body.steps]
        assert told["figures"]["total_us"] == pytest.approx(
            sum(s[f"{kind}_us"] for s in told["steps"] for kind in KINDS_OF_TIME)
        )
        assert told["posterior"].startswith("synthetic")
        assert told["cpu"] == fingerprint().cpu
    (found,) = Store(tmp_path, PROFILES).records("lenet5")
    assert found.created == told["created"]


def test_a_profile_is_read_back_and_not_made_again(tmp_path, monkeypatch):
    one, asked = made((1, 2, 3, 4)), planned(mc=3)
    path = Store(tmp_path, PROFILES).save(changed(one, subject=subject(asked)))
    assert path.parent.parent == tmp_path / "profile" / "lenet5"
    monkeypatch.setattr("sigmabench.harness.studies.profile.measure.load_target", None)
    (shown,) = studied("profile", asked, tmp_path, policy=Policy.NEVER)
    assert shown.body == one.body
    (again,) = studied("profile", asked, tmp_path, policy=Policy.NEVER)
    assert again == Store(tmp_path, PROFILES).load(path)
    with pytest.raises(UserError, match=r"study \(the nearest has mc 3, not 4\); ask for"):
        studied("profile", planned(mc=4), tmp_path, policy=Policy.NEVER)


def test_a_profile_of_nothing_is_refused(tmp_path):
    store = Store(tmp_path, PROFILES)
    for wrong in (made(), made((1, 2, 3, 4), wall=0)):
        path = store.save(wrong)
        with pytest.raises(UserError, match="it has no step, or took no time"):
            store.load(path)


def test_files_of_several_profiles_of_one_target_have_names_of_their_own():
    one = made((1, 2, 3, 4))
    other = changed(one, subject=replace(one.subject, mc=9))
    third = changed(one, subject=replace(one.subject, target="other"))
    assert file_names([one, other, third]) == [
        f"net-{one.subject.key}",
        f"net-{other.subject.key}",
        "other",
    ]


class FakeProgram:
    """Every third query is slow, in its first layer alone."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def profile(self, x: np.ndarray, seed: int, first: int, count: int) -> dict[str, object]:
        self.seeds.append(seed)
        slow = 1000 if seed % 3 == 0 else 1
        names = ["conv1", "max_pool2d", "conv2", "max_pool2d_1", "fc1", "fc2", "fc3", "input"]
        steps = [
            {"name": name, "sampling_ns": 0, "compute_ns": 0, "rest_ns": 0, "waiting_ns": 0}
            for name in names
        ]
        steps[0]["compute_ns"] = slow * 8000
        steps[4]["sampling_ns"] = 4000
        return {"steps": steps, "wall_ns": 10_000_000 * slow}

    def team(self, x: np.ndarray, count: int) -> int:
        return 2

    def describe(self) -> list[dict[str, str]]:
        return [{"name": "fc1", "implementation": "brg:avx512_core_vnni", "path": "direct"}]


def test_medians_are_taken_step_by_step(monkeypatch):
    fake = FakeProgram()
    monkeypatch.setattr(
        "sigmabench.harness.race.profiled.load_program", lambda artefact, threads: fake
    )
    asked = planned(mc=4, seconds=0.1)
    query = replace(subject(asked), threads=2)
    found = profile(load_target(asked), query)
    by_name = {step.name: step for step in found.steps}
    assert by_name["conv1"].compute_us == 2
    assert by_name["fc1"].sampling_us == 1
    assert by_name["fc1"].kernel == "brg:avx512_core_vnni"
    assert found.total_us == 3
    assert found.wall_us == 2500
    assert fake.seeds == list(range(len(fake.seeds)))
    assert found.queries < len(fake.seeds)  # the others warm up
    record = changed(made(), subject=query, body=found)
    assert record.spent == pytest.approx(3 / (2500 * 2))
    wider = changed(record, subject=replace(query, threads=4))
    assert wider.spent == pytest.approx(record.spent / 2)
