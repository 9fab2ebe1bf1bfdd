"""The campaign of faults: its page, what its fuzzing learnt, and a minute more of that."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from campaign import artefact_worker as worker
from campaign import page
from campaign.bounds import OverflowsError, bounded
from campaign.figures import FIGURES, ROOT, Figures, counted_since, read
from campaign.fuzz import kept
from campaign.jobs import JOBS, contents, differences
from campaign.parsers import MARK, OWN, PARSERS
from campaign.seeds import SEEDS
from some import first_alone

from sigmabench.harness import native
from sigmabench.harness.quantize.artefact_file import from_bytes


def test_the_page_holds_the_figures() -> None:
    text = page.PAGE.read_text()
    assert page.rendered(text, read(FIGURES)) == text
    blocks = [name for _, name, _ in page._BLOCK.findall(text)]
    assert sorted(blocks) == sorted([*page.PARTS, "machines", "short"])


def entry(count: int, *failures: str, amx: bool = False) -> dict[str, Any]:
    made = {"commit": "0" * 40, "date": "2026-01-02", "machine": "M", "python": "3"}
    ran = {"own_amx": count - 1, "onednn_amx": count} if amx else {}
    return {"count": count, "failures": list(failures), **made, **ran}


def test_what_is_short_and_what_failed_is_told() -> None:
    rows = {"tar": [entry(5, "ValueError in a.py"), entry(7)], "npz": [entry(2_000_000)]}
    assert counted_since(rows["tar"]) == 7
    assert "| tar | 12 | 1 | 7 | 000000000 | 2026-01-02 |" in page.table("fuzz", rows)
    assert "* tar, at 000000000: `ValueError in a.py`" in page.table("fuzz", rows)
    kills = {"run, at renames": [entry(30)], "run, at random moments": [entry(20)]}
    told = page.short({"fuzz": rows, "kills": kills})
    assert "fuzz: the aim is 1,000,000 inputs each; so far there are 12 of tar." in told
    assert "writers: not run yet." in told
    assert "kills" not in told
    assert "never yet" in page.amx(rows)
    assert "Refused were 4 of them" in page.table("artefacts", {"x": [entry(9) | {"refused": 4}]})
    assert "Refused" not in page.table("artefacts", rows)
    young = entry(3, amx=True) | {"commit": "1" * 40}
    told = page.amx({"x": [entry(6, amx=True), young, entry(9)]})
    assert "last on 2026-01-02, at 111111111." in told
    assert "7 artefacts\nwere computed by this project's own and 9 by oneDNN's" in told


def test_counts_add_up_and_go_on_after_a_failure(tmp_path: Path) -> None:
    figures = Figures(tmp_path / "figures.json", "fuzz")
    for failures in ((), ("hang",)):
        figures.add("tar", failures, count=3, seconds=2)
    assert figures.count("tar") == 6
    assert figures.since("tar") == 0
    ((found,),) = figures.rows().values()
    assert (found["seconds"], found["failures"]) == (4, ["hang"])
    figures.forget()
    assert figures.count("tar") == 0


def test_what_an_interrupted_job_leaves_is_seen(tmp_path: Path) -> None:
    """A value, a file too few, a file too many, a record that cannot be read; times are none."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder, number in ((whole, 1), (cut, 2)):
        folder.mkdir()
        (folder / "a.json").write_text(json.dumps({"scores": number, "created": number}))
        (folder / "b.json").write_text(json.dumps({"created": number}))
        (folder / f"{folder.name}.tmp").write_text("")
    assert differences(contents(cut), contents(whole)) == [
        "cut.tmp is left over",
        "whole.tmp is missing",
        "a.json has other values in scores",
    ]
    assert "a.json" in JOBS["run"].read(cut)


def refusal(name: str, data: bytes) -> str | None:
    """What a parser says of an input that it does not take."""
    try:
        PARSERS[name](data)
    except OWN as reason:
        return str(reason)
    return None


@pytest.mark.filterwarnings("ignore")  # Pillow's and PyTorch's, of damaged files
@pytest.mark.parametrize("name", PARSERS)
def test_seeds_are_read_and_kept_inputs_are_read_or_refused(name: str) -> None:
    assert None in [refusal(name, data) for data in SEEDS[name]()]
    for data in kept(name):
        assert refusal(name, data) != ""


