"""What a study keeps, hands to its workers and asks for: memory, pickles, hashes, threads."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from records_made import changed
from shift import shift_factory
from studied import studied
from torch import Tensor

from sigmabench.harness.core.archive import open_archive
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.images import Crop, ImageFiles
from sigmabench.harness.data.splits import Split, Splits
from sigmabench.harness.metrics.metric import METRICS, Metric
from sigmabench.harness.posterior import Posterior
from sigmabench.harness.predict.halves import groups_of
from sigmabench.harness.predict.predicted import Summary
from sigmabench.harness.records.envelope import Arrays, Provenance
from sigmabench.harness.records.shift_record import ShiftRecord
from sigmabench.harness.studies import scored as study
from sigmabench.harness.studies.shift.plan import tasks
from sigmabench.harness.studies.study import Measured, Surroundings
from sigmabench.harness.workload.cell import Cell
from sigmabench.harness.workload.conditions import Condition, ShiftPlan, shift_plan
from sigmabench.harness.workload.prepare import load_networks
from sigmabench.harness.workload.workload import WORKLOADS, Workload

FORMAT, MC = "INT8_SIGMA1", 12
CLEAN = Condition("none", 0, "", "test")


class Fake:
    """A predictor of random logits; `seen` is called while all that is kept is kept."""

    def __init__(self, classes: int, seen: Callable[[], None] = lambda: None) -> None:
        self.classes, self.seen = classes, seen

    def logits(self, x: Tensor, seed: int, passes: range) -> Tensor:
        self.seen()
        generator = torch.Generator().manual_seed(seed + passes.start)
        return torch.randn(len(passes), len(x), self.classes, generator=generator)


def job(split: Split, predictor: Fake, **changes: Any) -> study.CellScorer:
    graph = SimpleNamespace(steps=(), activations={"x": SimpleNamespace(shape=(1, 32, 32))})
    given: dict[str, Any] = {
        "mc": (1, 5, MC),
        "limit": None,
        "ood": (),
        "corruption_seed": 0,
        "official": None,
        "data": None,
        "parts": {"test": split},
        "artefacts": {(FORMAT, "headroom"): SimpleNamespace(graph=graph)},
        "predictors": {(FORMAT, "headroom"): predictor},
    }
    return study.CellScorer(**{**given, **changes})


def part(images: int, classes: int) -> Split:
    pixels = torch.zeros(images, 1, 2, 2, dtype=torch.uint8)
    labels = torch.arange(images) % classes
    return Split("test", pixels, labels, (0.5,), (0.5,), classes)


def scored(images: int, classes: int, seen: Callable[[], None] = lambda: None) -> ShiftRecord:
    split = part(images, classes)
    cell = shift_factory.cell(format=FORMAT, backend="native", range="headroom", mc=MC)
    return recorded(job(split, Fake(classes, seen)).score(cell, split))


def recorded(measured: Measured[Cell]) -> ShiftRecord:
    """As the driver stores it."""
    made = Provenance(shift_factory.factory.fingerprint(), "test", "")
    arrays = Arrays.of(measured.arrays)
    return ShiftRecord(measured.subject, made, measured.verdict, measured.body, arrays)


def held() -> int:
    """Bytes of all tensors that there are."""
    storages = {
        one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
        for one in gc.get_objects()
        if type(one) is Tensor and one.layout is torch.strided
    }
    return sum(storages.values())


@pytest.mark.thorough
def test_memory_does_not_grow_with_classes_times_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of 250 a cell keeps some numbers per image, however many classes there are."""
    original = study.per_image

    def growth(classes: int) -> float:
        """Bytes an image more, while it is scored and where all of it is put together."""
        most = [peak(images, classes) for images in (500, 1000)]
        return (most[1] - most[0]) / 500

    def peak(images: int, classes: int) -> int:
        before, found = held(), []
        monkeypatch.setattr(
            study, "per_image", lambda *given: found.append(held()) or original(*given)
        )
        record = scored(images, classes, lambda: found.append(held()))
        assert record.contrast("nll").shape == (16, groups_of(MC) - 1)
        return max(found) - before

    few, many = growth(20), growth(400)
    assert many == pytest.approx(few, abs=8)
    assert many < 3000  # of which all classes of all halves would take 20 · 400 · 16


@dataclass(frozen=True)
class _Top:
    """The documented example of a metric that reads all classes."""

    k: int

    def __call__(self, summary: Summary, labels: Tensor) -> float:
        top = summary.probs.topk(self.k).indices
        return 100.0 * float((top == labels[:, None]).any(1).double().mean())


TOP3 = Metric("top3", "%", False, False, "label among the three likeliest", _Top(3))
TOP1 = Metric("top1", "%", False, False, "label the likeliest", _Top(1))


