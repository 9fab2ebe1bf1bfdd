"""The race, its record and its table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from peer_fakes import fake_peer
from records_made import changed
from studied import studied

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import cores
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.peers.environment import Environment
from sigmabench.harness.race.networks import NETWORKS
from sigmabench.harness.race.rivals import (
    base_of,
    fastest_peer,
    headline,
    over_fastest_peer,
    pass_ms,
    pass_ratio,
)
from sigmabench.harness.race.turns import (
    QUERY_SECONDS,
    Turns,
    passes_per_query,
    take_turns,
    whole_rounds,
)
from sigmabench.harness.records.envelope import Provenance
from sigmabench.harness.records.runtime_record import (
    MEMORY,
    RACES,
    SAMPLER,
    Contender,
    RaceBody,
    RaceRecord,
    RaceSubject,
)
from sigmabench.harness.records.store import Policy, Store
from sigmabench.harness.studies.passes import document as table
from sigmabench.harness.studies.passes import measure
from sigmabench.harness.studies.passes import plan as plans
from sigmabench.harness.studies.passes.plan import RacePlan

FLOATS = ("FP32", "BF16")
RESULTS = Path(__file__).parents[2] / "results"


def planned(**changes: Any) -> RacePlan:
    asked = {
        "network": NETWORKS.get("lenet5"),
        "batches": (3,),
        "mc": 4,
        "threads": 1,
        "formats": FLOATS,
        "peers": (),
        "environments": Path("none"),
        "seconds": 0.02,
        "seed": 0,
    }
    return RacePlan(**{**asked, **changes})


@pytest.fixture(scope="module")
def raced(tmp_path_factory) -> list[RaceRecord]:
    """FP32 and BF16 against a peer that works, one that crashes midway and one that refuses."""
    folder = tmp_path_factory.mktemp("peers")
    peer = fake_peer(folder, ("REFUSE", "GOOD", "CRASH"))
    return studied("passes", planned(peers=(peer,), environments=folder), folder / "results")


def test_everyone_is_timed_in_turns(raced):
    assert [one.subject.batch for one in raced] == [3]
    for one in raced:
        contenders = {c.name: c for c in one.body.contenders}
        assert list(contenders) == [*FLOATS, "fake REFUSE", "fake GOOD", "fake CRASH"]
        assert one.subject.contenders == tuple(contenders)
        for name in (*FLOATS, "fake GOOD"):
            contender = contenders[name]
            assert contender.mc == 4
            assert len(contender.latency_ns) == sum(contender.slices) >= 20
            assert len(contender.slices) >= 5
            assert not contender.unavailable
        assert contenders["fake GOOD"].details["input"] == "quick"
        assert "torch" in contenders["fake GOOD"].packages
        assert "kernels" in contenders["FP32"].details
        assert one.subject.posterior.startswith("synthetic")


def test_a_failure_is_a_row_that_says_why(raced):
    for one in raced:
        refused, _, crashed = one.body.contenders[-3:]
        assert crashed.latency_ns == refused.latency_ns == ()
        assert crashed.unavailable == "fake CRASH ended with status 7: out of luck."
        assert refused.unavailable == "fake REFUSE: it would rather not."
        assert {crashed.unavailable, refused.unavailable} <= set(table.notes(one))


def test_record_round_trip(raced, tmp_path):
    store = Store(tmp_path, RACES)
    path = store.save(raced[0])
    assert path.parent.parent == tmp_path / "runtime" / "lenet5"
    assert store.load(path) == raced[0]
    assert store.save(changed(raced[0], subject=replace(raced[0].subject, batch=9))) != path


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("", {"schema_version": 99}, "made by a newer SigmaBench"),
        ("subject", {"batch": "one"}, "subject.batch: Input should be a valid integer"),
        ("body", {"surprise": None, "contenders": 3}, "contenders"),
    ],
)
def test_damaged_records_are_refused(raced, tmp_path, part, change, says):
    store = Store(tmp_path, RACES)
    path = store.save(raced[0])
    tree = json.loads(path.read_text())
    (tree[part] if part else tree).update(change)
    path.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=says):
        store.load(path)


@pytest.mark.parametrize(("sample", "says"), [(0, "no time"), (10**18, "more than a day")])
def test_a_sample_that_no_query_took_is_refused(raced, tmp_path, sample, says):
    store = Store(tmp_path, RACES)
    first, *others = raced[0].body.contenders
    latency = (sample, *first.latency_ns[1:])
    path = store.save(changed(raced[0], contenders=(replace(first, latency_ns=latency), *others)))
    with pytest.raises(UserError, match=f"a sample of FP32 took {says}"):
        store.load(path)


def test_samples_that_do_not_add_up_are_refused(raced, tmp_path):
    store = Store(tmp_path, RACES)
    first, *others = raced[0].body.contenders
    first = replace(first, latency_ns=(1, 2, 3), slices=(1, 1))
    path = store.save(changed(raced[0], contenders=(first, *others)))
    with pytest.raises(UserError, match="samples of FP32 do not add up"):
        store.load(path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match="cut short"):
        store.load(path)
    with pytest.raises(UserError, match="cannot be read"):
        store.load(tmp_path / "nowhere.json")


class Counted:
    """A contender of a hundredth of a second a pass, and how many passes its queries had."""

    format, backend, packages = "DNN_FP32", "test", dict[str, str]()

    def __init__(self, by: str, streams: int) -> None:
        self.by, self.streams, self.name = by, streams, f"{by} on {streams}"
        self.asked: list[int] = []

    def query(self, index: int, passes: int) -> int:
        self.asked.append(passes)
        return passes * 10**7

    def details(self) -> dict[str, str]:
        return {}


def test_t_is_chosen_by_one_process_and_with_no_more_passes_than_are_side_by_side(monkeypatch):
    monkeypatch.setattr("sigmabench.harness.race.turns.time.sleep", lambda _: None)

    def asked(**chosen: Any) -> dict[str, list[int]]:
        runners = [Counted("sigmabench", 1), Counted("a peer", 1), Counted("a peer", 2)]
        found = take_turns(runners, Turns(50, 4, 0.1, **chosen), lambda: None)
        assert [one.mc for one in found] == [20] * 3 if not chosen else [8] * 3
        return {one.name: one.asked for one in runners}

    first = asked()
    for name, passes in (("sigmabench on 1", 4), ("a peer on 1", 1), ("a peer on 2", 2)):
        assert first[name][:5] == [passes] * 4 + [20]
    again = asked(passes=dict.fromkeys(first, 8))
    for name, passes in (("sigmabench on 1", 4), ("a peer on 1", 1), ("a peer on 2", 2)):
        assert again[name][:3] == [passes] * 2 + [8]


@pytest.fixture
def turns(monkeypatch) -> Iterator[list[int]]:
    """Nobody is timed; the batch of each race that is run."""
    ran: list[int] = []

    def take_turns(runners: list[Any], *_: object) -> list[Contender]:
        ran.append(len(runners[0].images[0]))
        if ran == [3, 5]:
            raise KeyboardInterrupt
        return [steady(one.name, one.format, 2, 1000) for one in runners]

    monkeypatch.setattr(measure, "take_turns", take_turns)
    return ran


def test_a_race_that_is_stored_is_not_run_again(turns, tmp_path):
    plan = planned(batches=(3, 5, 3))
    with pytest.raises(KeyboardInterrupt):
        studied("passes", plan, tmp_path)
    assert [one.subject.batch for one in studied("passes", plan, tmp_path)] == [3, 5]
    assert turns == [3, 5, 5]
    studied("passes", plan, tmp_path, policy=Policy.ALWAYS)
    assert turns[3:] == [3, 5]


def test_a_race_with_other_versions_of_a_peer_is_another_one(turns, tmp_path, monkeypatch):
    peer = fake_peer(tmp_path, ("GOOD",))
    plan, versions = planned(peers=(peer,)), {"torch": "1"}

    def find(peer: Any, _: Path) -> Environment:
        return Environment(peer, Path("python"), dict(versions), "not here")

    monkeypatch.setattr(plans, "find", find)
    first, *_ = studied("passes", plan, tmp_path)
    assert first.subject.packages == ({}, {}, {"torch": "1"})
    assert plans.lacking(first) == ["fake GOOD"]
    versions["torch"] = "2"
    second, *_ = studied("passes", plan, tmp_path)
    assert second.subject.key != first.subject.key
    assert turns == [3, 3]
    monkeypatch.setattr(plans, "find", None)  # reading looks for no environment
    (shown,) = studied("passes", plan, tmp_path, policy=Policy.NEVER)
    assert shown == second
    with pytest.raises(UserError, match=r"study \(the nearest has mc 4, not 5\); ask for"):
        studied("passes", replace(plan, mc=5), tmp_path, policy=Policy.NEVER)


def made(*contenders: Contender) -> RaceRecord:
    names = tuple(one.name for one in contenders)
    return RaceRecord(
        RaceSubject("lenet5", "synthetic", 1, 2, 0, 1.0, names),
        Provenance.now(fingerprint(), ""),
        None,
        RaceBody((1, 28, 28), 4, contenders),
    )


def steady(name: str, format: str, mc: int, ns: int, by: str = "sigmabench") -> Contender:
    return Contender(name, by, format, "x", mc, (ns,) * 30, (3,) * 10)


def test_figures_are_a_pass_s():
    ours = steady("INT8", "INT8", 50, 100_000_000)
    peer = steady("peer INT8", "INT8", 2, 12_000_000, by="peer")
    one = made(peer, ours)
    assert base_of(one.body.contenders) is ours
    assert pass_ms(ours) == pytest.approx((2, 2, 2))
    ratio = pass_ratio(peer, ours)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3, 3, 3))
    figures = table.to_dict(one)["figures"]
    assert figures["peer INT8"]["over_int8"]["value"] == pytest.approx(3)
    assert base_of([peer]) is None
    assert "over_int8" not in table.to_dict(made(peer))["figures"]["peer INT8"]


def test_the_fastest_deterministic_int8_of_a_peer_is_what_ours_is_held_against():
    """By the median of a pass, whoever's and in whatever mode; floats, draws and ours are none."""
    ours = steady("INT8", "INT8", 50, 100_000_000)  # 2 ms per pass
    one = steady("a DNN_INT8 (1 stream)", "DNN_INT8", 5, 20_000_000, by="a")
    per_core = steady("a DNN_INT8 (1 stream per core)", "DNN_INT8", 50, 80_000_000, by="a")
    others = [
        steady("DNN_INT8 (fixed)", "DNN_INT8", 50, 1_000_000),
        steady("b INT8", "INT8", 50, 1_000_000, by="b"),
        steady("b DNN_BF16", "DNN_BF16", 50, 1_000_000, by="b"),
        steady("b DNN_INT8", "DNN_INT8", 1, 90_000_000, by="b"),
        Contender("c DNN_INT8", "c", "DNN_INT8", "c", 1, unavailable="It is not here."),
    ]
    race = [*others, one, ours, per_core]
    assert fastest_peer(race) is per_core
    assert fastest_peer(race, "DNN_BF16") is others[2]
    peer, ratio = over_fastest_peer(race)
    assert peer is per_core
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.25, 1.25, 1.25))
    (told,) = headline(race)
    assert told == (
        "Our INT8 pass takes 1.25 (95 % interval 1.25–1.25) times the time of the fastest "
        "deterministic INT8 pass of a peer, a DNN_INT8 (1 stream per core)."
    )
    assert table.notes(made(*race))[0] == told
    shown = table.to_dict(made(*race))["int8_over_fastest_peer"]
    assert shown == {"peer": per_core.name, "value": 1.25, "low": ratio.low, "high": ratio.high}
    for some in ([ours, *others[:3]], [one, per_core]):
        assert headline(some) == []
        assert "int8_over_fastest_peer" not in table.to_dict(made(*some))


