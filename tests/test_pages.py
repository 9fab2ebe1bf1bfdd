"""The pages of results: they say what the records show, and no number on them is typed."""

from __future__ import annotations

import csv
import re
import runpy
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, nodes
from records_made import changed
from report import factory

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.stats.latency import Ratio

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
TEMPLATES = sorted(path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.rglob("*.jinja"))
PAGES = [name for name in TEMPLATES if name != "again"]

#: Digits that are part of a name, and the conditions that a sentence is about.
NAMES = re.compile(
    r"ResNet-[25]0|LeNet-5|CIFAR-100?\b|lenet5-mnist|resnet20-cifar10|resnet50-imagenet"
    r"|Kather et al\. 2016|NIPS 2017|the 2021 paper|Table 1\b|Algorithm 1\b|max\|μ\|/127"
    r"|float32|FP32|BF16|(?:DNN_)?INT8(?:_SIGMA[124])?|AVX-512|\(1 stream\b|\[σ × 0\b|auto 0\.99"
    r"|\bT = (?:1|50)\b|95 % intervals?\b|0\.1 to 99\.9 %|surer 80 %|\bSeed [01]\b"
    r"|[148]-bit\b|\b(?:8, 4 and|8 and|8 and in|4 / 2 /)? ?[1248](?: to 8)? bits?\b"
    r"|\bbatch (?:(?:128|32|8|1)(?:, | and | / )?)+"
    r"|\bseverit(?:y|ies) (?:[0-5](?:, | and | to )?)+",
    re.IGNORECASE,
)
CODE = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|<!--.*?-->", re.DOTALL)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(str(ROOT))
    names = ("chosen", "headline", "lines", "methods", "render", "runs", "tables")
    return SimpleNamespace(**{name: import_module(f"results.pages.{name}") for name in names})


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_template_makes_of_the_records(
    name: str, modules: SimpleNamespace
) -> None:
    path = modules.render.pages()[name]
    assert modules.render.rendered(name) == path.read_text(), "run: python results/pages"


def test_the_first_page_has_the_table_of_the_records(modules: SimpleNamespace) -> None:
    first = (ROOT / "README.md").read_text()
    assert modules.headline.replaced(first) == first, "run: python results/pages first"
    assert len(first.encode()) <= 9000
    with pytest.raises(UserError, match=r"README\.md has no <!-- headline -->"):
        modules.headline.replaced("no marks")


def test_every_template_has_a_page_and_is_found(modules: SimpleNamespace) -> None:
    assert sorted(modules.render.pages()) == PAGES
    assert len(PAGES) >= 10


def typed(source: str) -> Iterator[str]:
    """What a template says itself, and texts in its expressions."""
    for node in Environment().parse(source).find_all((nodes.TemplateData, nodes.Const)):
        if isinstance(node, nodes.TemplateData):
            yield node.data
        elif isinstance(node.value, str) and " " in node.value.strip():
            yield node.value


def shown_constants(source: str) -> list[Any]:
    """Numbers that an expression puts onto the page as they are."""
    found = Environment().parse(source).find_all(nodes.Output)
    return [
        part.value
        for output in found
        for part in output.nodes
        if isinstance(part, nodes.Const) and not isinstance(part.value, str)
    ]


def numbers_typed(source: str) -> list[str]:
    left = (NAMES.sub("", " ".join(CODE.sub("", one).split())) for one in typed(source))
    return [one for one in left if re.search(r"\d", one)]


@pytest.mark.parametrize("name", PAGES)
def test_no_number_of_a_page_is_typed(name: str) -> None:
    source = (RESULTS / name / "README.md.jinja").read_text()
    assert numbers_typed(source) == []
    assert shown_constants(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "It is 3.8 times as fast.",
        "within 0.01 points at T = 50",
        "* a cell of 34 is invalid",
        "{{ 'costs 4 % more' if x }}",
        "{% call claim(x) %}4 % more{% endcall %}",
    ],
)
def test_a_number_that_is_typed_is_found(source: str) -> None:
    assert len(numbers_typed(source)) == 1
    assert shown_constants("{{ 3.8 }} and {{ x | fixed(1) }}") == [3.8]


def test_a_statement_that_is_not_true_is_refused(modules: SimpleNamespace) -> None:
    page = modules.render.environment().from_string(
        "{% call claim(x < 1) %}It is small.{% endcall %}"
    )
    assert page.render(x=0, page="p").strip() == "It is small."
    with pytest.raises(UserError, match=r"results/p/.*no longer true .*'It is small\.'"):
        page.render(x=1, page="p")


def test_lines_are_short_and_mean_the_same(modules: SimpleNamespace) -> None:
    row, code = "| " + "x" * 120 + " |", "```\n" + "y" * 120 + "\n```"
    words = "word " * 40
    made = modules.lines.wrapped(
        f"# T\n\n{words}T = 50\n\n*   {words}{{at}}\n\n* b {'a' * 88} severity 1. Next\n\n"
        f"{row}\n\n{row}\n\n{code}\n"
    )
    prose = [line for line in made.splitlines() if line[:1] not in "|y"]
    assert max(map(len, prose)) <= modules.lines.WIDTH
    assert f"{row}\n{row}\n" in made
    assert code in made
    assert "T = 50\n" in made
    items = [line for line in made.splitlines() if line.startswith("* ")]
    assert len(items) == 2
    assert "\n\n* b" not in made
    assert not re.search(r"^ *1\. Next", made, re.MULTILINE)