def test_a_metric_that_reads_all_classes_is_given_them(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = scored(600, 10)
    monkeypatch.setattr(METRICS, "_targets", dict(METRICS._targets))
    monkeypatch.setattr(METRICS, "_loaded", {**METRICS._loaded, "top3": TOP3, "top1": TOP1})
    METRICS.register("top3", f"{__name__}:TOP3")
    METRICS.register("top1", f"{__name__}:TOP1")
    found = scored(600, 10)
    assert {**plain.body.scores, "top1": plain.body.scores["accuracy"]} == {
        name: values for name, values in found.body.scores.items() if name != "top3"
    }
    scores = found.body.scores
    assert all(a < b for a, b in zip(scores["top1"], scores["top3"], strict=True))
    assert found.arrays == plain.arrays


def test_images_from_outside_have_no_scores() -> None:
    split = part(300, 4)
    cell = shift_factory.cell(
        format=FORMAT, backend="native", range="headroom", mc=MC, corruption="ood:mnist"
    )
    record = recorded(job(split, Fake(4)).score(cell, split))
    assert record.body.scores == {}
    assert set(record.arrays) == {"confidence", "entropy", "prediction", "mutual_information"}


def plan(workload: Workload, **choices: Any) -> ShiftPlan:
    given = {
        "formats": ("INT8_SIGMA1", "DNN_INT8"),
        "types": ("contrast",),
        "severities": (5,),
        "mc": 8,
        "limit": 20,
        "ood": (),
        "backend": "reference",
    }
    return shift_plan(workload, **{**given, **choices})[0]


def run(path: Path, chosen: ShiftPlan, workers: int) -> list[ShiftRecord]:
    found = studied("shift", chosen, path, workers=workers)
    return [changed(record, created="") for record in found]


def test_workers_need_no_function_of_a_workload(tmp_path: Path) -> None:
    """A user's network may be a closure, which cannot be pickled."""
    known = WORKLOADS.get("lenet-digits")
    local = replace(known, model=lambda: known.model(), splits=lambda root: known.splits(root))
    found = run(tmp_path / "apart", plan(local, types=()), workers=2)
    assert found == run(tmp_path / "here", plan(local, types=()), workers=1)
    assert len(found) == 2


def test_images_that_cannot_be_handed_over_are_a_user_error(tmp_path: Path) -> None:
    known = WORKLOADS.get("lenet-digits")

    class Local:
        """Images that no other process can be given."""

        def __init__(self, images: Tensor) -> None:
            self.images, self.shape, self.dtype = images, images.shape, images.dtype
            self.names = [str(i) for i in range(len(images))]

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Tensor:
            return self.images[index]

        def take(self, index: slice | Tensor | Sequence[int]) -> Local:
            return Local(self.images[index])

        def readable(self, advance: object = None) -> tuple[bool, ...]:
            return (True,) * len(self)

        def identity(self) -> dict[str, Any]:
            return {"pixels": self.images.tolist()}

    def splits(root: Path | None) -> Splits:
        found = known.splits(root)
        return replace(found, test=replace(found.test, images=Local(found.test.images)))

    local = plan(replace(known, splits=splits))
    with pytest.raises(UserError, match=r"cannot be handed to worker .*; give --workers 1\.$") as e:
        run(tmp_path, local, workers=2)
    assert "\n" not in str(e.value)
    one, other = (
        [(r.body.scores, r.arrays) for r in run(place, study_plan, workers=1)]
        for place, study_plan in ((tmp_path, local), (tmp_path / "known", plan(known)))
    )
    assert one == other


def test_networks_are_hashed_and_splits_digested_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    def counted(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def call(one: Any, *given: Any) -> Any:
            done.append((name, *given[:1]))
            return original(one, *given)

        monkeypatch.setattr(kind, name, call)

    digits = WORKLOADS.get("lenet-digits")
    whole = plan(replace(digits, title="own"), seeds=3, ranges=("headroom", "paper"), types=())
    whole = replace(whole, splits=("validation",))
    networks = load_networks(whole.base)
    counted(Posterior, "content_hash")
    counted(Workload, "data_digest")
    cells = [cell for group in whole.cells(networks).values() for cell in group]
    assert len({cell.data for cell in cells}) == 2
    assert len(cells) == 2 * (3 * 2 + 1)
    once = 1 + (networks.twin is not networks.posterior)
    assert done.count(("content_hash",)) <= once
    assert [call for call in done if call[0] == "data_digest"] == [
        ("data_digest", "test"), ("data_digest", "validation"),
    ]  # fmt: skip

    loaded = []
    monkeypatch.setattr(
        "sigmabench.harness.workload.prepare.load_networks",
        lambda base: loaded.append(base) or load_networks(base),
    )
    run(tmp_path, plan(digits), workers=1)
    assert len(loaded) == 1, "what a file says is not asked of the network"


def measurer(chosen: ShiftPlan, workers: int) -> study.CellScorer:
    """What so many workers are given."""
    here = shift_factory.factory.fingerprint()
    around = Surroundings(here, lambda *_: None, workers)
    return study.measurer(chosen, tasks(chosen, measuring=True), around)


def test_a_worker_decodes_with_one_thread(tmp_path: Path) -> None:
    """It has one core; decoders of as many threads as there are cores would be cores² of them."""
    for name in ("0.png", "1.png"):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    files = ImageFiles(open_archive(tmp_path), ("0.png", "1.png"), Crop(32, 32), threads=5)
    split = Split("test", files, torch.zeros(2, dtype=torch.int64), (0.5,) * 3, (0.5,) * 3, 2)
    asked = plan(WORKLOADS.get("lenet-digits"), types=())
    own, given = (
        replace(job(split, Fake(2)), one_decoder=made.one_decoder)
        for made in (measurer(asked, workers) for workers in (1, 2))
    )
    corrupted = Condition("contrast", 1, "generated 0", "test")
    for condition in (CLEAN, corrupted):
        alone, shared = given.images(condition).images, own.images(condition).images
        assert torch.equal(alone[:], shared[:])
        if condition is corrupted:
            alone, shared = alone.images, shared.images
        assert (alone.threads, shared.threads) == (1, 5)