def test_every_parser_has_seeds() -> None:
    assert set(SEEDS) == set(PARSERS)


def test_all_that_is_kept_is_small() -> None:
    files = list((FIGURES.parent / "corpus").glob("*.zip"))
    assert {path.stem for path in files} <= set(PARSERS)
    assert sum(path.stat().st_size for path in files) < 1 << 20


@pytest.mark.parametrize("name", ["posterior", "artefact", "record"])
def test_hashes_are_put_right(name: str) -> None:
    """Else fuzzing would see no more than hashes that do not match."""
    data = next(SEEDS[name]())
    if name == "record":
        changed = data.replace(b'"images": ', b'"images": 1')
    else:
        data = next(one for one in SEEDS[name]() if MARK in one)
        changed = data[:-1] + bytes([data[-1] ^ 1])
    assert changed != data
    assert refusal(name, changed) is None


def computed(form: str, monkeypatch: pytest.MonkeyPatch, factor: float = 1.0) -> set[str]:
    """What comes of an artefact as it is, once where its native logits are changed; its kernels."""
    plain, used = worker.logits, set()

    def changed(predictor: Any, x: torch.Tensor, seen: set[str]) -> torch.Tensor:
        found = plain(predictor, x, seen)
        return found * factor if "reference" not in type(predictor).__module__ else found

    monkeypatch.setattr(worker, "logits", changed)
    artefact = from_bytes(worker.stored(form), "model")
    told = worker.computed(artefact, np.random.default_rng(0), used)
    assert told == "alike" if factor == 1.0 else told.startswith("other numbers")
    return used


@pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))
@pytest.mark.parametrize(
    "form", first_alone([form for form in worker.FORMS if form != "divided"], 3)
)
def test_artefacts_are_held_against_a_reference(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five in a hundred are seen in bfloat16 too."""
    used = computed(form, monkeypatch)
    computed(form, monkeypatch, 1.05)
    if "amx" in native.load().onednn_isa() and form.startswith("wide INT8"):
        assert worker.amx(used) == ["own_amx", "onednn_amx"]
    elif "wide" in form:
        assert not any("ATen" in kernel for kernel in used)


@pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))
def test_a_tie_may_be_rounded_up_or_down_and_nothing_else() -> None:
    artefact = from_bytes(worker.stored("INT8"), "model")
    x = torch.ones(1, 2, 6, 6)
    expected, used = torch.zeros(2, 1, 3), set()
    for way in (1, -1):
        moved = worker.tilted(artefact, way)[0].logits(x, 0, range(2))
        assert worker.told(artefact, x, expected, [moved]) == "tie"
    assert worker.told(artefact, x, expected, [moved + 1]) == "other numbers"
    assert used == set()


def test_bounds_are_of_roundings_size() -> None:
    """Wider ones would see nothing; sums beyond float32 have none."""
    for form, most in (("wide FP32", 1e-4), ("wide BF16", 1e-1)):
        artefact = from_bytes(worker.stored(form), "model")
        layers = artefact.layers
        drawn = {
            name: (torch.from_numpy(np.float32(one.mean)), torch.from_numpy(one.bias))
            for name, one in layers.items()
        }
        x = torch.ones(1, 2, 6, 6)
        found = bounded(artefact.graph, drawn, x, artefact.format.arithmetic)
        assert 0 < found.error.max() < most * found.value.abs().max()
        with pytest.raises(OverflowsError):
            bounded(artefact.graph, drawn, x * 3e38, artefact.format.arithmetic)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris")
@pytest.mark.parametrize("name", PARSERS)
def test_a_minute_of_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    """Of all parsers together."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, "tests/campaign", "fuzz", "--only", name, "--figures", str(figures)]
    seconds = str(int(np.ceil(60 / len(PARSERS))))
    subprocess.run([*command, "--seconds", seconds], cwd=ROOT, check=True, capture_output=True)
    ((found,),) = read(figures)["fuzz"].values()
    assert found["count"] > 0
    assert found["failures"] == []
