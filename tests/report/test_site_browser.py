"""The site in a real browser, from a file path: Debian's Chromium, headless."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from site_made import records, site, stored, without_papers

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("There is no chromium to open the site in.", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
pytest.importorskip("vl_convert", reason="vl-convert-python draws the site and is not installed")

#: A site that was built before, to be looked at instead of the made-up one.
GIVEN = os.environ.get("SIGMABENCH_SITE")
WIDE, PHONE, TALL = 1280, 390, 2500
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GIVEN:
        return Path(GIVEN).resolve()
    made = records()
    results = stored(tmp_path_factory.mktemp("store") / "results", made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        without_papers(patch, made[:1])
        return site(results, results.parent / "site")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM)
        yield found
        found.close()


@dataclass
class Opened:
    """A page with all that it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def open_page(browser: Any, folder: Path) -> Iterator[Any]:
    contexts = []

    def opened(name: str, width: int = WIDE, scheme: str = "light", script: bool = True) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=script,
        )
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("console", lambda message: found.said.append(message.text))
        found.page.on("pageerror", lambda error: found.said.append(str(error)))
        found.page.on("requestfailed", lambda request: found.said.append(request.url))
        found.page.on("request", lambda request: found.asked.append(request.url))
        found.page.goto((folder / name).as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()


def names(folder: Path) -> list[str]:
    """Every page but those of records, of which one of each kind."""
    own = sorted(one.name for one in folder.glob("*.html"))
    kinds = {one.name.partition("-")[0]: one.name for one in sorted((folder / "records").iterdir())}
    return [*own, *(f"records/{name}" for name in kinds.values())]


def drawn(opened: Opened) -> int:
    """Scroll through a page until every chart is drawn; how many there are."""
    page, size = opened.page, opened.page.viewport_size
    page.set_viewport_size({"width": size["width"], "height": TALL})
    left = "document.querySelectorAll('.plot:not([role])').length === 0"
    for _ in range(10):  # a busy machine may not see a chart pass by
        for top in range(0, page.evaluate("document.documentElement.scrollHeight"), TALL):
            page.evaluate(f"window.scrollTo(0, {top})")
            page.wait_for_timeout(50)
        if page.evaluate(left):
            break
    page.wait_for_function(left, timeout=120_000)
    page.evaluate("window.scrollTo(0, 0)")
    page.set_viewport_size(size)
    return int(page.locator(".plot").count())


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_every_page_loads_without_a_message_or_the_network_and_fits(
    open_page: Any, folder: Path, width: int
) -> None:
    charts = 0
    for name in names(folder):
        opened = open_page(name, width)
        charts += drawn(opened)
        assert opened.said == [], name
        assert all(one.startswith(("file:", "data:")) for one in opened.asked), name
        beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert opened.page.evaluate(beyond) <= 0, name
        opened.page.context.close()
    assert charts > 10


def test_charts_have_marks_and_say_what_they_are(open_page: Any) -> None:
    opened = open_page("index.html")
    assert drawn(opened) > 0
    plots = opened.page.locator(".plot")
    for place in range(plots.count()):
        plot = plots.nth(place)
        marks = plot.locator("svg .mark-symbol path, svg .mark-line path, svg .mark-rect path")
        assert marks.count() > 2
        assert plot.get_attribute("role") == "img"
        assert len(plot.get_attribute("aria-label")) > 20
    assert opened.page.locator(".plot img").count() == 0


def test_a_point_tells_its_numbers(open_page: Any) -> None:
    opened = open_page("index.html")
    drawn(opened)
    opened.page.locator(".plot svg .mark-symbol path").first.hover(force=True)
    told = opened.page.locator("#vg-tooltip-element.visible")
    told.wait_for()
    assert "milliseconds per image" in told.inner_text()


def cells(page: Any, table: str, column: int) -> list[str]:
    rows = page.locator(f"{table} tbody tr:not(.heading):not([hidden])")
    return [row.locator("th, td").nth(column).inner_text() for row in rows.all()]


def test_tables_sort_by_keyboard_and_filter(open_page: Any) -> None:
    page = open_page("records-run-lenet-digits.html").page
    whole = cells(page, "table.data", 1)
    head = page.locator("table.data thead th").nth(1)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    up = cells(page, "table.data", 1)
    assert sorted(up) == sorted(whole)
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    down = cells(page, "table.data", 1)
    assert down != up
    assert down[0] == up[-1]
    page.locator(".tools input").first.fill("INT8, T 50")
    left = cells(page, "table.data", 1)
    assert 0 < len(left) < len(whole)
    assert all("INT8" in one and "T 50" in one for one in left)
    assert f"{len(left)} of {len(whole)} rows" in page.locator(".tools span").first.inner_text()


def test_numbers_sort_as_numbers_and_what_is_missing_stands_last(open_page: Any) -> None:
    page = open_page("index.html").page
    page.evaluate(
        """() => {
          const rows = ["9.5 ± 0.1", "–", "1,200", "−3", "0.4×", "80"];
          document.querySelector("main").innerHTML =
            '<div class="scroll"><table class="data"><thead><tr><th>x</th></tr></thead><tbody>' +
            rows.map((one) => `<tr><td>${one}</td></tr>`).join("") + "</tbody></table></div>";
          document.dispatchEvent(new Event("DOMContentLoaded"));
        }"""
    )
    button = page.locator("table.data th button")
    button.click()
    assert cells(page, "table.data", 0) == ["−3", "0.4×", "9.5 ± 0.1", "80", "1,200", "–"]
    button.click()
    assert cells(page, "table.data", 0) == ["1,200", "80", "9.5 ± 0.1", "0.4×", "−3", "–"]


def test_two_machines_stand_side_by_side(open_page: Any) -> None:
    page = open_page("workload-lenet-digits.html").page
    machines = page.locator(".machine:visible")
    assert machines.count() == 4
    first, second = page.locator(".side select").all()
    keys = [one.get_attribute("value") for one in first.locator("option").all()]
    first.select_option(keys[1])
    assert machines.count() == 1
    second.select_option(keys[2])
    assert machines.count() == 2
    left, right = (one.bounding_box() for one in machines.all())
    assert left["y"] == right["y"]
    assert abs(left["x"] - right["x"]) > 300


def test_a_wide_table_says_that_it_scrolls(open_page: Any) -> None:
    assert open_page("workload-lenet-digits.html", PHONE).page.locator(".hint.on").count() > 0
    assert open_page("machines.html", WIDE).page.locator(".hint.on").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_of_accessibility(open_page: Any, folder: Path, scheme: str) -> None:
    """WCAG AA contrast among them."""
    seen = {}
    for name in names(folder):  # one of each kind of page
        seen.setdefault(name.partition("-")[0], name)
    for name in seen.values():
        opened = open_page(name, WIDE, scheme)
        found = axe.Axe().run(opened.page).response["violations"]
        grave = [
            (one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in SERIOUS
        ]
        assert grave == [], name
        opened.page.context.close()


def test_the_theme_is_chosen_kept_and_reaches_charts(open_page: Any) -> None:
    opened = open_page("index.html", scheme="light")
    drawn(opened)
    page = opened.page
    ground = "getComputedStyle(document.body).backgroundColor"
    label = "document.querySelector('.plot svg .mark-text text').getAttribute('fill')"
    before, ink = page.evaluate(ground), page.evaluate(label)
    page.get_by_label("Dark theme").click()
    assert page.evaluate(ground) != before
    page.wait_for_function(f"{label} !== '{ink}'")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_without_script_tables_and_drawn_charts_are_there(open_page: Any) -> None:
    page = open_page("workload-lenet-digits.html", script=False).page
    assert page.locator("table tbody tr").count() > 20
    image = page.locator(".plot img").first
    image.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert image.bounding_box()["width"] > 100
    assert page.locator(".machine:visible").count() == 4