def test_passes_side_by_side_are_timed_as_a_whole(tmp_path):
    """In whole rounds of its streams: 4 of T = 5, at once."""
    peer = fake_peer(tmp_path, ("BESIDE",))
    plan = planned(peers=(peer,), environments=tmp_path, mc=5, formats=("FP32",))
    (one,) = studied("passes", plan, tmp_path / "results")
    fixed, beside = one.body.contenders
    assert (fixed.mc, beside.mc) == (5, 4)
    assert len(beside.latency_ns) == sum(beside.slices) >= 20
    assert beside.details["kernels"] == "made up"
    log = (tmp_path / "worker.py.log").read_text().split()
    assert log.count("4") >= len(beside.latency_ns)


@given(st.floats(1e-6, 10, allow_nan=False), st.integers(1, 200), st.integers(1, 64))
def test_passes_a_query(seconds, most, threads):
    count = passes_per_query(seconds, most, threads)
    assert 1 <= count <= most
    assert count == 1 or count * seconds <= QUERY_SECONDS * (1 + 1e-9)
    assert count in (1, most) or count % threads == 0


@pytest.mark.parametrize(
    ("passes", "most", "streams", "expected"),
    [(50, 50, 1, 50), (50, 50, 16, 48), (1, 50, 16, 16), (1, 10, 16, 10), (7, 50, 2, 6)],
)
def test_passes_side_by_side_are_whole_rounds(passes, most, streams, expected):
    assert whole_rounds(passes, most, streams) == expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("lenet6",), "did you mean lenet5"),
        (("lenet5", "--batch", "0"), "--batch is 0"),
        (("lenet5", "--mc", "0"), "--mc is 0"),
        (("lenet5", "--threads", "-1"), "--threads is -1"),
        (("lenet5", "--threads", "4096"), "--threads is 4096"),
        (("lenet5", "--seed", "-1"), "--seed is -1"),
        (("lenet5", "--seconds", "nan"), "--seconds is nan"),
        (("lenet5", "--formats", "INT9"), "no format named 'INT9'"),
        (("lenet5", "--formats", ","), "--formats names nothing"),
        (("lenet5", "--peers", "ipx"), "did you mean ipex"),
    ],
)
def test_mistakes_get_one_sentence(options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["bench", "passes", *options])
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


