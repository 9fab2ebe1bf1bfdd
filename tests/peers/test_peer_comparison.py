"""`sigmabench peers`: one table from ours and fakes, its audits, its record."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from peer_fakes import fake_peer
from records_made import changed
from studied import studied

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import cores
from sigmabench.harness.peers.environment import ENVIRONMENTS, PEERS
from sigmabench.harness.peers.handover import NoRoomError
from sigmabench.harness.records.peers_record import COMPARISONS, PeerRow, PeersRecord, failed
from sigmabench.harness.records.store import Policy, Store
from sigmabench.harness.report.rendering import terminal
from sigmabench.harness.studies.peers import document as table
from sigmabench.harness.studies.peers import judge
from sigmabench.harness.studies.peers.plan import DEFAULT, PeersPlan, answers, nearest, plan
from sigmabench.harness.studies.peers.plan import asked as asks
from sigmabench.harness.workload.prepare import prepare

#: Each of the fakes is a process that loads PyTorch.
pytestmark = pytest.mark.thorough

FORMATS = ("FP32", "DNN_FP32", "INT8_SIGMA1")
FAKES = ("GOOD", "BESIDE", "DRAWN", "SHRUNK", "BLIND", "CRASH", "REFUSE")


ASKED = {
    "posterior": None,
    "data": None,
    "seed": 0,
    "formats": FORMATS,
    "mc": 12,
    "batch": 16,
    "limit": 60,
    "split": "validation",
    "seconds": 0.02,
    "threads": 1,
}


def plan_in(folder: Path, **changes: object) -> PeersPlan:
    asked = {**ASKED, **changes, "environments": folder}
    return plan("lenet-digits", scoring=True, peers=("none",), **asked)[0]


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[PeersPlan, Path, PeersRecord]:
    folder = tmp_path_factory.mktemp("peers")
    plan = replace(plan_in(folder), peers=(fake_peer(folder, FAKES),))
    (found,) = studied("peers", plan, folder / "results")
    return plan, folder / "results", found


def shown(plan: PeersPlan, results: Path) -> PeersRecord:
    """What `--policy never` gives."""
    (found,) = studied("peers", plan, results, policy=Policy.NEVER)
    return found


@pytest.fixture(scope="module")
def rows(compared) -> dict[str, PeerRow]:
    return {row.contender.name: row for row in compared[2].body.rows}


def test_everyone_has_a_row_in_the_order_of_their_turns(rows):
    ours = ["FP32", "DNN_FP32 (fixed)", "INT8_SIGMA1"]
    assert list(rows) == [*ours, *(f"fake {name}" for name in FAKES)]


def test_the_same_network_gives_the_same_scores(rows, compared):
    ours, theirs = rows["DNN_FP32 (fixed)"], rows["fake GOOD"]
    assert theirs.scores["accuracy"] == ours.scores["accuracy"]
    assert theirs.scores["nll"] == pytest.approx(ours.scores["nll"], rel=1e-4)
    assert rows["fake BESIDE"].scores == theirs.scores
    assert theirs.scores["mutual_information"] is None
    assert rows["fake DRAWN"].scores["mutual_information"] > 0
    assert rows["fake DRAWN"].scores["nll"] == pytest.approx(rows["FP32"].scores["nll"], rel=0.3)
    found = compared[2].verdict.audits
    for name in ("same deterministic network", "same Bayesian network", "same σ", "draws"):
        assert found[name] == "pass"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> dict[str, str]:
    """Audits of peers that draw what they should, and compute something else."""
    folder = tmp_path_factory.mktemp("faulty")
    plan = plan_in(folder, formats=("FP32",), mc=50)
    plan = replace(plan, peers=(fake_peer(folder, ("OTHER", "FROZEN")),))
    (found,) = studied("peers", plan, folder / "results")
    return dict(found.verdict.audits)


def test_a_peer_that_draws_once_is_noticed(faulty):
    assert faulty["draws"] == "fail: fake FROZEN draws nothing: its 50 passes are all the same"
    assert faulty["same σ"] == "pass"


def test_a_peer_that_decides_a_tenth_otherwise_is_noticed(faulty):
    told = faulty["same Bayesian network"]
    assert told.startswith("fail: FP32 and fake OTHER: probabilities")


def test_sigma_is_what_was_drawn(rows):
    for name in ("FP32", "fake DRAWN"):
        assert set(rows[name].std_ratio) == {"conv1", "conv2", "fc1", "fc2", "fc3"}
        assert list(rows[name].std_ratio.values()) == pytest.approx([1] * 5, abs=0.06)
    assert list(rows["fake SHRUNK"].std_ratio.values()) == pytest.approx([0.1] * 5, abs=0.006)
    assert not rows["fake GOOD"].std_ratio
    assert rows["INT8_SIGMA1"].std_ratio["fc1"] > 0.5


def test_lost_posteriors_are_told(compared):
    (finding,) = (f for f in compared[2].verdict.findings if f.startswith("fake SHRUNK"))
    assert "POSTERIOR LOST" in finding
    assert not any("INFLATED" in finding for finding in compared[2].verdict.findings)


def test_failures_are_rows_that_say_why(rows):
    blind, crashed, refused = (rows[f"fake {name}"] for name in ("BLIND", "CRASH", "REFUSE"))
    assert "conv1.weight were not seen" in blind.contender.unavailable
    assert crashed.contender.unavailable == "fake CRASH ended with status 7: out of luck."
    assert crashed.scores["accuracy"] > 0  # it was judged before it crashed
    assert refused.contender.unavailable == "fake REFUSE: it would rather not."
    assert not blind.scores
    assert not refused.scores
    for row in (blind, crashed, refused):
        assert not row.contender.latency_ns


def test_size_is_what_was_saved(rows):
    assert rows["fake GOOD"].file_bytes == 321
    assert rows["FP32"].file_bytes > rows["INT8_SIGMA1"].file_bytes > 18_686


def test_a_record_is_read_back_and_not_measured_again(compared, monkeypatch):
    plan, results, found = compared
    (path,) = (results / "peers" / "lenet-digits").glob("*/*.json")
    monkeypatch.setattr("sigmabench.harness.studies.peers.measure.PeersMeasurer", None)
    assert studied("peers", plan, results, "another command") == [found]
    assert shown(plan, results) == found == Store(results, COMPARISONS).load(path)
    with pytest.raises(UserError, match="holds no record of this study"):
        shown(replace(plan, ours=replace(plan.ours, seed=9)), results)


def test_reading_takes_the_youngest_of_a_machine(compared, tmp_path):
    plan, _, found = compared
    for name, created in (("1" * 8, "2020-01-01"), ("2" * 8, "2021-01-01"), ("3" * 8, "2019")):
        path = Store(tmp_path, COMPARISONS).save(changed(found, created=created))
        (path.parent.parent / name).mkdir()
        path.rename(path.parent.parent / name / path.name)
    assert shown(plan, tmp_path).created == "2021-01-01"


def test_each_machine_has_a_table_of_its_own(compared, tmp_path):
    plan, _, found = compared
    Store(tmp_path, COMPARISONS).save(found)
    elsewhere = replace(found.fingerprint, cpu="another", machine=None, computing=None)
    other = changed(found, created="2019-01-01", fingerprint=elsewhere)
    Store(tmp_path, COMPARISONS).save(other)
    assert studied("peers", plan, tmp_path, policy=Policy.NEVER) == [found, other]


def test_reading_asks_for_no_environment(compared, tmp_path):
    plan, _, found = compared
    store, asked = Store(tmp_path, COMPARISONS), found.subject
    there = replace(asked, peers={"fake": {"torch": "1.0"}})
    store.save(changed(found, subject=there, created="2020"))
    youngest = replace(asked, peers={"fake": {"torch": "1.1"}})
    store.save(changed(found, subject=youngest, created="2021"))
    others = replace(asked, seed=1), replace(asked, peers={"another": {}})
    for other in others:
        store.save(changed(found, subject=other, created="2022"))
    elsewhere = replace(plan, environments=tmp_path / "nowhere")
    assert shown(elsewhere, tmp_path).subject == youngest
    wider = replace(elsewhere, ours=replace(plan.ours, limit=59))
    with pytest.raises(UserError, match=r"study \(the nearest has limit 60, not 59\); ask for"):
        shown(wider, tmp_path)


@pytest.mark.parametrize("name", ["lenet5-mnist", "resnet20-cifar10"])
def test_published_records_are_read_anywhere(name, tmp_path, monkeypatch):
    """With neither data nor environments, on as many cores as they were measured with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGMABENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    results = str(Path(__file__).parents[2] / "results")
    command = ["peers", name, "--policy", "never", "--results", results, "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["asked"]["workload"] == name
    assert told["figures"]["INT8"]["ms_a_pass"] > 0
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    other = CliRunner().invoke(main, command)
    assert "(the nearest has threads 2, not 4); ask for one that is there" in other.stderr
    assert CliRunner().invoke(main, [*command, "--threads", "2"]).exit_code == 0


def test_a_superseded_comparison_is_shown_whatever_the_digest_of_its_images():
    results = Path(__file__).parents[2] / "results"
    (stored,) = Store(results, COMPARISONS).records("resnet50-imagenet")
    asked = replace(stored.subject, data="fedcba9876543210")
    assert answers(stored) in asks(asked)
    assert answers(stored) not in asks(replace(asked, mc=11))
    assert nearest([stored], [replace(asked, mc=11)]) == " (the nearest has mc 10, not 11)"
    assert any(note.startswith("superseded: ") for note in table.notes(stored))


def test_all_peers_are_answered_by_records_from_before_openvino():
    results = Path(__file__).parents[2] / "results"
    (stored,) = Store(results, COMPARISONS).records("lenet5-mnist")
    everyone = replace(stored.subject, peers={name: {} for name in DEFAULT})
    assert answers(stored) in asks(everyone)
    assert answers(stored) in asks(stored.subject)
    assert answers(stored) not in asks(replace(everyone, mc=11))
    some = {name: {} for name in DEFAULT if name != "ipex"}
    assert answers(stored) not in asks(replace(everyone, peers=some))


def test_a_full_folder_is_nobody_s_fault(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise NoRoomError("No room.")

    monkeypatch.setattr("sigmabench.harness.studies.peers.measure.write_networks", full)
    plan = plan_in(tmp_path, formats=("DNN_FP32",))
    with pytest.raises(NoRoomError, match="No room"):
        studied("peers", plan, tmp_path / "results")
    assert not list((tmp_path / "results").iterdir())


def test_sigma_is_judged_draw_by_draw():
    """As from all draws at once, in the memory of a few."""
    prepared = prepare(plan_in(Path("none")).ours)
    for name in ("FP32", "INT8_SIGMA1"):
        artefact = prepared.artefact(name)
        backend = BACKENDS.get(prepared.plan.backend_of(artefact.format))
        predictor = backend.load(artefact, 1)
        tracemalloc.start()
        found = judge._our_std_ratio(artefact, prepared.model, predictor, 3)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(found) == 5
        sizes = []
        for layer, ratio in found.items():
            scale = np.asarray(artefact.layers[layer].weight_scale, np.float64)
            scale = scale.reshape(-1, 1, 1, 1) if scale.ndim else scale
            draws = [predictor.sample(layer, 3, mc) * scale for mc in range(judge.DRAWS)]
            std = judge.rms(prepared.model.layers[layer].std.numpy())
            expected = judge.rms(np.std(draws, axis=0, ddof=1)) / std
            assert ratio == pytest.approx(expected, rel=1e-12)
            sizes.append(draws[0].nbytes)
        assert most < 8 * max(sizes) + 100_000


def test_what_failed_though_it_was_there_is_told(compared):
    found = compared[2]
    there = replace(found.subject, peers={"fake": {"torch": "1"}})
    told = failed(changed(found, subject=there))
    assert told == ["fake BLIND", "fake CRASH", "fake REFUSE"]
    assert failed(found) == []  # no environment, as its versions say


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("", {"schema_version": 99}, "made by a newer SigmaBench"),
        ("body", {"images": "many"}, "images: Input should be a valid integer"),
    ],
)
def test_damaged_records_are_refused(compared, tmp_path, part, change, says):
    store = Store(tmp_path, COMPARISONS)
    path = store.save(compared[2])
    tree = json.loads(path.read_text())
    (tree[part] if part else tree).update(change)
    path.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=says):
        store.load(path)


