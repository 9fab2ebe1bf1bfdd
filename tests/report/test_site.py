"""The site as files: whole, linked, escaped, small, the same twice, and saying what is missing."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import factory
import pytest
from click.testing import CliRunner
from hostile import HOSTILE, planted, steering
from records_made import changed
from site_made import (
    CLAIM,
    MadeClaim,
    MadeFinding,
    grid,
    on,
    records,
    site,
    stored,
    without_papers,
)
from test_page import Document

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.escape import visible
from sigmabench.harness.records.record_file import SCHEMA_VERSION
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store, fingerprint_hash
from sigmabench.harness.site import build, svg
from sigmabench.harness.site.charts import SiteFiles
from sigmabench.harness.studies.known import STUDIES
from sigmabench.harness.studies.study import Study

pytest.importorskip("vl_convert", reason="vl-convert-python draws the site and is not installed")

#: A page's own script and its element; nothing else of a page is a script.
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>'\"&"


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        without_papers(patch)
        yield patch


@pytest.fixture(scope="module")
def made() -> list[RunRecord]:
    return records()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, made: list[RunRecord]) -> Path:
    return stored(tmp_path_factory.mktemp("store") / "results", made)


@pytest.fixture(scope="module")
def built(results: Path, made: list[RunRecord], patched: pytest.MonkeyPatch) -> Path:
    without_papers(patched, made[:1])
    return site(results, results.parent / "site")


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[str, Document]:
    files = sorted(built.rglob("*.html"))
    return {str(one.relative_to(built)): Document(one.read_text()) for one in files}


def linked(pages: dict[str, Document]) -> Iterator[tuple[str, str, str]]:
    for name, page in pages.items():
        for tag, attributes in page.elements:
            for key in ("href", "src"):
                if attributes.get(key) is not None:
                    yield name, tag, attributes[key]


def test_every_page_is_there(pages: dict[str, Document], made: list[RunRecord]) -> None:
    own = {
        f"{name}.html" for name in ("index", "peers", "history", "machines", "records", "submitted")
    }
    assert own < set(pages)
    assert {"workload-lenet-digits.html", "workload-synthetic.html"} < set(pages)
    assert sum(name.startswith("records/") for name in pages) == len(made)


def test_links_resolve_inside_the_site_and_scripts_are_its_own(
    pages: dict[str, Document], built: Path, results: Path
) -> None:
    count = 0
    for name, tag, address in linked(pages):
        if address == "data:,":
            continue
        assert not re.match(r"[a-z]+:|//", address), (name, tag, address)
        path, _, anchor = unquote(address).partition("#")
        target = ((built / name).parent / path).resolve() if path else built / name
        assert target.is_file(), (name, address)
        assert built in target.parents or results in target.parents
        if anchor:
            page = pages[str(target.relative_to(built))]
            assert anchor in {attributes.get("id") for _, attributes in page.elements}
        count += 1
    assert count > 500


def test_pages_are_accessible_as_far_as_their_source_says(pages: dict[str, Document]) -> None:
    for name, page in pages.items():
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert max(Counter(ids).values()) == 1, name
        for _, attributes in page.elements:
            assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids), name
        assert [a.get("lang") for a in page.named("html")] == ["en"]
        assert len(page.named("h1")) == len(page.named("main")) == len(page.named("title")) == 1
        assert all(image.get("alt") for image in page.named("img")), name
        scrolled = [a for tag, a in page.elements if a.get("class") == "scroll"]
        assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in scrolled)


def test_scripts_with_data_assign_to_one_name_and_hold_what_pages_ask_for(
    pages: dict[str, Document], built: Path
) -> None:
    asked = 0
    for name, page in pages.items():
        assert all("src" in script and "type" not in script for script in page.named("script"))
        wanted = {a["data-spec"] for _, a in page.elements if a.get("data-spec")}
        sources = [script["src"] for script in page.named("script") if "data/" in script["src"]]
        if not wanted:
            assert sources == [], name
            continue
        (source,) = sources
        lines = (built / source).read_text().splitlines()
        parts = dict(
            re.fullmatch(r'SIGMABENCH\.add\("(\w+)",(.*)\);', one).groups() for one in lines
        )
        assert set(parts) == {"charts", "look"}
        specs = json.loads(parts["charts"])
        assert set(specs) == wanted
        for key, spec in specs.items():
            assert spec["layer"]
            assert (built / "charts" / f"{key}.svg").read_text().count("<svg") == 1
        asked += len(wanted)
    assert asked > 20


def test_tables_stand_in_the_pages(pages: dict[str, Document], made: list[RunRecord]) -> None:
    words = pages["workload-lenet-digits.html"].text
    for told in ("Quality, speed and size", "INT8", "Fidelity to the posterior", "Size on disk"):
        assert told in words
    assert CLAIM in pages["index.html"].text
    assert "1 holds" in pages["index.html"].text
    assert "1 cannot be shown" in pages["index.html"].text
    assert "cells of one race" in pages["index.html"].text
    assert "Seconds over commits" in pages["history.html"].text


def test_a_record_is_told_with_command_audits_and_samples(
    pages: dict[str, Document], made: list[RunRecord], built: Path
) -> None:
    record = made[3]
    name = f"records/run-{record.subject.key}-{fingerprint_hash(record.fingerprint)}.html"
    page = pages[name]
    assert record.provenance.command in page.text
    assert "scored the timed path" in page.text
    shown = [int(word) for word in page.text.split() if word.isdigit()]
    samples = record.body.timing.latency_ns
    assert set(shown) >= set(samples)
    (file,) = [a for _, tag, a in linked({name: page}) if tag == "a" and "results" in a]
    assert (built / "records" / file).resolve().name == f"{record.subject.key}.json"
    older = [one for one in pages.values() if "A younger record stands for it" in one.text]
    assert len(older) == 6


def test_machines_and_commits_are_groups_of_their_own(pages: dict[str, Document]) -> None:
    groups = [
        a["data-group"]
        for _, a in pages["workload-lenet-digits.html"].elements
        if "data-group" in a
    ]
    assert len(groups) == len(set(groups)) == 4
    assert sum(one.endswith("-latest") for one in groups) == 2
    assert any(one.endswith("-ffffffffffff") for one in groups)
    hardware = [a for _, a in pages["machines.html"].elements if a.get("class") == "software"]
    assert len(hardware) == 3


def test_built_twice_it_is_the_same_but_for_one_date(
    results: Path, built: Path, tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    patched.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))  # and so are charts drawn anew
    again = site(results, results.parent / "again")
    files = {str(one.relative_to(built)) for one in built.rglob("*") if one.is_file()}
    assert files == {str(one.relative_to(again)) for one in again.rglob("*") if one.is_file()}
    day = re.compile(r"Made <time>[\d-]{10}</time>")
    for name in files:
        one, other = ((folder / name).read_bytes() for folder in (built, again))
        if name == "index.html":
            assert len(day.findall(one.decode())) == 1
            one, other = (day.sub("", text.decode()).encode() for text in (one, other))
        assert one == other, name
    shutil.rmtree(again)


def test_a_site_is_replaced_whole_and_nothing_else_is(
    results: Path, patched: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    few = stored(tmp_path / "results", grid("synthetic")[:2])
    out = site(few, tmp_path / "site")
    (out / "stale.html").write_text("")
    assert site(few, out) == out
    assert not (out / "stale.html").exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["results", "site"]
    with pytest.raises(UserError, match="holds something that is not a site; name another folder"):
        site(few, few)
    with pytest.raises(UserError, match="is not a folder"):
        site(few, out / "index.html")
    with monkeypatch_pages(patched), pytest.raises(KeyboardInterrupt):
        site(few, out)
    assert (out / "index.html").is_file()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["results", "site"]


def test_the_published_site_finds_change_points_and_has_the_records_beside_it() -> None:
    workflow = (Path(__file__).parents[2] / ".github" / "workflows" / "pages.yml").read_text()
    assert "'.[site,history]'" in workflow
    whole = 'mkdir "$RUNNER_TEMP/whole"\n          cp -r results "$RUNNER_TEMP/whole/results"'
    assert whole in workflow
    assert "--results results --site site" in workflow
    assert "path: ${{ runner.temp }}/whole" in workflow


def test_a_site_never_takes_the_place_of_the_records(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    out = site(stored(tmp_path / "results", grid("synthetic")[:2]), tmp_path / "site")
    inside = (tmp_path / "results").rename(out / "results")
    with pytest.raises(UserError, match=r"the records of .* lie in it; name"):
        site(inside, out)
    assert len(Store(inside, RUN_RECORDS).records()) == 2


def test_a_claim_leads_to_the_record_of_the_machine_that_it_names(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    """Records of one key on two machines; the younger one is not the one that decides."""
    first, other = grid("synthetic", on("1"))[0], grid("synthetic", on("2", cores=1))[0]
    later = changed(other, created="2031-02-02T03:04:05Z")
    assert first.subject.key == later.subject.key
    claim = MadeFinding(
        MadeClaim(), "synthetic", "holds", ("run", first.subject.key),
        machine=f"elsewhere; {first.fingerprint.shown}",
    )  # fmt: skip
    assert first.fingerprint.shown != later.fingerprint.shown
    with patched.context() as patch:
        patch.setattr("sigmabench.harness.site.pages._findings", lambda results: ([claim], ""))
        out = site(stored(tmp_path / "results", [first, later]), tmp_path / "site")
    page = Document((out / "index.html").read_text())
    linked = [a["href"] for tag, a in page.elements if tag == "a" and "records/" in a["href"]]
    assert linked == [f"records/run-{first.subject.key}-{fingerprint_hash(first.fingerprint)}.html"]


def test_a_site_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, rename = tmp_path / "site", Path.rename
    place.mkdir()
    (place / "index.html").write_text("old")

    def fails(path: Path, target: Path) -> Path:
        if target == place and path.suffix == ".tmp":
            raise OSError("taken")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="taken"), build._whole(place) as made:
        (made / "index.html").write_text("new")
    assert (place / "index.html").read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["site"]


def monkeypatch_pages(patched: pytest.MonkeyPatch):
    """While a page is made, somebody stops it."""
    found = patched.context()

    def stop(*_: object) -> Iterator[tuple[str, str]]:
        yield "index.html", "half"
        raise KeyboardInterrupt

    class Stopped:
        def __enter__(self) -> None:
            self.inner = found.__enter__()
            self.inner.setattr("sigmabench.harness.site.build.pages", stop)

        def __exit__(self, *told: object) -> None:
            found.__exit__(*told)

    return Stopped()


def test_text_of_records_is_shown_and_never_run(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    """Every text that may be anything ends in what would steer a terminal, and in markup."""
    closed = {"format", "stopping", "outcome", "corruption", "reference", "network", "created"}
    kept = closed | {"workload", "split", "audits", "scores"}
    hostile = [planted(planted_markup(one, kept), kept) for one in grid("synthetic")]
    audited = [
        changed(one, verdict=replace(one.verdict, findings=(MARKUP + HOSTILE,))) for one in hostile
    ]
    out = site(stored(tmp_path / "results", audited), tmp_path / "site")
    found = 0
    for file in [*out.rglob("*.html"), *out.rglob("*.svg"), *out.glob("data/*")]:
        text = file.read_text()
        assert not steering(text), file
        if file.suffix == ".csv":
            continue
        assert "<script>alert" not in text, file
        assert "<img src=x" not in text, file
        found += visible(HOSTILE.split("\t")[0]) in text
    assert found > len(audited)
    words = Document((out / "machines.html").read_text()).text
    assert MARKUP in words


def planted_markup(value: object, closed: set[str]) -> object:
    import hostile

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hostile, "HOSTILE", MARKUP)
        return planted(value, closed)


def test_homes_of_names_that_make_one_file_name_have_pages_of_their_own(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    made = [*grid("μ-net")[:2], *grid("ν-net")[:2]]
    out = site(stored(tmp_path / "results", made), tmp_path / "site")
    titles = {Document(one.read_text()).text[:400] for one in out.glob("workload-*.html")}
    assert len(titles) == 2


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    made = grid("synthetic")
    results = stored(tmp_path / "results", made)
    store = Store(results, RUN_RECORDS)
    cut, newer = (store.file(one.subject, one.fingerprint) for one in made[:2])
    cut.write_text(cut.read_text()[:900])
    newer.write_text(
        newer.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99')
    )
    stranger = results / "odd" / "synthetic" / "0123abcd" / "0123.json"
    stranger.parent.mkdir(parents=True)
    stranger.write_text('{"kind": "odd", "schema_version": 4}')
    problems: list[str] = []
    out = site(results, tmp_path / "site", problems)
    assert len(problems) == 3
    told = " ".join(problems)
    assert "cut short" in told
    assert "made by a newer SigmaBench" in told
    assert "records of kind 'odd'" in told
    page = Document((out / "records.html").read_text())
    assert all(" ".join(one.split()) in page.text for one in problems)
    assert "3 things in the results could not be read" in (out / "index.html").read_text()
    assert len(list((out / "records").iterdir())) == len(made) - 2


def test_two_records_of_one_subject_are_both_there_and_told_of(pages: dict[str, Document]) -> None:
    told = "6 records have a younger one of the same subject and machine"
    assert told in pages["index.html"].text
    assert told in pages["records.html"].text
    assert "(older)" in pages["records-run-lenet-digits.html"].text


def test_no_records_are_one_sentence(tmp_path: Path, patched: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    asked = ["report", "--results", str(tmp_path / "results"), "--site", str(tmp_path / "site")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "holds no record that can be shown; run `sigmabench run` first." in done.stderr
    assert not (tmp_path / "site").exists()


def test_without_what_draws_it_one_sentence_names_the_extra(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    asked = ["report", "--results", str(results), "--site", str(tmp_path / "site")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'sigmabench[site]'" in done.stderr


def test_the_command_says_where_the_first_page_is(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    results = stored(tmp_path / "results", grid("synthetic")[:1])
    asked = ["report", "--results", str(results), "--site", str(tmp_path / "site")]
    done = CliRunner().invoke(main, asked)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'site' / 'index.html'}\n")
    page = Document((tmp_path / "site" / "workload-synthetic.html").read_text())
    assert "T = " in page.text


def test_a_new_kind_of_study_appears_by_its_document(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    """A study of the same records, registered here, with nothing of the site told."""
    from sigmabench.harness.core.document import Document as Shown
    from sigmabench.harness.core.sheet import Column, Sheet

    sheet = Sheet("Novelties", (Column("thing", numeric=False),), (("new",),), {})
    parts = {name: ModuleType(f"novelty.{name}") for name in ("plan", "analyse", "document")}
    parts["plan"].KIND, parts["plan"].SHOWN = RUN_RECORDS, ()  # type: ignore[attr-defined]
    parts["analyse"].analyse = lambda found, plan: [found]  # type: ignore[attr-defined]
    rows = {"novelties": [{"thing": "new"}]}
    parts["document"].document = lambda found: Shown(  # type: ignore[attr-defined]
        "n", (), {}, sheets=(sheet,), conclusions=("It is new.",), data=rows
    )
    with patched.context() as patch:
        for name, module in parts.items():
            patch.setitem(sys.modules, f"novelty.{name}", module)
        patch.setitem(STUDIES._targets, "novelty", "nowhere:NOVELTY")
        patch.setitem(STUDIES._loaded, "novelty", Study("novelty", "novelty", "It looks."))
        out = site(stored(tmp_path / "results", grid("synthetic")[:2]), tmp_path / "site")
    words = Document((out / "workload-synthetic.html").read_text()).text
    for told in ("Novelty", "Novelties", "It is new.", "It looks."):
        assert told in words
    assert (out / "data" / "synthetic-novelty-novelties.csv").read_text() == "thing\nnew\n"


def test_a_study_that_cannot_be_told_of_these_records_is_a_sentence(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Iterator[object]:
        raise UserError("These records are of two minds.")
        yield

    with patched.context() as patch:
        patch.setattr("sigmabench.harness.site.parts.documents", refuse)
        out = site(stored(tmp_path / "results", grid("synthetic")[:2]), tmp_path / "site")
    words = Document((out / "workload-synthetic.html").read_text()).text
    assert "What these records do not say" in words
    assert "These records are of two minds." in words


def test_a_page_of_a_record_takes_few_bytes(tmp_path: Path, patched: pytest.MonkeyPatch) -> None:
    """As many queries as published records have in the mean."""
    made = [
        factory.record(workload="synthetic", mc=mc, slices=12, queries=50) for mc in (1, 10, 50)
    ]
    out = site(stored(tmp_path / "results", made), tmp_path / "site")
    sizes = [one.stat().st_size for one in (out / "records").iterdir()]
    assert sum(sizes) / len(sizes) <= 8000
    assert all("is shown" in one.read_text() for one in (out / "records").iterdir())


def test_drawn_panels_are_kept_and_follow_the_colours_of_a_dark_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rows = {"values": [{"x": 1, "y": 2}]}
    spec = {
        "data": rows,
        "mark": "point",
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }
    text = svg.whole({**spec, "height": 100}, 1)
    name = svg.digest(text)
    ((_, first),) = svg.drawn({name: text}, lambda *_: None)
    monkeypatch.setattr(svg, "draw", None)
    assert list(svg.drawn({name: text}, lambda *_: None)) == [(name, first)]
    assert "prefers-color-scheme:dark" in first
    assert "[fill='#1a1a1b']{fill:#e9e9ec}" in first
    assert "http" not in first.replace("http://www.w3.org/", "")


def test_files_of_one_name_and_other_content_are_two() -> None:
    files = SiteFiles()
    first = files.numbers("a b", [{"x": 1}])
    assert first == files.numbers("a-b", [{"x": 1}]) == "data/a-b.csv"
    assert files.numbers("a-b", [{"x": 2}]) == "data/a-b-2.csv"


def test_one_machine_of_two_cores_is_two_places(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    made = [*grid("synthetic")[:2], *grid("synthetic", on("1", cores=1))[:2]]
    out = site(stored(tmp_path / "results", made), tmp_path / "site")
    page = Document((out / "workload-synthetic.html").read_text())
    assert len({a["data-group"] for _, a in page.elements if "data-group" in a}) == 2


def test_what_others_submit_is_shown_as_theirs_and_checked(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    from sigmabench.harness.bundle.submitted import Submitted
    from sigmabench.harness.bundle.verify import Verified, VerifiedRecord

    theirs = grid("synthetic", on("7"))
    records = tuple(VerifiedRecord("run", one, (), (), (), ()) for one in theirs)
    good = Submitted(Path("good.zip"), Verified("good", f"Ada {MARKUP}", "1", 0, records, (), ()))
    bad = Submitted(Path("bad.zip"), None, "It is damaged.")
    with patched.context() as patch:
        where = "sigmabench.harness.site.submitted_page.community"
        patch.setattr(where, lambda results: [bad, good])
        out = site(stored(tmp_path / "results", grid("synthetic")[:2]), tmp_path / "site")
    words = Document((out / "submitted.html").read_text()).text
    for told in ("It is damaged.", f"Ada {MARKUP}", "closed division", "nothing contradicts"):
        assert told in words
    assert "T = 50 passes" in words
    shown = (theirs[0].fingerprint.machine or on("7").machine).hash  # type: ignore[union-attr]
    assert shown not in (out / "machines.html").read_text()
    assert len(list((out / "records").iterdir())) == 2


@pytest.mark.slow
def test_five_thousand_records_fit(tmp_path: Path, patched: pytest.MonkeyPatch) -> None:
    """Bytes of the whole, of the overview and of a record's page; docs/site.md tells of times."""
    from large_store import SPREAD, fill

    fill(tmp_path / "results", SPREAD)
    out = site(tmp_path / "results", tmp_path / "site")
    sizes = {one: one.stat().st_size for one in out.rglob("*") if one.is_file()}
    assert sum(sizes.values()) <= 60e6
    index = (out / "index.html").read_text()
    needed = {out / "index.html", *(out / a for a in re.findall(r'(?:src|href)="([^"]+)"', index))}
    others = {one for one in needed & set(sizes) if one.suffix not in (".html", ".csv")}
    loaded = others | {out / "index.html"}
    assert sum(sizes[one] for one in loaded) <= 3e6
    own = [size for one, size in sizes.items() if one.parent.name == "records"]
    assert len(own) == 5040
    assert sum(own) / len(own) <= 8000