def test_command(tmp_path, monkeypatch):
    if reason := BACKENDS.get("native").unavailable():
        pytest.skip(reason)
    monkeypatch.setenv("COLUMNS", "80")
    options = ("--batch", "2", "--mc", "3", "--threads", "1", "--seconds", "0.02")
    environments = ("--environments", str(tmp_path / "none"), "--results", str(tmp_path))
    formats = ("--formats", "int8,dnn_int8,fp32")
    command = ["bench", "passes", "lenet5", *options, *formats, *environments]
    done = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    for words in ("÷ INT8 pass", "DNN_INT8 (fixed)", "ipex DNN_INT8", "There is no environment"):
        assert words in done.output
    (found,) = Store(tmp_path, RACES).records("lenet5")
    assert found.subject.threads == 1
    written = (tmp_path / "out" / "lenet5-passes.csv").read_text().splitlines()
    assert [line.split(",")[3] for line in written[1:]] == ["INT8", "DNN_INT8 (fixed)", "FP32"]
    assert "DNN\\_INT8" in (tmp_path / "out" / "lenet5-passes.md").read_text()
    for policy in ("only-missing", "never"):
        told = CliRunner().invoke(main, [*command, "--policy", policy, "--json"])
        (one,) = json.loads(told.stdout)
        assert one["created"] == found.created
        assert one["figures"]["INT8"]["over_int8"]["value"] == 1
        assert one["figures"]["FP32"]["ms_a_pass"] > 0


def test_published_races_are_shown_anywhere(monkeypatch):
    """Those that do not say their T, too, on a machine of fewer cores."""
    monkeypatch.setattr(cores, "usable_cores", lambda: 1)
    command = ["bench", "passes", "resnet20", "--batch", "1,128", "--threads", "2", "--seconds"]
    command += ["2", "--peers", "none", "--policy", "never", "--results", str(RESULTS), "--json"]
    done = CliRunner().invoke(main, command)
    assert [one["batch"] for one in json.loads(done.stdout)] == [1, 128]
    refused = CliRunner().invoke(main, [*command, "--policy", "only-missing"])
    assert "--threads is 2" in refused.stderr


def test_published_races_stay_readable() -> None:
    races = Store(RESULTS, RACES).records(latest=False)
    programs = Store(RESULTS, MEMORY).records(latest=False)
    draws = Store(RESULTS, SAMPLER).records(latest=False)
    assert len(races) >= 7
    assert len(programs) >= 2
    assert len(draws) >= 1
    assert all(one.body.contenders[0].latency_ns for one in races)
    assert all(one.body.program["mean"] > 0 for one in programs)
    assert all(len(one.body.widths) == 8 for one in draws)
