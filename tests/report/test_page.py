"""The page: self-contained, escaped, accessible, and saying what the records say."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import factory
import pytest
from records_made import changed

from sigmabench.harness.report.page import page, write_page

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Document(HTMLParser):
    """Elements, ids and text of a page; a tag closed out of order is an error."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def source(records, reference):
    return page(records, reference, link=lambda r: f"records/{r.subject.key}.json")


@pytest.fixture(scope="module")
def document(source):
    return Document(source)


def test_nothing_is_loaded_from_elsewhere(source, document):
    assert not document.named("script")
    assert not document.named("link")
    assert not document.named("img")
    assert not document.named("iframe")
    assert "@import" not in source
    assert all(u.startswith("#") for u in re.findall(r"url\(([^)]*)\)", source))
    for _, attributes in document.elements:
        for name in ("href", "src", "xlink:href", "action", "srcset"):
            address = attributes.get(name) or ""
            assert not re.match(r"\w+:|//", address), address
    addresses = set(re.findall(r"https?://[^\s\"'<]+", source))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_ids_are_unique_and_references_resolve(source, document):
    ids = [a["id"] for _, a in document.elements if "id" in a]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]*)\)", source))
    for _, attributes in document.elements:
        used |= set((attributes.get("aria-labelledby") or "").split())
        address = attributes.get("xlink:href") or attributes.get("href") or ""
        used |= {address[1:]} if address.startswith("#") else set()
    assert used <= set(ids)


def test_accessible(document):
    assert ("html", {"lang": "en"}) in document.elements
    assert document.named("title")
    assert "width=device-width" in str(document.named("meta"))
    tags = [tag for tag, _ in document.elements]
    assert tags.count("h1") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert tags.count("caption") == tags.count("table") > 0
    assert all(attributes.get("scope") for attributes in document.named("th"))
    figures = document.named("svg")
    assert len(figures) == 6
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in figures)


def test_tables_are_rectangular(source):
    for body in re.findall(r"<table>(.*?)</table>", source, re.DOTALL):
        rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
        widths = {len(re.findall(r"<t[hd]", row)) for row in rows if "colspan" not in row}
        assert len(widths) == 1


def test_text_is_escaped():
    hostile = "<script>alert('x')</script>&\""
    record = factory.record(format="INT8", workload=hostile)
    record = factory.with_verdict(record, (hostile,), instruction_set=f"fail: {hostile}")
    record = changed(
        record,
        command=hostile,
        unavailable={hostile: hostile},
        fingerprint=factory.fingerprint(cpu=hostile, environment={hostile: hostile}),
        fidelity=(factory.layer(hostile, 0.9),),
    )
    document = Document(page([record], link=lambda r: hostile))
    assert not document.named("script")
    assert document.text.count("alert('x')") >= 8


def test_it_says_what_the_records_say(document, records):
    words = document.text
    assert "34 of 36 cells valid: speed of 2 is invalid." in words
    assert "of its deviation" in words
    assert words.count("amx was asked for, avx2 ran") == 1
    assert records[0].provenance.command in words
    assert "Synthetic CPU <model> & sons" in words
    hrefs = {a.get("href") for a in document.named("a")}
    assert {f"records/{r.subject.key}.json" for r in records} <= hrefs
    assert "Measured 2030-01-02 03:04 UTC by:" in words
    assert "(2 cells: " in words
    assert "(all cells)" in words
    assert words.count("first seed") >= 6  # caption and description of three figures
    assert re.search(
        r"With T = 50 passes at batch 1, INT8\w* runs \d\.\d\d× as fast as FP32", words
    )


def test_the_sentence_has_no_invalid_baseline():
    pair = factory.grid(("FP32", "INT8"), mcs=(50,), batches=(1,))
    assert "as fast as FP32" in Document(page(pair)).text
    pair[0] = factory.with_verdict(pair[0], noise="fail: 40 %")
    assert "as fast as FP32" not in Document(page(pair)).text


def test_without_links_keys_are_plain(records):
    document = Document(page(records[:1]))
    assert document.named("a") == []
    assert records[0].subject.key in document.text


def test_equal_records_give_equal_pages(source, records, reference):
    assert page(records, reference, link=lambda r: f"records/{r.subject.key}.json") == source


def test_no_records_is_still_a_page():
    assert "There are no records." in Document(page([])).text


def test_several_sections_have_their_own_anchors(records):
    shifted = factory.grid(("FP32",), corruption="fog", severity=3)
    document = Document(page([*records[:6], *shifted]))
    ids = [a["id"] for _, a in document.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert "fog severity 3" in document.text


def test_written_whole(records, tmp_path):
    path = tmp_path / "index.html"
    write_page(records[:2], path)
    assert path.read_text() == page(records[:2])
    assert list(tmp_path.iterdir()) == [path]
