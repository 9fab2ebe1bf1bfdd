"""The papers' claims: known answers, tests by hand, and what is said where nothing is recorded."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hostile import HOSTILE, steering
from records_made import changed
from report import factory
from rich.console import Console
from scipy import stats
from shift.shift_factory import study

from sigmabench.harness.claims import counted, one_bit, referral_claim, scored_claims, speed
from sigmabench.harness.claims.claims import judge, judged
from sigmabench.harness.claims.compared import (
    Compared,
    images_that_decide,
    merged,
    of_runs,
    outcome_of,
    told,
)
from sigmabench.harness.claims.document import by_claim, document
from sigmabench.harness.claims.evidence import Evidence
from sigmabench.harness.claims.findings import CANNOT, CONTRADICTED, HOLDS, Finding
from sigmabench.harness.claims.papers import CLAIMS, CLEAN, CLEAN_METRICS, SPEEDUP
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records.envelope import Provenance, Record
from sigmabench.harness.records.run_record import RUN_RECORDS, Paired, RunRecord
from sigmabench.harness.records.runtime_record import (
    RACES,
    Contender,
    RaceBody,
    RaceRecord,
    RaceSubject,
)
from sigmabench.harness.records.shift_record import SHIFT_RECORDS
from sigmabench.harness.records.store import Store
from sigmabench.harness.records.weights_record import (
    LayerRange,
    WeightCounts,
    WeightsBody,
    WeightsRecord,
    WeightsSubject,
)
from sigmabench.harness.report.rendering import markdown, terminal
from sigmabench.harness.stats.equivalence import equivalence
from sigmabench.harness.stats.shifted import HEADROOM, results
from sigmabench.harness.stats.significance import holm
from sigmabench.harness.studies.selective.agreement import comparisons
from sigmabench.harness.studies.selective.referral import Choices
from sigmabench.harness.studies.selective.sample import SplitSample

QUANTIZED = ("INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")
UNITS = 5000
RESULTS = Path(__file__).parents[2] / "results"


def evidence(**records: Sequence[Record[Any, Any]]) -> Evidence:
    return Evidence(records)


def synthetic(found: Sequence[Finding]) -> Finding:
    return next(f for f in found if f.workload == "synthetic")


def one(found: Sequence[Finding]) -> Finding:
    (finding,) = found
    return finding


def run(
    format: str,
    differences: dict[str, float] | None = None,
    error: float = 0.0005,
    scores: tuple[float, ...] = (0.100, 0.101, 0.102),
    units: int | None = UNITS,
    **changes: Any,
) -> RunRecord:
    """A record with these paired differences, all with one error of the images, and these NLLs."""
    record = factory.record(format=format, **changes)
    body = record.body
    quality_ = replace(body.quality, scores={**body.quality.scores, "nll": scores})
    paired = None
    if differences is not None:
        half = error * float(stats.t.ppf(0.975, UNITS - 1))
        ends = {name: (value - half, value + half) for name, value in differences.items()}
        paired = Paired("FP32", (3, 3), differences, ends, units)
    return changed(record, quality=quality_, paired=paired)


def test_runs_are_tested_as_by_hand() -> None:
    base = run("FP32", scores=(0.090, 0.092, 0.097))
    values = {"INT8": 0.002, "INT8_SIGMA4": 0.0092, "INT8_SIGMA2": 0.018, "INT8_SIGMA1": -0.021}
    formats = [run(name, {"nll_nats": value}) for name, value in values.items()]
    found = {one.variant: one for one in of_runs(base, formats, ("nll",))}
    margin, raw = 0.01, {}
    for name, value in values.items():
        lucks = [np.var(s, ddof=1) / 3 for s in ((0.100, 0.101, 0.102), (0.090, 0.092, 0.097))]
        parts = np.array([0.0005**2, *lucks])
        freedom = parts.sum() ** 2 / (parts**2 / [UNITS - 1, 2, 2]).sum()
        law = stats.t(freedom, loc=0, scale=math.sqrt(parts.sum()))
        equal = max(law.sf(value + margin), law.cdf(value - margin))
        raw[name] = equal, law.sf(value - margin), law.cdf(value + margin)
        half = law.ppf(0.975)
        assert found[name].low == pytest.approx(value - half)
        assert found[name].high == pytest.approx(value + half)
    corrected = [holm([raw[name][place] for name in values]) for place in range(3)]
    for place, name in enumerate(values):
        p = dict(found[name].p)
        wanted = [one[place] for one in corrected]
        assert [p["equivalent"], p["worse"], p["improved"]] == pytest.approx(wanted)


def test_verdicts_of_runs() -> None:
    steady = (0.1000, 0.1001, 0.1002)
    base = run("FP32", scores=steady)

    def verdict(value: float, **how: Any) -> str:
        made = run("INT8", {"nll_nats": value}, **{"scores": steady, **how})
        return one_of(of_runs(base, [made], ("nll",))).verdict

    assert verdict(0.002) == verdict(-0.002) == "equivalent"
    assert verdict(0.02) == "worse"
    assert verdict(-0.02) == "improved"
    assert verdict(0.0099) == verdict(-0.0099) == "inconclusive"
    assert verdict(0.002, error=0.02) == "inconclusive"
    assert verdict(0.002, scores=(0.1,)) == "not judged", "one seed tells no luck"
    assert verdict(0.002, units=None) == "not judged"
    assert verdict(0.002, units=40) == "not judged"


def one_of(found: Sequence[Compared]) -> Compared:
    (only,) = found
    return only


def test_more_accuracy_is_no_harm() -> None:
    scores = (91.0, 91.01, 91.02)

    def made(format: str, value: float | None) -> RunRecord:
        differences = None if value is None else {"accuracy_percent": value}
        found = run(format, differences, error=0.02)
        own = replace(found.body.quality, scores={"accuracy": scores})
        return changed(found, quality=own)

    base = made("FP32", None)
    verdicts = [
        one_of(of_runs(base, [made("INT8", value)], ("accuracy",))).verdict
        for value in (-0.1, 0.1, -0.6, 0.6)
    ]
    assert verdicts == ["equivalent", "equivalent", "worse", "improved"]


def compared(verdict: str, **changes: Any) -> Compared:
    made = Compared("INT8", "nll", "", 1000, 0.002, -0.01, 0.014, verdict, 4, ("run", "k"))
    return replace(made, **changes)


def test_a_claim_stands_with_all_and_falls_with_one() -> None:
    same, better, lost = map(compared, ("equivalent", "improved", "worse"))
    unsure, few = compared("inconclusive"), compared("not judged")
    assert outcome_of([same, better]) == HOLDS
    assert outcome_of([same, better], complete=False) == CANNOT
    assert outcome_of([same, unsure]) == outcome_of([same, few]) == outcome_of([]) == CANNOT
    assert outcome_of([same, unsure, lost], complete=False) == CONTRADICTED


def test_a_loss_by_one_of_several_metrics_is_corrected_for_all_of_them() -> None:
    lost = compared("worse", p=(("worse", 0.03),))
    same = compared("equivalent", metric="ece")
    assert outcome_of([lost, compared("equivalent", variant="INT8_SIGMA4")]) == CONTRADICTED
    assert outcome_of([lost, same]) == CANNOT
    assert "Of these losses 1 may be chance" in told([lost, same], "On 9 images")
    clear = replace(lost, p=(("worse", 0.02),))
    assert outcome_of([clear, same]) == CONTRADICTED
    assert "chance" not in told([clear, same], "On 9 images")


def test_images_that_would_decide_do() -> None:
    """With so many the interval is as narrow as the test asks for."""
    found = compared("inconclusive")
    needed = images_that_decide(found)
    assert needed is not None
    error = 0.012 / stats.norm.ppf(0.975) * math.sqrt(1000 / needed)
    assert stats.norm.sf((0.01 - 0.002) / error) == pytest.approx(0.05 / 4)
    assert images_that_decide(replace(found, effect=0.01)) is None
    assert images_that_decide(replace(found, low=None)) is None
    line = told([found, replace(found, effect=0.01, variant="INT8_SIGMA4")], "On 9 images")
    assert line.startswith("On 9 images: of 2 comparisons with FP32, 2 are undecided. The most")
    assert "INT8 NLL +0.0020 nats, 95 % interval −0.0100 to +0.0140" in line
    assert "would decide all but 1 of them" in line
    assert "1 lies so near the margin" in line


def test_images_beside_runs_are_judged_once() -> None:
    scored = [compared("equivalent", metric="nll"), compared("not judged", metric="ece")]
    raced = [compared("worse", metric="nll"), compared("worse", metric="brier")]
    found = [(one.metric, one.verdict) for one in merged(scored, raced)]
    assert found == [("nll", "equivalent"), ("ece", "not judged"), ("brier", "worse")]
    more = [compared("worse", metric="nll", units=1001)]
    assert merged(scored[:1], more) == more, "of more images"
    assert merged(scored[:1], [replace(more[0], verdict="not judged")]) == scored[:1]
    assert merged(scored[1:], [replace(more[0], metric="ece")])[0].verdict == "worse"


def test_clean_images_of_runs() -> None:
    steady = (0.1000, 0.1001, 0.1002)
    zero = {"accuracy_percent": 0.0, "nll_nats": 0.0, "brier": 0.0}

    def grid(lost: float = 0.0) -> list[RunRecord]:
        made = [run("FP32", scores=steady, mc=50)]
        for name in QUANTIZED:
            mine = {**zero, "nll_nats": lost} if name == "INT8_SIGMA1" else zero
            made.append(run(name, mine, error=0.0001, scores=steady, mc=50))
        flat = {"accuracy": (91.0, 91.01, 91.02), "brier": (0.13, 0.1301, 0.1302)}
        return [
            changed(r, quality=replace(r.body.quality, scores={**r.body.quality.scores, **flat}))
            for r in made
        ]

    def found(records: Sequence[RunRecord]) -> Finding:
        return next(
            f for f in scored_claims.clean(evidence(run=records)) if f.workload == "synthetic"
        )

    same = found(grid())
    assert same.outcome == CANNOT, "nobody compared ECE"
    assert "No comparison is recorded of ECE." in same.sentence
    assert "of 12 comparisons with FP32, 12 are equivalent" in same.sentence
    assert same.record is not None
    assert same.record[0] == "run"
    assert same.machine == grid()[0].fingerprint.shown
    lost = found(grid(0.02))
    assert lost.outcome == CONTRADICTED
    assert "INT8_SIGMA1 NLL +0.0200 nats" in lost.sentence
    assert lost.record == ("run", grid()[-1].subject.key)
    bad = factory.with_verdict(grid(0.02)[-1], moments="fail: made up")
    kept = found([*grid(0.02)[:-1], bad])
    assert kept.outcome == CANNOT, "what is marked invalid has no part"
    assert "INT8_SIGMA1" in kept.sentence.partition("No comparison")[2]
    alone = [r for r in grid() if r.subject.format != "FP32"]
    assert not [f for f in scored_claims.clean(evidence(run=alone)) if f.outcome != CANNOT]


@pytest.fixture(scope="module")
def shifted() -> list[Any]:
    return study(severities=(1,), images=150, harm={"INT8_SIGMA1": 0.9}, ood=())


def test_shift_is_judged_as_the_study_judges_it(shifted: list[Any]) -> None:
    found = next(
        f for f in scored_claims.shifted(evidence(shift=shifted)) if f.workload == "synthetic"
    )
    (outcomes,) = map(equivalence, results(shifted))
    mine = [o for o in outcomes if o.severity and o.kind == HEADROOM]
    worse = [o for o in mine if o.verdict == "worse"]
    assert {o.variant for o in worse} == {"INT8_SIGMA1"}
    assert found.outcome == CONTRADICTED
    assert f"of {len(mine)} comparisons" in found.sentence
    assert f"{len(worse)} are worse beyond the margin" in found.sentence
    assert [n["effect"] for n in found.numbers] == [o.effect for o in mine]
    key = {r.subject.key for r in shifted if r.subject.format == "INT8_SIGMA1"}
    assert found.record is not None
    assert found.record[1] in key
    without = [r for r in shifted if r.subject.format != "INT8_SIGMA1"]
    rest = next(
        f for f in scored_claims.shifted(evidence(shift=without)) if f.workload == "synthetic"
    )
    assert rest.outcome == CANNOT
    assert "No comparison is recorded of INT8_SIGMA1, severity 2, " in rest.sentence
    assert "severity 5." in rest.sentence


def test_every_metric_of_every_format_has_to_be_compared() -> None:
    """One that another metric, or another format, has does not stand for it."""
    names = CLEAN_METRICS
    every = [
        compared("equivalent", metric=metric, variant=format)
        for metric in names
        for format in QUANTIZED
    ]
    assert scored_claims._lacking(every, names, QUANTIZED, ("",)) == []
    assert scored_claims._lacking(every[:-1], names, QUANTIZED, ("",)) == ["Brier of INT8_SIGMA1"]
    assert scored_claims._lacking(every[:-4], names, QUANTIZED, ("",)) == ["Brier"]
    outcomes = [
        scored_claims._finding(CLEAN, "w", "", some, "On 9 images", []).outcome
        for some in (every, every[:-1])
    ]
    assert outcomes == [HOLDS, CANNOT]
    places = ("at severity 1", "at severity 2")
    both = [replace(one, where=place) for one in every for place in places]
    assert scored_claims._lacking(both, names, QUANTIZED, places) == []
    assert scored_claims._lacking(both[:-1], names, QUANTIZED, places) == [
        "Brier of INT8_SIGMA1 at severity 2"
    ]
    first = [one for one in both if one.where == places[0]]
    assert scored_claims._lacking(first, names, QUANTIZED, places) == ["severity 2"]


def test_the_number_of_images_that_decides_who_is_referred() -> None:
    made = study(
        ("FP32", *QUANTIZED), (), (), images=150, seeds=(0, 1, 2), ood=(),
    )  # fmt: skip
    records = [
        changed(r, subject=replace(r.subject, workload="histology-colorectal")) for r in made
    ]
    found = one(referral_claim.referrals(evidence(shift=records)))
    if any(n["verdict"] == "undecided" and n["excess"] for n in found.numbers):
        (told_,) = re.findall(r"About ([\d,]+) images of test, ([\d.,]+) times", found.sentence)
        images, times = (float(word.replace(",", "")) for word in told_)
        assert images == pytest.approx(150 * times, rel=0.12)


def test_one_bit_is_judged_alone(shifted: list[Any]) -> None:
    (found, *_) = [
        f
        for f in scored_claims.one_bit_scores(evidence(shift=shifted))
        if f.workload == "synthetic"
    ]
    assert found.outcome == CONTRADICTED
    assert {n["variant"] for n in found.numbers} == {"INT8_SIGMA1"}


def test_machines_are_not_mixed(shifted: list[Any]) -> None:
    """Formats of two machines are compared with nothing."""
    other = factory.fingerprint(cpu="Another CPU")
    apart = [changed(r, fingerprint=other) if r.subject.format == "FP32" else r for r in shifted]
    found = [f for f in scored_claims.shifted(evidence(shift=apart)) if f.workload == "synthetic"]
    assert {f.outcome for f in found} == {CANNOT}
    assert one(found).record is None


def test_too_few_passes_judge_nothing() -> None:
    short = study(("FP32", "INT8"), ("fog",), (1,), images=150, mc=(1, 2), ood=())
    found = next(
        f for f in scored_claims.shifted(evidence(shift=short)) if f.workload == "synthetic"
    )
    assert found.outcome == CANNOT
    assert "too few passes to tell the luck of the draw" in found.sentence


def test_sizes_are_counted() -> None:
    records = [factory.record(format=name) for name in ("FP32", *QUANTIZED)]
    weights, whole = (f for f in counted.sizes(evidence(run=records)) if f.workload == "synthetic")
    assert (weights.outcome, whole.outcome) == (HOLDS, CONTRADICTED)
    assert "INT8_SIGMA1 7.11 (claimed 7.1)" in weights.sentence
    for numbers, record in zip(whole.numbers, records[1:], strict=True):
        assert numbers["ratio"] == pytest.approx(record.body.size.ratio_file)
    fewer = [f for f in counted.sizes(evidence(run=records[:3])) if f.workload == "synthetic"]
    assert fewer[0].outcome == CANNOT
    assert "no record of INT8_SIGMA2, INT8_SIGMA1" in fewer[0].sentence
    alone = counted.sizes(evidence(run=records[1:]))
    assert {f.outcome for f in alone} == {CANNOT}, "against nothing"


def test_bytes_moved_are_counted() -> None:
    record = factory.record(format="INT8", mc=50)

    def outcome(ratio: float) -> str:
        moved = replace(record.body.bandwidth, weight_traffic_ratio=ratio)
        found = counted.bandwidths(evidence(run=[changed(record, bandwidth=moved)]))
        return next(f.outcome for f in found if f.workload == "synthetic")

    assert outcome(200.0) == HOLDS
    assert outcome(4.0) == CONTRADICTED


AMX = ("avx512_vnni", "amx_int8")


def race(
    batch: int,
    ratio: float,
    spread: float = 0.002,
    isa: tuple[str, ...] = AMX,
    processes: tuple[int, ...] = (5, 5, 5),
) -> RaceRecord:
    """Three processes of five turns of two queries; processes differ by `spread`."""
    rng = np.random.default_rng(batch)

    def contender(format: str, pass_ns: float, mc: int) -> Contender:
        shift = np.repeat(np.exp(rng.normal(0, spread, 3)), 10)
        times = pass_ns * mc * shift * np.exp(rng.normal(0, 0.001, 30))
        return Contender(
            format, "sigmabench", format, "native", mc, tuple(int(t) for t in times),
            (2,) * 15, 3, processes=processes,
        )  # fmt: skip

    contenders = contender("INT8", 1e6, 50), contender("FP32", ratio * 1e6, 7)
    subject = RaceSubject("resnet50", "synthetic", batch, 2, 0, 1.0, ("INT8", "FP32"), 50)
    made = Provenance(factory.fingerprint(isa=isa), "bench", "2030-01-01T00:00:00+00:00")
    return RaceRecord(subject, made, None, RaceBody((3, 224, 224), 4, contenders))


def test_noisy_races_judge_nothing() -> None:
    loud = ours(race(1, 9.0, 0.5), race(8, 9.0))
    assert loud.outcome == HOLDS
    assert "Not judged at batch 1, because of noise." in loud.sentence
    assert [n["noisy"] for n in loud.numbers] == [True, False]
    assert ours(race(1, 9.0, 0.5)).outcome == CANNOT


def test_one_process_judges_no_speed() -> None:
    """What another process would show is not in its interval."""
    alone = ours(race(1, 9.0, processes=()))
    assert alone.outcome == CANNOT
    assert "Not judged at batch 1, because of fewer than 3 fresh processes" in alone.sentence
    assert alone.command in alone.sentence
    both = ours(race(1, 5.0, processes=()), race(8, 9.0))
    assert both.outcome == HOLDS
    assert "Not judged at batch 1," in both.sentence


def ours(*races: RaceRecord) -> Finding:
    return next(f for f in speed.speeds(evidence(passes=races)) if f.about == "this runtime")


def test_speed_is_judged_within_races_on_amx() -> None:
    assert ours(race(1, 5.0), race(32, 9.0)).outcome == HOLDS, "one batch size is enough"
    assert ours(race(1, 5.0), race(32, 6.0)).outcome == CONTRADICTED
    assert ours(race(1, 5.0), race(32, SPEEDUP, 0.1)).outcome == CANNOT
    without = ours(race(1, 9.0, isa=("avx512_vnni",)))
    assert without.outcome == CANNOT
    assert "which this machine lacks" in without.sentence
    both = ours(race(1, 9.0), race(8, 5.0, isa=("avx512_vnni",)))
    assert both.outcome == HOLDS, "another machine's race is another matter"
    assert [n["batch"] for n in both.numbers] == [1]
    assert both.numbers[0]["ratio"] == pytest.approx(9.0, rel=0.02)
    assert "timed in 3 fresh processes" in both.sentence


def test_runs_that_were_not_raced_are_not_divided() -> None:
    names = {"workload": "resnet50-imagenet", "mc": 10}
    pair = [factory.record(format=name, **names) for name in ("FP32", "INT8")]
    assert ours_of(pair).record is None
    raced = list(factory.one_race(pair, "feedfacefeedface"))
    found = ours_of(raced)
    assert found.record == ("run", raced[1].subject.key)
    assert found.outcome == CANNOT, "no AMX"


def ours_of(records: Sequence[RunRecord]) -> Finding:
    return next(f for f in speed.speeds(evidence(run=records)) if f.about == "this runtime")


def layer(name: str, label: str, end: float, noise: float) -> LayerRange:
    counts = WeightCounts((-1.0, 1.0), (1,))
    return LayerRange(
        name, label, label.split()[0], 10, 20, -2.0, 2.0, -end, end, 0.5, noise, 1.0,
        0.0, 0.0, 0.0, counts, counts,
    )  # fmt: skip


@pytest.mark.parametrize(("end", "outcome"), [(1.05, HOLDS), (1.5, CONTRADICTED)])
def test_the_range_of_one_bit(end: float, outcome: str) -> None:
    records = []
    for place, name in enumerate(("stem", "head")):
        ranges = [layer(name, label, 1.0, 0.1) for label in ("FP32", "INT8")]
        ranges.append(layer(name, "INT8_SIGMA1", end if name == "head" else 1.0, 0.05))
        subject = WeightsSubject(
            "resnet20-cifar10", "1", "p", ("FP32",), ("headroom",), 20, 0, name
        )
        made = Provenance(factory.fingerprint(), "weights", "2030-01-01T00:00:00+00:00")
        records.append(WeightsRecord(subject, made, None, WeightsBody(place, tuple(ranges))))
    found = one(one_bit.ranges(evidence(weights=records)))
    assert found.outcome == outcome
    assert f"2 layers {2 if outcome == HOLDS else 1}" in found.sentence
    assert "more than 10 % in 2, by 50.0 %" in found.sentence
    if outcome == CONTRADICTED:
        assert found.record == ("weights", records[1].subject.key)


def test_who_is_referred_is_what_the_study_says() -> None:
    made = study(
        ("FP32", *QUANTIZED), (), (), images=150, seeds=(0, 1, 2), ood=(),
        harm={"INT8_SIGMA1": 2.0},
    )  # fmt: skip
    records = [
        changed(r, subject=replace(r.subject, workload="histology-colorectal")) for r in made
    ]
    found = one(referral_claim.referrals(evidence(shift=records)))
    sample = SplitSample.of(one_result(records), "confidence")
    verdicts = [c.verdict for c in comparisons([sample], Choices())]
    assert [n["verdict"] for n in found.numbers] == verdicts
    assert "more" in verdicts
    assert found.outcome == CONTRADICTED
    scores = scored_claims.safety_scores(evidence(shift=records))
    assert [f.about for f in scores] == ["scores, test split"]


def one_result(records: Sequence[Any]) -> Any:
    (found,) = results(records)
    return found


def test_without_records_each_claim_says_what_measures_it(tmp_path: Path) -> None:
    found = judge(tmp_path)
    assert [claim.name for claim, _ in by_claim(found)] == [claim.name for claim in CLAIMS]
    assert len(CLAIMS) == 7
    for finding in found:
        assert finding.outcome == CANNOT
        assert finding.record is None
        assert f"`{finding.command}` measures it" in finding.sentence
        assert parsed(finding.command)
    for claim, mine in by_claim(found):
        assert {f.workload for f in mine} == set(claim.workloads)
        assert all(getattr(claim, part) for part in ("title", "source", "margin", "test"))


def parsed(command: str) -> bool:
    """As a shell would give it."""
    words = command.split()[1:]
    group: click.Command = main
    context = click.Context(main)
    while isinstance(group, click.Group):
        _, found, words = group.resolve_command(context, words)
        assert found is not None
        group, context = found, click.Context(found, parent=context)
    return bool(group.make_parser(context).parse_args(args=list(words)))


def test_margins_stand_beside_the_claims() -> None:
    assert CLEAN.margin == "accuracy ±0.3 points, ECE ±0.5 points, NLL ±0.01 nats, Brier ±0.001"


@pytest.fixture
def stored(tmp_path: Path, shifted: list[Any]) -> Path:
    for record in shifted:
        if record.subject.format in ("FP32", "INT8_SIGMA1"):
            Store(tmp_path, SHIFT_RECORDS).save(record)
    for name in ("FP32", *QUANTIZED):
        Store(tmp_path, RUN_RECORDS).save(factory.record(format=name, workload="lenet5-mnist"))
    Store(tmp_path, RACES).save(race(1, 9.0))
    return tmp_path


def report(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["report", "--claims", *map(str, arguments)])


def test_the_command_shows_them_in_every_form(stored: Path, tmp_path: Path) -> None:
    plain = report("--results", stored)
    assert plain.exit_code == 0, plain.output
    assert "✗ synthetic, range with headroom for the noise: contradicted." in plain.output
    values = json.loads(report("--results", stored, "--json").stdout)
    assert {one["claim"]["name"] for one in values} == {claim.name for claim in CLAIMS}
    csv = report("--results", stored, "--format", "csv").stdout.splitlines()
    assert len(csv) == 1 + len(values)
    text = report("--results", stored, "--format", "markdown", "synthetic").stdout
    assert "synthetic" in text
    assert "resnet20-cifar10" not in text
    out = tmp_path / "made"
    assert report("--results", stored, "--out", out).exit_code == 0
    assert sorted(p.name for p in out.iterdir()) == ["claims-claims.csv", "claims-verdicts.md"]


def test_what_cannot_be_shown_is_one_sentence(stored: Path) -> None:
    for arguments, says in (
        (("nobody",), "There is no workload that the claims are about named 'nobody'"),
        (("--format", "wide"), "There is no format of claims named 'wide'"),
    ):
        failed = report("--results", stored, *arguments)
        assert failed.exit_code == 2
        assert says in failed.stderr
        assert "\n" not in failed.stderr.strip()


def test_a_damaged_record_is_told_of_and_the_rest_is_judged(stored: Path) -> None:
    broken = next(stored.rglob("shift/**/*.json"))
    broken.write_text(broken.read_text()[:100])
    with pytest.raises(UserError):
        judge(stored)
    problems: list[UserError] = []
    found = judge(stored, problem=problems.append)
    assert {f.claim.name for f in found} == {claim.name for claim in CLAIMS}
    assert {broken.name in str(reason) for reason in problems} == {True}
    shown = report("--results", stored)
    assert shown.exit_code == 2
    assert broken.name in shown.stderr


def test_it_fits_eighty_columns_and_steers_no_terminal(shifted: list[Any]) -> None:
    made = [
        changed(r, subject=replace(r.subject, workload=f"odd{HOSTILE}"),
                fingerprint=factory.fingerprint(cpu=HOSTILE)) for r in shifted
    ]  # fmt: skip
    shown = document(judged(evidence(shift=made)))
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(terminal(shown))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert not steering(out.getvalue())
    assert not steering(markdown(shown))
    json.dumps(shown.values, allow_nan=False)


@pytest.mark.slow
def test_the_published_records_answer_for_every_claim() -> None:
    found = judge(RESULTS)
    assert {f.claim.name for f in found if f.record is not None} == {c.name for c in CLAIMS}
    verdicts = {(f.claim.name, f.workload, f.about): f.outcome for f in found}
    drift = "range with headroom for the noise"
    assert verdicts["shift", "resnet20-cifar10", drift] == CONTRADICTED, "results/shift says so"
    assert verdicts["bandwidth", "resnet20-cifar10", ""] == CONTRADICTED
    assert verdicts["size", "resnet20-cifar10", counted.WEIGHTS_ALONE] == HOLDS
