"""Files of every layout from before the envelope are read: a sample of each, in `layouts/`.

Those of a version that was never published were made by the code of commit 4fcfddd, the last that
wrote them.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records.anything import KINDS, same

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records.kind import SCHEMA_VERSION
from sigmabench.harness.records.record_file import from_json, kind_of, to_json
from sigmabench.harness.records.store import Store, fingerprint_hash
from sigmabench.harness.records.verdict import upgrade

LAYOUTS = Path(__file__).parent / "layouts"
#: The key that each sample has in the results.
KEYS = {
    "run-1": "f1b42d94ef0dd659",
    "run-2": "7a82309b311c5e2a",
    "run-3": "7d4c6eb267c0bbc1",
    "shift-1": "e95c2c1cb74f4e81",
    "shift-2": "320d56f97a2492ae",
    "passes-1": "fef69224ceea78b1",
    "passes-2": "ab0ebd3b9d76187f",
    "memory-1": "memory-12d204286b1ac2e3",
    "memory-2": "memory-5e5ba1eccfd39434",
    "sampler-1": "fa1204a3162e6983",
    "peers-1": "568710bcf509c743",
    "peers-2": "c3b53c771681a080",
}
#: From the version that no file lacks its hash of.
SEALED = ("run-3", "shift-2", "passes-2", "memory-2", "peers-2")


def read(name: str) -> Any:
    path = LAYOUTS / f"{name}.json"
    return from_json(path.read_bytes(), path, KINDS[name[:-2]])


def tree(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((LAYOUTS / f"{name}.json").read_bytes())
    return found


def test_there_is_a_sample_of_every_version_that_is_read() -> None:
    versions = {
        f"{kind.name}-{version}"
        for kind in KINDS.values()
        if kind.before is not None
        for version in range(1, kind.before.newest + 1)
    }
    assert versions == set(KEYS) == {path.stem for path in LAYOUTS.iterdir()}
    assert all(tree(name)["schema_version"] == int(name[-1]) for name in KEYS)
    assert max(int(name[-1]) for name in KEYS) < SCHEMA_VERSION


@pytest.mark.parametrize("name", KEYS)
def test_a_sample_is_read_and_found_where_it_lay(name: str, tmp_path: Path) -> None:
    kind = KINDS[name[:-2]]
    record = read(name)
    assert record.subject.key == KEYS[name]
    assert kind_of((LAYOUTS / f"{name}.json").read_bytes()) == kind.name
    for folder in kind.folders:
        home = tmp_path / folder / record.subject.home / fingerprint_hash(record.fingerprint)
        home.mkdir(parents=True)
        place = home / f"{KEYS[name]}.json"
        shutil.copyfile(LAYOUTS / f"{name}.json", place)
        store: Store[Any] = Store(tmp_path, kind)
        (found,) = store.records()
        assert same(found, record)
        assert store.has(record.subject, record.fingerprint)
        assert store.homes() == [record.subject.home]
        shutil.rmtree(home.parent)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every number and text, under the last name of its place."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*path, str(name)))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from leaves(one, path)
    else:
        yield path[-1], value


@pytest.mark.parametrize("name", KEYS)
def test_nothing_that_a_sample_told_is_lost(name: str) -> None:
    before = {k: v for k, v in tree(name).items() if k not in ("schema_version", "sha256")}
    arrays = [*before.pop("per_image", ()), *(before.pop("contrasts", None) or ())]
    record = read(name)
    told = set(leaves([asdict(record.subject), asdict(record.provenance), asdict(record.body)]))
    if record.verdict is None:
        assert "verdict" not in before
    else:
        judged = upgrade(before)["verdict"]
        assert json.loads(json.dumps(asdict(record.verdict))) == judged
        before.pop("verdict")
    lost = set(leaves(before)) - told
    assert not lost
    assert len(record.arrays) == len(arrays)


@pytest.mark.parametrize("name", ["shift-1", "shift-2"])
def test_arrays_that_stood_in_the_text_are_those_numbers(name: str) -> None:
    before, record = tree(name), read(name)
    for one, text in before["per_image"].items():
        assert record.arrays[one].tobytes() == base64.b64decode(text)
        assert len(record.arrays[one]) == before["images"]
    accuracy = 100 * record.array("correct").mean()
    assert record.score("accuracy") == pytest.approx(accuracy)
    for metric, text in (before.get("contrasts") or {}).items():
        values = np.frombuffer(base64.b64decode(text), "<f4")
        assert record.contrast(metric).shape[0] == min(16, before["images"])
        np.testing.assert_array_equal(record.contrast(metric).ravel(), values)


@pytest.mark.parametrize("name", KEYS)
def test_what_is_written_again_has_the_envelope(name: str) -> None:
    kind, record = KINDS[name[:-2]], read(name)
    text = to_json(kind, record)
    assert json.loads(text)["schema_version"] == SCHEMA_VERSION
    again = from_json(text.encode(), "x", kind, lambda _: dict(record.arrays))
    assert same(again, record)


@pytest.mark.parametrize("name", SEALED)
def test_a_changed_sample_of_a_sealed_version_is_refused(name: str) -> None:
    told = tree(name)
    changed = {**told, "command": "another"}
    without = {field: value for field, value in told.items() if field != "sha256"}
    turned = dict(reversed(told.items()))
    kind = KINDS[name[:-2]]
    with pytest.raises(UserError, match="was changed after it was written"):
        from_json(json.dumps(changed).encode(), "x", kind)
    with pytest.raises(UserError, match="has lost its sha256"):
        from_json(json.dumps(without).encode(), "x", kind)
    assert from_json(json.dumps(turned).encode(), "x", kind) == read(name), "in any order"


@pytest.mark.parametrize("name", KEYS)
def test_a_sample_of_another_kind_is_refused_in_one_sentence(name: str) -> None:
    data = (LAYOUTS / f"{name}.json").read_bytes()
    for kind in KINDS.values():
        if kind.name != name[:-2]:
            with pytest.raises(UserError, match=r"^x is not a .*\.$") as error:
                from_json(data, "x", kind)
            assert "\n" not in str(error.value)


def test_the_method_of_a_cell_is_what_its_format_and_workload_imply() -> None:
    def method(**cell: str) -> str:
        before = tree("run-2")
        before["cell"] |= cell
        found: str = from_json(json.dumps(before).encode(), "x", KINDS["run"]).subject.method
        return found

    assert method(format="INT8") == "mean-field"
    assert method(format="DNN_INT8", workload="resnet20-cifar10") == "deterministic"
    assert method(format="DNN_INT8", workload="lenet-digits") == "mean"
    assert method(format="DNN_INT8", workload="someone-elses") == "deterministic"
