"""Sentences that are computed from verdicts."""

from __future__ import annotations

from margins import MARGINS

from sigmabench.harness.stats.equivalence import Outcome
from sigmabench.harness.studies.shift.analyse import claims, sentences


def outcome(variant, metric, severity, verdict, effect=0.0, kind="headroom", **changes):
    return Outcome(
        variant,
        "FP32",
        kind,
        metric,
        severity,
        100,
        100,
        ("fog",),
        True,
        True,
        effect,
        0.0,
        0.0,
        {},
        {},
        verdict,
        **changes,
    )


def test_sentences_name_the_severities_of_each_verdict():
    verdicts = ["equivalent", "equivalent", "worse", "equivalent", "inconclusive", "inconclusive"]
    group = [outcome("INT8", "ece", s, v, near_floor=s < 2) for s, v in enumerate(verdicts)]
    group[5] = outcome("INT8", "ece", 5, "inconclusive", improved=True)
    assert sentences([*group, outcome("INT8 paper", "nll", 1, "worse")]) == [
        "INT8, ECE: equivalent to FP32 at severities 0–1, 3; worse than FP32 at severity 2; better "
        "than FP32 at severity 5; inconclusive at severity 4 (near the noise floor at 0–1).",
        "INT8 paper, NLL: worse than FP32 at severity 1.",
    ]


def claimed(outcomes):
    (sentence,) = claims(outcomes)
    return sentence


def test_the_claim_stands_or_falls_with_what_was_found_under_shift():
    same = [outcome("INT8", m, s, "equivalent") for m in MARGINS for s in (1, 2)]
    better = outcome("INT8", "nll", 3, "inconclusive", improved=True)
    bad = [outcome("INT8", "nll", s, "worse", 0.02 * s) for s in (1, 2, 3, 4)]
    unsure = outcome("INT8", "ece", 3, "inconclusive")
    cleanly = claimed([*same, outcome("INT8", "ece", 0, "worse")])
    assert cleanly.endswith("borne out. Of 6 comparisons 6 are equivalent.")
    gained = claimed([*same, better])
    assert gained.endswith("Of 7 comparisons 6 are equivalent, 1 better beyond the margin.")
    assert claimed([*same, better, unsure]).endswith(
        "not decided. Of 8 comparisons none is shown to be worse, 6 equivalent, 1 better beyond "
        "the margin, 1 inconclusive."
    )
    contradicted = claimed([*same, *bad, better, unsure])
    assert "contradicted. 4 of 12 comparisons are worse beyond the margin" in contradicted
    assert "(INT8 NLL at severities 1–4), 6" in contradicted
    assert contradicted.endswith("6 equivalent, 1 better beyond the margin, 1 inconclusive.")
    assert "not tested" in claimed([outcome("INT8", "ece", 0, "worse")])
    assert "not tested" in claimed([])
    assert "not tested" in claimed([outcome("INT4", "ece", 5, "worse", kind="")])


def test_the_claim_is_told_by_network_and_range():
    same = [outcome("INT8", m, 1, "equivalent") for m in MARGINS]
    lost = outcome("INT8 paper", "nll", 1, "worse", 0.02, kind="paper range")
    twin = [outcome("DNN_INT8", m, 1, "equivalent", kind="deterministic twin") for m in MARGINS]
    headroom, paper, network = claims([lost, *same, *twin])
    assert "headroom" in headroom
    assert "borne out. Of 3 comparisons" in headroom
    assert "paper's own range" in paper
    assert "contradicted. 1 of 1" in paper
    assert "deterministic twin" in network
    assert "borne out. Of 3 comparisons" in network


def test_sentences_follow_a_count_of_one():
    (one,) = [outcome("INT8", "ece", 1, "equivalent")]
    assert claimed([one]).endswith("borne out. Of 1 comparison 1 is equivalent.")
    worse = claimed([outcome("INT8", "ece", 1, "worse")])
    assert "contradicted. 1 of 1 comparison is worse beyond the margin" in worse


def test_too_few_images_somewhere_hide_no_loss_shown_elsewhere():
    few = outcome("INT8", "ece", 1, "not judged")
    told = claimed([few, outcome("INT8", "ece", 2, "worse")])
    assert "contradicted. 1 of 2 comparisons is worse" in told
    assert told.endswith("1 not judged.")
    assert "not judged: " in claimed([few, outcome("INT8", "ece", 2, "equivalent")])
