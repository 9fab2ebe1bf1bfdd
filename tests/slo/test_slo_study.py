"""`sigmabench slo`: which rates are tried, what is found on a simulated clock, the tables, and a
run with LoadGen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from records_made import changed
from studied import studied

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.measure import loadgen
from sigmabench.harness.measure.batching import BatchingQueue, PassesRule, simulated
from sigmabench.harness.measure.host import Model
from sigmabench.harness.measure.load_test import CLOSED_LOOP, LoadTest, order_statistics
from sigmabench.harness.measure.system import Served
from sigmabench.harness.records.envelope import Arrays
from sigmabench.harness.records.load_record import Generated
from sigmabench.harness.records.slo_record import SLOS, SloRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.report.rendering import terminal
from sigmabench.harness.stats.served import EXCEEDS, HOLDS
from sigmabench.harness.studies.slo import ladder, measure
from sigmabench.harness.studies.slo.analyse import judged
from sigmabench.harness.studies.slo.document import conclusions, document
from sigmabench.harness.studies.slo.ladder import Ladder, highest_simulated, simulated_p99
from sigmabench.harness.studies.slo.plan import plan

PASS_SECONDS, COST = 1e-4, 1e-5  # of an image and pass, and of a batch
PENALTY = 0.02  # nats that one pass is worse than infinitely many; T passes are 1/T of it


def climbed(good: Callable[[float], bool], first: float, known: dict[float, bool]) -> list[float]:
    rates, tried = Ladder(first, 0.1, known), []
    while (rate := rates.next()) is not None:
        tried.append(rate)
        rates.told(rate, good(rate))
    return tried


@pytest.mark.parametrize("first", [10.0, 99.0, 800.0])
def test_a_ladder_ends_near_the_highest_good_rate(first: float) -> None:
    tried = climbed(lambda rate: rate <= 100, first, {})
    assert tried[0] == first
    assert len(tried) <= ladder.MOST
    best, worst = (max(r for r in tried if r <= 100), min(r for r in tried if r > 100))
    assert worst / best <= ladder.STEP**0.5
    if first != 800.0:
        assert worst / best <= ladder.NEAR


def test_a_ladder_begins_where_others_ended() -> None:
    tried = climbed(lambda rate: rate <= 100, 1.0, {80.0: True, 160.0: False})
    assert 80 < tried[0] < 160
    assert len(tried) < 5
    assert climbed(lambda rate: False, 1.0, {}) == [1.0, 0.5, 0.25, 0.125, 0.1]
    assert climbed(lambda rate: True, 0.01, {}) == [0.1 * 2**k for k in range(ladder.MOST)]


def seconds(images: int, mc: int) -> float:
    return COST + PASS_SECONDS * images * mc


TIMES = {(n, T): seconds(n, T) for n in (1, 2, 4, 8, 16, 32) for T in range(1, 51)}


class Simulator:
    """In place of a process: the queue on a simulated clock, and answers that are as much worse as
    they have fewer passes."""

    def __init__(self, model: Model) -> None:
        self.images = len(model.split)
        self.weights = model.artefact.sampled_weights
        rng = np.random.default_rng(0)
        self.nll = np.exp(rng.normal(-2, 0.3, self.images))

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def ask(self, method: str, *given: Any, limit: float) -> Any:
        return getattr(self, method)(*given)

    def shape_seconds(self, shapes: Any, spent: float) -> dict[tuple[int, int], float]:
        return {shape: seconds(*shape) for shape in shapes}

    def nlls(self, mc: int, seeds: tuple[int, ...]) -> np.ndarray:
        return np.stack([self.nll + PENALTY / mc] * len(seeds))

    def run(self, test: LoadTest, largest: int, rule: PassesRule) -> tuple[Generated, Served, int]:
        rng = np.random.default_rng(1)
        count = max(test.queries, round(test.seconds * test.rate))
        gaps = np.full(count, 1e3) if test.scenario == CLOSED_LOOP else (
            rng.exponential(1 / test.rate, count)
        )  # fmt: skip
        queue: BatchingQueue[float] = BatchingQueue(largest, rule)
        done = list(simulated(gaps.cumsum().tolist(), seconds, queue))
        latency = order_statistics(1e9 * (one.done - one.came) for one in done)
        begun = np.array([one.begun for one in done])
        batch = np.unique(begun, return_inverse=True)[1].astype(np.int32)
        image, mc = rng.integers(0, self.images, count), np.array([one.mc for one in done])
        nll = self.nll[image] + PENALTY / mc + 1e-3 * rng.normal(size=count)
        served = Served(
            image.astype(np.int32),
            mc.astype(np.int32),
            batch,
            np.ones(count, np.int64),
            nll.astype(np.float32),
            np.ones(count, np.uint8),
        )
        rate = count / done[-1].done
        told = Generated(
            "performance", test.rate, True, True, True, True, True, "", count, count, 0, latency,
            {}, rate, test.rate, (), {}, {}, 0.99, "simulated", test.folder.name,
        )  # fmt: skip
        return told, served, self.weights * served.passes


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> SloRecord:
    """Of the digits, every answer from the simulator."""
    made, _ = plan("lenet-digits", scoring=False, threads=1, queries=2000, mc=(1, 4, 50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "UnderLoad", Simulator)
        results = tmp_path_factory.mktemp("results")
        (found,) = studied("slo", made, results)
        assert studied("slo", made, results) == [found]
    return found  # type: ignore[no-any-return]


def test_what_a_simulated_queue_reaches_is_found(record: SloRecord) -> None:
    found = judged(record)
    assert record.verdict is not None
    assert record.verdict.speed.outcome == "valid"
    assert record.body.alone_ns == pytest.approx((1e9 * seconds(1, 50),) * 2)
    assert [rule.name for rule in record.subject.rules] == [
        "T = 50", "T = 4", "T = 1", "adaptive, work 40", "adaptive, work 100",
    ]  # fmt: skip
    for one in found.best:
        limit = one.bound * seconds(1, 50)
        rule = PassesRule(one.rule.most, one.rule.work)
        if one.in_time is None:  # the lowest rate that is tried is already too high
            assert simulated_p99(rule, 32, TIMES, 10.0) > 0.9 * limit
            continue
        reached = one.in_time.run.rate
        late = [simulated_p99(rule, 32, TIMES, reached * more) for more in (0.7, 1.5, 2.0)]
        assert late[0] <= limit
        assert one.rule.work or max(late[1:]) > limit  # adaptive T ends where answers are worse
    by_name = {(one.rule.name, one.bound): one for one in found.best}
    # 0.02 nats above the limit at T = 1 are 0.0196 above T = 50: no rate makes that good.
    assert by_name["T = 1", 2].good is None
    assert {one.verdict for one in found.of(record.subject.rules[2])} == {EXCEEDS}
    fixed, adaptive = by_name["T = 50", 2].good, by_name["adaptive, work 40", 2].good
    assert fixed is not None
    assert adaptive is not None
    assert adaptive.run.rate > 2 * fixed.run.rate
    assert 4 <= adaptive.mean_mc < 50
    assert adaptive.verdict == HOLDS
    assert adaptive.excess.value == pytest.approx(
        PENALTY * (np.mean(1 / record.answers(record.body.runs.index(adaptive.run))[1]) - 1 / 50),
        abs=2e-4,
    )


def test_every_answer_is_kept(record: SloRecord) -> None:
    for place, run in enumerate(record.body.runs):
        image, mc, batch, nll = record.answers(place)
        assert len(image) == len(mc) == len(batch) == len(nll) == run.queries
    assert record.reference.shape == (3, record.body.images)
    lacking = {n: a for n, a in record.arrays.items() if n != "0.nll"}
    with pytest.raises(UserError, match="does not hold the answers of its run 0"):
        changed(record, arrays=Arrays.of(lacking)).answers(0)
    other = {**record.arrays, "0.image": record.arrays["0.image"] + record.body.images}
    with pytest.raises(UserError, match="answers images that it does not have"):
        changed(record, arrays=Arrays.of(other)).answers(0)


def test_tables_fit_and_say_what_was_found(record: SloRecord) -> None:
    shown = document(judged(record))
    assert terminal(shown)
    text = " ".join(shown.conclusions)
    assert (
        "With 99 % of the queries within 2 times one that comes alone, adaptive T answers" in text
    )
    assert "and a fixed T answers up to" in text
    (figure,) = shown.figures()
    assert [panel.y.label for panel in figure.panels][1] == "mean T"
    (headed,) = (sheet for sheet in shown.sheets if sheet.headings)
    assert list(headed.headings.values()) == ["99 % within 2 × 5.01 ms", "99 % within 5 × 5.01 ms"]


def test_what_the_images_cannot_decide_is_told_with_how_many_would(record: SloRecord) -> None:
    rng = np.random.default_rng(3)
    noisy = {
        name: (one + 0.1 * rng.normal(size=len(one))).astype(np.float32)
        if name.endswith(".nll")
        else one
        for name, one in record.arrays.items()
    }
    text = " ".join(conclusions(judged(changed(record, arrays=Arrays.of(noisy)))))
    assert "images cannot decide whether its answers are at most 0.005 nats worse; about" in text
    slower = changed(record, alone_ns=(record.body.alone_ns[0], 1.3 * record.body.alone_ns[0]))
    assert "took +30 % longer after the runs" in " ".join(conclusions(judged(slower)))


def test_the_simulated_99th_percentile_is_the_queues() -> None:
    times = {(1, 50): 1.0}
    assert simulated_p99(PassesRule(50), 1, times, 1e-3) == pytest.approx(1.0, abs=0.05)
    assert simulated_p99(PassesRule(50), 1, times, 2.0) > 100
    found = highest_simulated(PassesRule(50), 1, times, 5e9)
    assert simulated_p99(PassesRule(50), 1, times, found) <= 5.0
    assert simulated_p99(PassesRule(50), 1, times, 1.2 * found) > 5.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mc", "1"], "there is no T to choose"),
        (["--queries", "100"], "give at least 662"),
        (["--formats", "DNN_INT8"], "DNN_INT8 has one pass"),
        (["--batch", "0"], "--batch is 0"),
    ],
)
def test_bad_input_is_one_sentence(
    options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loadgen, "unavailable", lambda: None)
    result = CliRunner().invoke(main, ["slo", "lenet-digits", "--results", str(tmp_path), *options])
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadgen, "unavailable", lambda: "It is not here.")
    with pytest.raises(UserError, match=r"cannot be sent: It is not here\."):
        plan("lenet-digits", scoring=True)


@pytest.mark.thorough
@pytest.mark.skipif(loadgen.unavailable() is not None, reason=str(loadgen.unavailable()))
def test_loadgen_sends_and_all_answers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "MOST", 1)
    made, _ = plan(
        "lenet-digits", scoring=True, mc=(4, 2), limit=80, threads=1, seconds=0.05, seeds=2, batch=4
    )
    (found,) = studied("slo", made, tmp_path)
    assert [one.subject.key for one in Store(tmp_path, SLOS).records()] == [found.subject.key]
    assert found.verdict.speed.audits["every timed pass drew"] == "pass"
    for place, run in enumerate(found.body.runs):
        assert run.queries >= 662
        _, mc, _, nll = found.answers(place)
        assert {*mc.tolist()} <= {1, 2, 3, 4}
        assert np.isfinite(nll).all()
        logs = Store(tmp_path, SLOS).logs(found.subject, found.fingerprint)
        assert (logs / run.logs / loadgen.DETAIL).is_file()
    assert terminal(document(judged(found)))
    assert replace(found.subject, queries=700).key != found.subject.key
