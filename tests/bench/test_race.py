"""The race, its record and its table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from peer_fakes import fake_peer

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.race.networks import LENET5
from sigmabench.harness.race.turns import QUERY_SECONDS, passes_per_query
from sigmabench.harness.records import runtime_record as record
from sigmabench.harness.records.runtime_record import Contender, Race
from sigmabench.harness.studies.bench import document as table
from sigmabench.harness.studies.bench import passes as race
from sigmabench.harness.studies.bench.passes import RacePlan

FLOATS = ("FP32", "BF16")


@pytest.fixture(scope="module")
def raced(tmp_path_factory) -> list[Race]:
    """FP32 and BF16 against a peer that works, one that crashes midway and one that refuses."""
    folder = tmp_path_factory.mktemp("peers")
    peer = fake_peer(folder, ("GOOD", "CRASH", "REFUSE"))
    plan = RacePlan(
        LENET5,
        batches=(3,),
        mc=4,
        formats=FLOATS,
        peers=(peer,),
        environments=folder,
        seconds=0.02,
    )
    return list(race.race(plan, "sigmabench bench passes lenet5"))


def test_everyone_is_timed_in_turns(raced):
    assert [one.batch for one in raced] == [3]
    for one in raced:
        contenders = {c.name: c for c in one.contenders}
        assert list(contenders) == [*FLOATS, "fake GOOD", "fake CRASH", "fake REFUSE"]
        for name in (*FLOATS, "fake GOOD"):
            contender = contenders[name]
            assert contender.mc == 4
            assert len(contender.latency_ns) == sum(contender.slices) >= 20
            assert len(contender.slices) >= 5
            assert not contender.unavailable
        assert contenders["fake GOOD"].details["input"] == "quick"
        assert "torch" in contenders["fake GOOD"].packages
        assert "kernels" in contenders["FP32"].details
        assert one.posterior.startswith("synthetic")


def test_a_failure_is_a_row_that_says_why(raced):
    for one in raced:
        crashed, refused = one.contenders[-2:]
        assert crashed.latency_ns == refused.latency_ns == ()
        assert crashed.unavailable == "fake CRASH ended with status 7: out of luck."
        assert refused.unavailable == "fake REFUSE: it would rather not."
        assert {crashed.unavailable, refused.unavailable} <= set(table.notes(one))


def test_record_round_trip(raced, tmp_path):
    path = record.save(raced[0], tmp_path)
    assert path.parent.parent == tmp_path / "runtime" / "lenet5"
    assert record.load(path) == raced[0]
    assert record.save(replace(raced[0], batch=9), tmp_path) != path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 99}, "made by a newer SigmaBench"),
        ({"batch": "one"}, "batch: Input should be a valid integer"),
        ({"surprise": None, "contenders": 3}, "contenders"),
    ],
)
def test_damaged_records_are_refused(raced, tmp_path, change, says):
    path = record.save(raced[0], tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=says):
        record.load(path)


def test_samples_that_do_not_add_up_are_refused(raced, tmp_path):
    first = replace(raced[0].contenders[0], latency_ns=(1, 2, 3), slices=(1, 1))
    path = record.save(replace(raced[0], contenders=(first,)), tmp_path)
    with pytest.raises(UserError, match="samples of FP32 do not add up"):
        record.load(path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match="cut short"):
        record.load(path)
    with pytest.raises(UserError, match="cannot be read"):
        record.load(tmp_path / "nowhere.json")


def made(**contenders: Contender) -> Race:
    return Race(
        network="lenet5",
        posterior="synthetic",
        input_shape=(1, 28, 28),
        batch=1,
        threads=2,
        inputs=4,
        seed=0,
        seconds=1.0,
        contenders=tuple(contenders.values()),
        fingerprint=fingerprint(),
        command="",
        created="",
    )


def steady(name: str, format: str, mc: int, ns: int, by: str = "sigmabench") -> Contender:
    return Contender(name, by, format, "x", mc, (ns,) * 30, (3,) * 10)


def test_figures_are_a_pass_s():
    ours = steady("INT8", "INT8", 50, 100_000_000)
    peer = steady("peer INT8", "INT8", 2, 12_000_000, by="peer")
    one = made(peer=peer, ours=ours)
    assert table.base_of(one) is ours
    assert table.pass_ms(ours) == pytest.approx((2, 2, 2))
    ratio = table.pass_ratio(peer, ours)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3, 3, 3))
    figures = table.to_dict(one)["figures"]
    assert figures["peer INT8"]["over_int8"]["value"] == pytest.approx(3)
    assert table.base_of(made(peer=peer)) is None
    assert "over_int8" not in table.to_dict(made(peer=peer))["figures"]["peer INT8"]


@given(st.floats(1e-6, 10, allow_nan=False), st.integers(1, 200), st.integers(1, 64))
def test_passes_a_query(seconds, most, threads):
    count = passes_per_query(seconds, most, threads)
    assert 1 <= count <= most
    assert count == 1 or count * seconds <= QUERY_SECONDS * (1 + 1e-9)
    assert count in (1, most) or count % threads == 0


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
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.partition("Record: ")[0].splitlines())) <= 80
    for words in ("÷ INT8 pass", "DNN_INT8 (fixed)", "ipex DNN_INT8", "There is no environment"):
        assert words in done.output
    (path,) = (tmp_path / "runtime").rglob("*.json")
    assert record.load(path).threads == 1
    told = CliRunner().invoke(main, [*command, "--json"])
    (one,) = json.loads(told.stdout)
    assert one["figures"]["INT8"]["over_int8"]["value"] == 1
    assert one["figures"]["FP32"]["ms_a_pass"] > 0


def test_published_races_stay_readable() -> None:
    folder = Path(__file__).parents[2] / "results" / record.FOLDER
    networks = [path for path in folder.glob("*/*/*.json") if path.parts[-3] != "sampler"]
    assert networks
    for path in networks:
        if path.stem.startswith("memory-"):
            assert record.load_memory(path).program["mean"] > 0
        else:
            found = record.load(path)
            assert path.stem == found.key
            assert found.contenders[0].latency_ns
