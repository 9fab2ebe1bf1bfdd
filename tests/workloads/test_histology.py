"""Histology tiles: where each comes from decides its part; the archive and the file agree."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data import histology
from sigmabench.harness.data.histology import (
    ARCHIVE,
    FILE,
    FOLDER,
    OTHER_COHORT,
    TISSUES,
    Tiles,
    other_cohort,
    tiles,
)
from sigmabench.harness.data.known_sets import OOD_SETS
from sigmabench.harness.data.splits import Split, Splits
from sigmabench.harness.studies.selective.plan import selective_plan
from sigmabench.workloads.histology_colorectal import WORKLOAD

#: By the data set's own table: tiles of slides 4, 5 and 10, a tissue each.
HELD_OUT = [144, 178, 154, 188, 204, 152, 225, 35]


@pytest.fixture(scope="module")
def real(data_root: Path) -> Path:
    if not (data_root / FOLDER / FILE).is_file():
        pytest.skip("the data root has no histology tiles")
    return data_root


@functools.cache
def loaded(root: Path) -> Splits:
    return WORKLOAD.splits(root)


def test_parts_are_those_of_the_slides(real: Path) -> None:
    splits = loaded(real)
    held_out = splits.others["held-out-slides"]
    assert torch.bincount(held_out.labels).tolist() == HELD_OUT
    assert len(splits.test) == 622
    assert len(splits.train) + len(splits.validation) == 3098
    assert len(splits.others["other-cohort"]) == 84
    assert tuple(splits.others) == WORKLOAD.other_splits
    with np.load(real / FOLDER / FILE, allow_pickle=False) as stored:
        for number, part in ((1, splits.test), (2, held_out)):
            chosen = stored["split"] == number
            expected = zip(stored["images"][chosen], stored["labels"][chosen], strict=True)
            assert contents(part) == sorted((i.tobytes(), int(label)) for i, label in expected)


def contents(part: Split) -> list[tuple[bytes, int]]:
    """Tiles with their labels, sorted: splits have an order of their own."""
    both = zip(part.images.numpy(), part.labels.tolist(), strict=True)
    return sorted((image.tobytes(), label) for image, label in both)


def test_the_first_tiles_of_a_part_are_a_sample_of_it(real: Path) -> None:
    """Ranges are calibrated on the first training tiles, and a limit takes the first ones."""
    splits = loaded(real)
    for part in (splits.train, splits.test, splits.others["held-out-slides"]):
        first = torch.bincount(part.labels[:400], minlength=8) / 400
        every = torch.bincount(part.labels, minlength=8) / len(part)
        assert float((first - every).abs().max()) < 0.06
    assert torch.equal(splits.test.labels, WORKLOAD.splits(real).test.labels)


def test_tiles_know_the_image_that_they_were_cut_from(real: Path) -> None:
    found, splits = tiles(real), loaded(real)
    own = {}
    for image, parent in zip(found.images, found.parents, strict=True):
        own.setdefault(image.numpy().tobytes(), set()).add(parent)
    held_out = splits.others["held-out-slides"]
    assert held_out.sources is not None
    by_source: dict[int, set[str]] = {}
    for image, source in zip(held_out.images, held_out.sources.tolist(), strict=True):
        names = own[image.numpy().tobytes()]
        by_source[source] = by_source.get(source, names) & names
    assert all(len(names) == 1 for names in by_source.values())
    assert len(by_source) == len(set().union(*by_source.values()))
    assert splits.others["other-cohort"].sources is None


def test_tissues_of_no_class_are_a_set_from_outside(real: Path) -> None:
    (unseen,) = WORKLOAD.outside
    assert OOD_SETS.get(unseen)(real).shape == (24, 1, 64, 64)
    assert [WORKLOAD.class_name(label) for label in (0, 7)] == ["tumor", "empty"]


def test_no_image_is_on_both_sides_of_validation(real: Path) -> None:
    found, splits = tiles(real), loaded(real)
    parents: dict[bytes, set[str]] = {}
    for image, parent in zip(found.images, found.parents, strict=True):
        parents.setdefault(image.numpy().tobytes(), set()).add(parent)

    def of(part) -> set[str]:
        return set().union(*(parents[image.numpy().tobytes()] for image in part.images))

    assert not of(splits.train) & of(splits.validation)
    assert 0.15 < len(splits.validation) / 3098 < 0.25
    # Bare glass is of one image, and the network has to see it.
    assert torch.bincount(splits.validation.labels, minlength=8)[:7].min() > 20
    assert torch.bincount(splits.train.labels, minlength=8).min() > 150


def test_parts_and_their_order_are_those_of_the_shipped_posterior(real: Path) -> None:
    """It was trained on the first; another version of a library must not mix them."""
    splits = loaded(real)
    parts = (splits.train, splits.validation, splits.test)
    found = {part.name: hashlib.sha256(part.images.numpy()).hexdigest()[:16] for part in parts}
    assert found == {
        "train": "54a01e66db940df7",
        "validation": "fa32656fabd07cd6",
        "test": "0b6f4cb32199da6e",
    }


def name(slide: int, number: int) -> str:
    return f"{number:05X}_CRC-Prim-HE-{slide:02}_00{number % 7}.tif_Row_1_Col_{number}.tif"


def archive(root: Path, tissues: int = 4, slides: Sequence[int] = (1, 5, 1)) -> Path:
    """A large tile of each of these slides, a tissue."""
    rng = np.random.default_rng(0)
    for label, tissue in enumerate(TISSUES[:tissues], 1):
        folder = root / ARCHIVE / f"{label:02}_{tissue.upper()}"
        folder.mkdir(parents=True)
        for number, slide in enumerate(slides):
            small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((150, 150), Image.Resampling.BICUBIC)
            picture.save(folder / name(slide, 10 * label + number))
    return root


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives of these tests have no 5,000 tiles."""
    monkeypatch.setattr(histology, "_complete", lambda found, _: found)