def test_samples_that_do_not_add_up_are_refused(compared, tmp_path):
    store = Store(tmp_path, COMPARISONS)
    first = compared[2].body.rows[0]
    broken = replace(first, contender=replace(first.contender, slices=(1,)))
    path = store.save(changed(compared[2], rows=(broken,)))
    with pytest.raises(UserError, match="samples of FP32 do not add up"):
        store.load(path)


def test_the_table_fits_80_columns(compared):
    from rich.console import Console

    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal(table.document(("lenet-digits", compared[2]))))
    text = console.export_text()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("INT8_SIGMA1 ") for line in lines) == 1
    for words in (
        "60 validation images, T = 12, batch 16, 1 thread",
        "REFUSE: fake",
        "would rather",
    ):
        assert words.replace("REFUSE: fake", "fake REFUSE") in text


def test_images_that_nobody_scored_are_named(compared):
    told = table.notes(changed(compared[2], skipped=("a/broken.jpg",)))
    assert "1 image could not be read: a/broken.jpg." in told


def test_json_has_what_the_table_shows(compared):
    told = table.to_dict(compared[2])["figures"]
    first = compared[2].body.rows[0].contender
    middle = np.median(first.latency_ns) / first.mc / 1e6
    assert told["FP32"]["ms_a_pass"] == pytest.approx(middle)
    assert told["FP32"]["ci95_low_ms"] < middle < told["FP32"]["ci95_high_ms"]
    assert told["fake SHRUNK"]["std_ratio_median"] == pytest.approx(0.1, abs=0.005)
    assert told["fake REFUSE"] == {"file_bytes": None}
    json.dumps(told)
    rows = table.document(("lenet-digits", compared[2])).data["peers"]
    assert [row["contender"] for row in rows] == list(told)
    assert rows[0]["ms_a_pass"] == told["FP32"]["ms_a_pass"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("lenet-digit",), "did you mean lenet-digits"),
        (("lenet-digits", "--peers", "ipx"), "did you mean ipex"),
        (("lenet-digits", "--peers", "none,ipex"), "names none and others"),
        (("lenet-digits", "--formats", "INT9"), "no format named 'INT9'"),
        (("lenet-digits", "--mc", "0"), "--mc is 0"),
        (("lenet-digits", "--limit", "-1"), "--limit is -1"),
        (("lenet-digits", "--batch", "99", "--limit", "9"), "more than the 9 images"),
        (("lenet-digits", "--split", "train"), "split 'train' is not scored"),
        (("lenet-digits", "--policy", "nevr"), "did you mean never"),
        (("lenet-digits", "--policy", "never"), "leave out --policy never"),
    ],
)
def test_mistakes_get_one_sentence(options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = (*options, "--threads", "1")
    if "--peers" not in options:
        options = (*options, "--peers", "none")
    done = CliRunner().invoke(main, ["peers", *options])
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


def test_command_names_what_builds_a_peer(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    command = ["peers", "lenet-digits", "--formats", "dnn_fp32", "--limit", "20", "--batch", "10"]
    command += ["--seconds", "0.02", "--threads", "1"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    for name in PEERS:
        assert f"`{PEERS.get(name).build_command(ENVIRONMENTS)}`" in text
    told = CliRunner().invoke(main, [*command, "--policy", "never", "--json", "--out", "out"])
    assert json.loads(told.stdout)["figures"]["DNN_FP32 (fixed)"]["ms_a_pass"] > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "lenet-digits-peers.csv",
        "lenet-digits-peers.md",
    }


def test_a_stored_comparison_says_who_had_no_figures(compared, tmp_path):
    """On the error output, where it spoils no JSON."""
    found = compared[2]
    there = replace(found.subject, peers={"ipex": {"torch": "1"}})
    row = found.body.rows[-1]
    row = replace(row, contender=replace(row.contender, name="ipex INT8", by="ipex"))
    one = changed(found, subject=there, rows=(row,), created="2021-02-03")
    Store(tmp_path, COMPARISONS).save(one)
    names = ("formats", "mc", "batch", "limit", "split", "seconds", "threads")
    texts = {**ASKED, "formats": ",".join(FORMATS)}
    command = ["peers", "lenet-digits", "--peers", "ipex", "--policy", "never", "--json"]
    command += [word for name in names for word in (f"--{name}", str(texts[name]))]
    done = CliRunner().invoke(main, [*command, "--results", str(tmp_path)])
    assert done.stderr == (
        "This is the record of 2021-02-03, in which ipex INT8 had no figures; --policy always "
        "measures again.\n"
    )
    assert json.loads(done.stdout)["created"] == "2021-02-03"
