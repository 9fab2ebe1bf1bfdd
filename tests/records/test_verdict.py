"""The verdict: an audit spoils the numbers that it is about and no others; old ones are divided."""

from __future__ import annotations

import ast
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records import verdict
from sigmabench.harness.records.peers_record import COMPARISONS
from sigmabench.harness.records.record_file import from_json
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.store import Store
from sigmabench.harness.records.verdict import ABOUT, KINDS, upgrade, worst

ROOT = Path(__file__).parents[2]
LAYOUTS = Path(__file__).parent / "layouts"
DETERMINISTIC = "not applicable: the network is deterministic"
OUTCOMES = {
    "moments": ("invalid", "valid", "invalid"),
    "draws differ": ("invalid", "valid", "invalid"),
    "scored the timed path": ("invalid", "invalid", "valid"),
    "every timed pass drew": ("valid", "invalid", "valid"),
    "timed passes differ": ("valid", "invalid", "valid"),
    "inputs not cached": ("valid", "invalid", "valid"),
    "instruction set": ("valid", "invalid", "valid"),
    "noise": ("valid", "invalid", "valid"),
    "same deterministic network": ("invalid", "valid", "valid"),
    "same Bayesian network": ("invalid", "valid", "valid"),
    "same σ": ("invalid", "valid", "invalid"),
    "draws": ("invalid", "invalid", "invalid"),
}


def outcomes(one: verdict.Verdict) -> tuple[str, ...]:
    return tuple(map(one.of, KINDS))


@pytest.mark.parametrize("failed", ABOUT)
def test_an_audit_spoils_what_it_is_about(failed: str) -> None:
    results = dict.fromkeys(ABOUT, "pass")
    good = verdict.verdict(results, ["a finding"])
    assert (outcomes(good), good.valid, good.audits) == (("valid",) * 3, True, results)
    assert good.findings == ("a finding",)
    bad = verdict.verdict({**results, failed: "fail: why"})
    expected = OUTCOMES.get(failed)
    assert expected is None or outcomes(bad) == expected
    assert bad.invalid == tuple(k for k in KINDS if bad.of(k) == "invalid") != ()
    assert not bad.valid


def test_what_no_audit_applies_to_is_not_judged() -> None:
    one = verdict.verdict({"moments": DETERMINISTIC, "scored the timed path": "pass"})
    assert outcomes(one) == ("valid", "valid", "not judged")
    assert one.valid
    assert one.fidelity.audits == {"moments": DETERMINISTIC}
    assert outcomes(verdict.verdict({})) == ("not judged",) * 3


@pytest.mark.parametrize(
    ("audits", "words"),
    [({"noise": "passed"}, "noise returned 'passed'"), ({"luck": "pass"}, "luck.*not declared")],
)
def test_an_audit_has_a_home_and_a_form(audits: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        verdict.verdict(audits)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["valid", "valid"], "valid"),
        (["valid", "not judged"], "not judged"),
        (["not judged", "invalid", "valid"], "invalid"),
        ([], "not judged"),
    ],
)
def test_of_several_the_worst_counts(found: list[verdict.Outcome], expected: str) -> None:
    assert worst(found) == expected


def old(valid: object, audits: object) -> dict[str, object]:
    return {"verdict": {"valid": valid, "audits": audits, "findings": ["a finding"]}}


@pytest.mark.parametrize(
    ("valid", "audits", "expected"),
    [
        (False, {"moments": "pass", "noise": "fail: 40 %"}, ("valid", "invalid", "valid")),
        (True, {"scored the timed path": "pass"}, ("valid", "valid", "not judged")),
        (True, {"luck": "pass"}, ("valid", "not judged", "not judged")),
        (False, {"luck": "fail: none"}, ("invalid",) * 3),
        (False, {"noise": "pass"}, ("invalid",) * 3),
        (True, {"noise": "fail"}, ("not judged", "invalid", "not judged")),
    ],
)
def test_an_old_verdict_is_divided_by_its_audits(
    valid: bool, audits: dict[str, str], expected: tuple[str, ...]
) -> None:
    found = upgrade(old(valid, audits))["verdict"]
    assert tuple(found[kind]["outcome"] for kind in KINDS) == expected
    assert found["findings"] == ["a finding"]
    kept = {name: result for kind in KINDS for name, result in found[kind]["audits"].items()}
    assert audits.items() <= kept.items()


@pytest.mark.parametrize(
    "broken", [{}, {"verdict": 1}, old(True, "pass"), old(True, {"noise": 1}), {"verdict": {}}]
)
def test_what_is_no_old_verdict_is_left_for_the_schema(broken: dict[str, object]) -> None:
    assert upgrade(broken) == broken


@pytest.mark.parametrize("name", ["run-1", "run-2"])
@pytest.mark.parametrize("failed", ABOUT)
def test_a_file_of_before_is_divided_as_its_audits_say(name: str, failed: str) -> None:
    tree = json.loads((LAYOUTS / f"{name}.json").read_bytes())
    audits = {**tree["verdict"]["audits"], failed: "fail: why"}
    tree["verdict"] |= {"valid": False, "audits": audits}
    found = from_json(json.dumps(tree).encode(), "x", RUN_RECORDS)
    assert found.verdict.invalid == tuple(kind for kind in KINDS if kind in ABOUT[failed])
    assert found.verdict.audits == audits
    assert not found.verdict.valid


def test_what_is_published_is_invalid_in_speed_alone() -> None:
    """Nothing but noise failed."""
    published = [
        record
        for kind in (RUN_RECORDS, COMPARISONS)
        for record in Store[Any](ROOT / "results", kind).records(latest=False)
    ]
    assert len(published) > 100
    assert {record.verdict.invalid for record in published} == {(), ("speed",)}


def test_an_old_record_with_a_broken_verdict_is_one_sentence() -> None:
    tree = json.loads((LAYOUTS / "run-2.json").read_bytes())
    tree |= {"verdict": {"valid": True, "audits": 3}}
    with pytest.raises(UserError, match="not a valid record: verdict"):
        from_json(json.dumps(tree).encode(), "x", RUN_RECORDS)


def test_every_audit_that_the_code_names_is_declared() -> None:
    """The keys of the tables of audits in `studies.run.measure` and `studies.peers.peer_audits`."""
    for name in ("harness/studies/run/measure.py", "harness/studies/peers/peer_audits.py"):
        tree = ast.parse((ROOT / name).read_text())
        tables = [
            {key.value for key in node.keys if isinstance(key, ast.Constant)}
            for node in ast.walk(tree)
            if isinstance(node, ast.Dict)
        ]
        named = max(tables, key=len)
        assert "noise" in named
        assert named <= set(ABOUT)


def test_scripts_get_all_three_and_their_sum() -> None:
    one = verdict.verdict({"noise": "fail: 40 %"})
    assert verdict.as_dict(one) == {"valid": False, **asdict(one)}
