"""Folders and files whose names are not UTF-8: every command takes and makes them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from hostile import steering
from records_made import changed
from report import factory
from safetensors.torch import save_file

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.whole import text_path
from sigmabench.harness.data import imagenet
from sigmabench.harness.posterior import load
from sigmabench.harness.predict.cache import Scratch
from sigmabench.harness.predict.predicted import Predictive
from sigmabench.harness.records.record_file import from_json, to_json
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.store import PREDICTIONS, Store
from sigmabench.harness.workload.workload import WORKLOADS

LATIN = os.fsdecode(b"caf\xe9")
SHOWN = "caf\\udce9"
FEW = ["--limit", "20", "--mc", "2", "--formats", "FP32,INT8"]
ONE = ["--seeds", "1", "--seconds", "0.01", "--threads", "1"]
RUN = ["run", *FEW, "--batch", "1", *ONE]
PEERS = ["peers", "lenet-digits", *FEW, "--batch", "4", "--peers", "none", *ONE[2:]]
SHIFT = ["shift", "lenet-digits", *FEW, "--workers", "1", "--types", "fog", "--severities", "1"]
SELECTIVE = ["selective", "lenet-digits", *FEW, "--workers", "1", *ONE[:2]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a posterior, both called so."""
    home = tmp_path_factory.mktemp("names") / LATIN
    home.mkdir()
    shutil.copyfile(WORKLOADS.get("lenet-digits").posterior, home / f"{LATIN}.safetensors")
    return home


@pytest.fixture
def called(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def call(*arguments: Any) -> Result:
        words = [str(one).replace("@", str(folder)) for one in arguments]
        monkeypatch.setattr(sys, "argv", ["sigmabench", *words])
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, (done.output, done.exception)
        assert not steering(done.output)
        return done

    return call


def written(folder: Path, name: str) -> list[Path]:
    """Files below a folder, all of whose text is UTF-8."""
    found = [path for path in (folder / name).rglob("*") if path.is_file()]
    for path in found:
        if path.suffix not in (".png", ".pdf", ".safetensors"):
            path.read_text()
    return found


@pytest.mark.parametrize(
    ("command", "out"),
    [(RUN, "run"), (SHIFT, "shift"), (SELECTIVE, "selective"), (PEERS, "peers")],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_records_are_written_and_found_again(
    folder: Path, called: Callable[..., Result], command: list[str], out: str
) -> None:
    command = [*command, "--posterior", f"@/{LATIN}.safetensors", "--results", f"@/{out}"]
    called(*command)
    records = [path for path in written(folder, out) if path.suffix == ".json"]
    assert records
    assert all("$'" in json.loads(path.read_bytes())["provenance"]["command"] for path in records)
    before = [path.stat().st_mtime_ns for path in records]
    called(*command, "--policy", "never")
    called(*command, "--policy", "never", "--json")
    assert [path.stat().st_mtime_ns for path in records] == before
    if out in ("shift", "selective"):
        called(*command, "--policy", "never", "--out", f"@/made of {out}")
        assert written(folder, f"made of {out}")


def test_reports_in_every_format_are_made(called: Callable[..., Result], folder: Path) -> None:
    for batch in (1, 32):
        Store(folder / "stored", RUN_RECORDS).save(factory.record(mc=1, batch=batch))
    for form in ("table", "wide", "fidelity", "size", "markdown", "csv"):
        called("report", "--results", "@/stored", "--format", form)
    called("report", "--results", "@/stored", "--json")
    assert SHOWN in called("report", "--results", "@/stored", "--out", "@/page").output
    assert "index.html" in {path.name for path in written(folder, "page")}
    called("compare", "@/stored", "@/stored", "--json")


def test_artefacts_and_posteriors_are_made_and_read(
    called: Callable[..., Result], folder: Path
) -> None:
    called("inspect", f"@/{LATIN}.safetensors")
    called("quantize", *FEW[4:], "--posterior", f"@/{LATIN}.safetensors", "--out", "@/artefacts")
    files = written(folder, "artefacts")
    assert len(files) == 2
    for path in files:
        told = json.loads(called("inspect", path, "--json").output)
        assert told["file"] == str(path)
    for made in (f"{LATIN}.pt", "plain.safetensors"):
        called("convert", f"@/{LATIN}.safetensors", f"@/{made}")
        called("convert", f"@/{made}", f"@/back-{made}.safetensors")
        found, metadata = load(folder / f"back-{made}.safetensors")
        assert metadata["source"] == made.replace(LATIN, SHOWN)
        assert found.content_hash() == load(folder / f"{LATIN}.safetensors")[0].content_hash()
        called("inspect", f"@/back-{made}.safetensors", "--json")


@pytest.mark.thorough
def test_studies_and_the_runtime_write_there(called: Callable[..., Result], folder: Path) -> None:
    called("weights", "lenet-digits", "--passes", "2", "--results", "@/w", "--out", "@/weights")
    called("bench", "memory", "lenet5", "--batch", "1", "--results", "@/bench")
    called(
        *("profile", "lenet-digits", "--seconds", "0.01"),
        *("--results", "@/profiles", "--out", f"@/{LATIN}.png"),
    )
    assert all(written(folder, name) for name in ("weights", "bench"))
    assert (folder / f"{LATIN}.png").stat().st_size
    called("list")


def test_weights_and_kept_predictions_are_opened_by_their_bytes(tmp_path: Path) -> None:
    state = {"w": torch.arange(3.0)}
    save_file(state, tmp_path / "w")
    named = (tmp_path / "w").rename(tmp_path / LATIN)
    assert torch.equal(imagenet._read(named)["w"], state["w"])

    def make() -> Any:
        predictive = Predictive((1,))
        predictive.update(torch.zeros(1, 2, 3))
        (summary,) = predictive.summaries().values()
        return {"1": summary.outcomes(torch.zeros(2, dtype=torch.int64))}, {}

    (tmp_path / "home").mkdir()
    home = (tmp_path / "home").rename(tmp_path / f"home {LATIN}")
    scratch = Scratch(home / PREDICTIONS)
    scratch.get({}, ("1",), make)
    assert scratch.findings == ()
    assert Scratch(scratch.folder).get({}, ("1",), lambda: pytest.fail("made anew"))


def test_a_place_that_is_not_there_is_not_opened(tmp_path: Path) -> None:
    for path in (tmp_path / LATIN, tmp_path / LATIN / "file"):
        with pytest.raises(FileNotFoundError), text_path(path):
            pass
    assert set(os.listdir(tmp_path)) == set()


def test_a_record_that_names_such_a_picture_is_read_again() -> None:
    record = factory.record(mc=1)
    skipped = changed(record, quality=replace(record.body.quality, skipped=(f"{LATIN}.png",)))
    again = from_json(to_json(RUN_RECORDS, skipped).encode(), "x", RUN_RECORDS)
    assert again.body.quality.skipped == (f"{SHOWN}.png",)