def test_numbers_are_rounded_towards_what_is_claimed(modules: SimpleNamespace) -> None:
    r = modules.render
    assert [r.up(0.0101, 2), r.up(0.01, 2), r.up(-0.019, 2)] == ["0.02", "0.01", "0.02"]
    assert [r.down(0.0199, 2), r.percent_up(0.071)] == ["0.01", "8"]
    assert r.span([0.98, 1.031, 1.0], 2) == "0.98 to 1.03"
    assert r.span([0.0151, 0.0154], 3) == "0.015"
    assert r.signed_span([-0.5, 0.1], 1) == "−0.5 to +0.1"
    assert r.listed([1]) == "1"
    assert r.listed([1, 2, 3]) == "1, 2 and 3"
    assert r.interval(Ratio(0.8286, 0.7304, 0.94), 2) == "0.83 (0.73–0.94)"
    assert r.interval(Ratio(1079.0, 990.0, 1200.0)) == "1,100 (990–1,200)"


def made(
    code: str, day: int, formats: tuple[str, ...] = ("FP32", "INT8"), **cell: Any
) -> list[RunRecord]:
    """A race of records from one machine and code."""
    told = factory.fingerprint(computing=code * 16, commit=code * 40)
    records = [factory.record(format=name, mc=50, batch=32, **cell) for name in formats]
    stamped = [
        changed(one, fingerprint=told, created=f"2026-01-{day:02}T00:00:00+00:00")
        for one in records
    ]
    return factory.one_race(stamped, race=code * 16)


def test_the_youngest_complete_set_counts(modules: SimpleNamespace) -> None:
    whole, part, old = made("a", 2), made("b", 3, ("INT8",)), made("c", 1)

    def complete(group: Any) -> bool:
        return {one.subject.format for one in group} == {"FP32", "INT8"}

    found = modules.chosen.youngest([*part, *whole, *old], complete, "both")
    assert {one.fingerprint.commit for one in found} == {"a" * 40}
    with pytest.raises(UserError, match=r"None of 1 set .* holds both"):
        modules.chosen.youngest(part, complete, "both")


def rows(headline: str) -> dict[str, list[str]]:
    lines = [line for line in headline.splitlines() if line.startswith("| [")]
    return {line.split("]")[0][3:]: line.strip("| ").split(" | ") for line in lines}


def test_the_table_is_of_one_machine_where_one_has_all(
    modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    head = modules.headline
    store = Store(tmp_path, RUN_RECORDS)
    for module in (head, modules.methods, import_module("results.pages.races")):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    for name in head.WORKLOADS:
        for one in made("a", 1, workload=name):
            store.save(one)
    for one in made("b", 2, workload=head.WORKLOADS[0]):
        store.save(one)
    told = head.headline()
    assert list(rows(told)) == list(head.WORKLOADS)
    assert "All of it was measured on" in told
    assert "aaaaaaaaaaaa" in told
    assert "bbbbbbbbbbbb" not in told, "the younger set is not of all workloads"
    assert {cells[2] for cells in rows(told).values()} == {"–"}
    for one in made("b", 3, ("FP32", "INT8", "DNN_INT8"), workload=head.WORKLOADS[0]):
        store.save(of_mean(one) if one.subject.format == "DNN_INT8" else one)
    for name in head.WORKLOADS[1:]:
        for one in made("b", 3, workload=name):
            store.save(one)
    told = head.headline()
    assert "aaaaaaaaaaaa" not in told
    assert rows(told)[head.WORKLOADS[0]][2] != "–"
    (store.path / head.WORKLOADS[1]).rename(tmp_path / "away")
    with pytest.raises(UserError, match=head.WORKLOADS[1]):
        head.headline()


def of_mean(record: RunRecord) -> RunRecord:
    return changed(record, subject=replace(record.subject, method="mean"))


def test_what_is_committed_stays_small() -> None:
    listed = ["git", "ls-files", "-z", "results"]
    told = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in told.split("\0") if name}
    arrays = sum(size for name, size in sizes.items() if ".safetensors" in name)
    assert len(sizes) < 400
    assert sum(sizes.values()) < 30e6
    assert sum(sizes.values()) - arrays < 15e6


def test_a_page_that_there_is_not_is_refused(modules: SimpleNamespace) -> None:
    command = runpy.run_path(str(RESULTS / "pages" / "__main__.py"))
    with pytest.raises(UserError, match="nothing"):
        command["main"](["nothing"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "workload"),
    [
        ("shift", "resnet20-cifar10"),
        ("shift", "resnet50-imagenet"),
        ("selective", "histology-colorectal"),
    ],
)
def test_tables_that_pages_read_are_those_of_the_records(
    study: str, workload: str, modules: SimpleNamespace, tmp_path: Path
) -> None:
    assert list(import_module("results.drawn").drawn(study, workload, tmp_path))
    published = sorted((RESULTS / "report" / workload).glob("*.csv"))
    assert published
    for path in published:
        found, there = (list(csv.reader(one.open())) for one in (tmp_path / path.name, path))
        assert len(found) == len(there)
        for row, its in zip(found, there, strict=True):
            for head, cell, other in zip(there[0], row, its, strict=True):
                close = 0.02 if head.startswith("p_") else 1e-6  # ties at a margin, by rounding
                assert cell == other or float(cell) == pytest.approx(float(other), abs=close)