@pytest.mark.usefixtures("few")
def test_the_official_archive_becomes_small_and_gray(tmp_path: Path) -> None:
    found = tiles(archive(tmp_path))
    assert found.images.shape == (12, 1, 64, 64)
    assert found.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    files = sorted((tmp_path / ARCHIVE).glob("*/*.tif"))
    rgb = np.asarray(Image.open(files[4])).astype(float)
    gray = rgb @ [0.299, 0.587, 0.114]
    assert abs(float(found.images[4].float().mean()) - gray.mean()) < 1
    parts = found.parts()
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(12))
    assert parts["held-out-slides"].tolist() == [1, 4, 7, 10]
    for index in parts["test"].tolist():
        digest = hashlib.sha256(found.names[index].encode()).hexdigest()
        assert int(digest, 16) % 6 == 0
    assert Counter(found.parents)["CRC-Prim-HE-05_004"] == 1


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with nothing but the unpacked archive, of 16 tiles a tissue."""
    monkeypatch.setattr(histology, "TILES_A_TISSUE", 16)
    return archive(tmp_path, len(TISSUES), (*(2,) * 14, 5, 10))


def test_the_official_archive_alone_is_enough(alone: Path) -> None:
    splits = WORKLOAD.splits(alone)
    parts = (splits.train, splits.validation, splits.test)
    assert list(splits.others) == ["held-out-slides"]
    assert torch.bincount(splits.others["held-out-slides"].labels).tolist() == [2] * 8
    assert sum(map(len, parts)) == 14 * 8
    assert splits.calibration.images.shape[1:] == WORKLOAD.input_shape
    for name in ("test", "held-out-slides"):
        assert splits.scored(name).name == name


def test_sets_of_the_other_cohort_are_left_out_or_refused_by_name(alone: Path) -> None:
    absent = (
        f"There is no {OTHER_COHORT} in {alone / FOLDER}, which other-cohort and unseen-tissues "
        "are read from; make it of Zenodo record 1214456, as docs/selective.md says, or leave "
        "these sets out."
    )
    plan, lines = selective_plan(WORKLOAD, data=alone)
    assert plan.splits == ("test", "held-out-slides")
    assert plan.cells.splits == ("validation", "held-out-slides")
    assert plan.cells.ood == ()
    assert lines == tuple(
        f"{name} is skipped: {absent}" for name in ("other-cohort", "unseen-tissues")
    )
    command = ["corruptions", WORKLOAD.name, "--split", "other-cohort", "--data", str(alone)]
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stderr) == (2, f"sigmabench: {absent}\n")


def test_a_part_of_the_tiles_is_no_data_set(tmp_path: Path, real: Path) -> None:
    """It would be other test sets under the same names."""
    with pytest.raises(UserError, match="holds 3 tiles of tumor instead of 625; fetch or unpack"):
        tiles(archive(tmp_path))
    with np.load(real / FOLDER / FILE) as stored:
        few = {name: stored[name][:-1] for name in stored.files}
    (tmp_path / "b" / FOLDER).mkdir(parents=True)
    np.savez(tmp_path / "b" / FOLDER / FILE, **few)
    with pytest.raises(UserError, match=f"{FILE} holds 624 tiles of empty instead of 625"):
        tiles(tmp_path / "b")


def test_what_is_not_there_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"There is no {FILE} in .*Zenodo record 53169"):
        tiles(tmp_path)
    home = tmp_path / FOLDER
    home.mkdir()
    (home / FILE).write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UserError, match=f"{FILE} is not an .npz file or is damaged"):
        tiles(tmp_path)
    arrays = {
        "images": np.zeros((3, 64, 64, 1), np.uint8),
        "labels": np.zeros(3, np.int64),
        "source_names": np.array(["a"] * 3),
    }
    for key, wrong, message in (
        ("images", np.zeros((3, 32, 32, 1), np.uint8), r"they should be \[N, 64, 64, 1\]"),
        ("labels", np.zeros(2, np.int64), "not of the same length"),
        ("source_names", np.array([{}] * 3, dtype=object), "cannot be read"),
    ):
        np.savez(home / FILE, **{**arrays, key: wrong})
        with pytest.raises(UserError, match=message):
            tiles(tmp_path)
    with pytest.raises(UserError, match=OTHER_COHORT):
        other_cohort(tmp_path)
    odd = Tiles(torch.zeros(1, 1, 64, 64, dtype=torch.uint8), torch.zeros(1), ["01_TUMOR/x.tif"])
    with pytest.raises(UserError, match=r"'01_TUMOR/x\.tif' does not name its slide"):
        odd.parts()
    broken = archive(tmp_path / "b") / ARCHIVE / "01_TUMOR" / name(1, 10)
    broken.write_bytes(b"II*\x00")
    with pytest.raises(UserError, match=r"cannot be read .*; unpack the archive again"):
        tiles(tmp_path / "b")


def test_what_the_note_says_of_the_test_split_is_so(real: Path) -> None:
    splits = loaded(real)
    of = {
        part.name: set(part.sources.tolist())
        for part in (splits.train, splits.validation, splits.others["held-out-slides"])
        if part.sources is not None
    }
    assert splits.test.sources is not None
    tiles_ = splits.test.sources.tolist()
    shared = [sum(source in of[name] for source in tiles_) for name in ("train", "validation")]
    neither = len(tiles_) - sum(shared)
    note = WORKLOAD.split_notes["test"]
    assert f"of its {len(tiles_)} tiles {shared[0]} were cut from" in note
    assert f"{shared[1]} from one of validation and {neither} from neither" in note
    seen = {*of["train"], *of["validation"], *tiles_}
    assert not of["held-out-slides"] & seen
