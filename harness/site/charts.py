"""The charts of a site: scripts of specifications, drawn panels and files of numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..core import words as text
from ..core.escape import visible
from ..core.figure import Figure
from ..report.vega import ChartKey, ChartPanel, chart, numbers_behind
from . import svg

#: Panels of one figure that a page shows; tables and numbers hold all of them.
MOST_PANELS = 24
#: Bytes of one figure's specifications, beyond which it is not shown.
MOST_BYTES = 400_000


@dataclass(frozen=True, eq=False)
class PlacedPanel:
    """A panel on a page.

    Attributes:
        id: of its specification in the page's script.
        image: file of the drawn panel.
        panel: itself.
        width: of the drawn panel, pixels.
    """

    id: str
    image: str
    panel: ChartPanel
    width: int

    @property
    def height(self) -> int:
        """Of the drawn panel, pixels."""
        found: int = self.panel.spec["height"]
        return found


@dataclass(frozen=True, eq=False)
class PlacedChart:
    """A figure on a page.

    Attributes:
        title: what it is called.
        description: what it shows.
        above: lines over it.
        below: a line under it.
        legend: entries.
        stacks: panels; those of a stack stand one below the other.
        numbers: file of its numbers; empty where there are none.
    """

    title: str
    description: str
    above: tuple[str, ...]
    below: str
    legend: tuple[ChartKey, ...]
    stacks: tuple[tuple[PlacedPanel, ...], ...]
    numbers: str


class PageCharts:
    """The charts of one page.

    Args:
        site: of all pages.
        page: how the names of its files begin.
    """

    def __init__(self, site: SiteFiles, page: str) -> None:
        self._site, self._page = site, page
        self._specs: dict[str, Any] = {}

    def place(self, figure: Figure, name: str) -> PlacedChart | str:
        """Put a figure on the page, or say why it is not there.

        Args:
            figure: what is shown.
            name: how the file of its numbers is called.
        """
        made = chart(figure)
        rows = numbers_behind(figure)
        deep = max(map(len, made.stacks), default=1)
        shown = made.stacks[: max(1, MOST_PANELS // deep)]
        size = sum(len(svg.whole(one.spec, 1)) for stack in shown for one in stack)
        title = visible(" ".join(figure.title.split()))
        file = self._site.numbers(f"{self._page}-{name}", rows) if rows else ""
        if size > MOST_BYTES or not shown:
            return f"{title} is not drawn: it holds too much for a page; its numbers are in {file}."
        above = [figure.heading, *figure.note.split("\n")]
        if len(shown) < len(made.stacks):
            above.append(
                f"The first {len(shown)} of {len(made.stacks)} parts; the numbers are of all."
            )
        return PlacedChart(
            title,
            visible(figure.description),
            tuple(visible(line) for line in above if line),
            visible(figure.caption),
            made.legend,
            tuple(tuple(self._panel(one, len(shown)) for one in stack) for stack in shown),
            file,
        )

    @property
    def script(self) -> str:
        """File of the page's specifications; empty where it has no chart."""
        if not self._specs:
            return ""
        return self._site.script(self._page, {"charts": self._specs, "look": svg.LOOK})

    def _panel(self, panel: ChartPanel, beside: int) -> PlacedPanel:
        whole = svg.whole(panel.spec, beside)
        name = svg.digest(whole)
        self._specs[name] = panel.spec
        self._site.specs[name] = whole
        return PlacedPanel(name, f"charts/{name}.svg", panel, svg.width(beside))


class SiteFiles:
    """Files of a site beside its pages, by name; `specs` are drawn at the end."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.specs: dict[str, str] = {}

    def numbers(self, name: str, rows: list[dict[str, Any]]) -> str:
        """A file of numbers, of eight digits each; its name."""
        short = [{column: _eight(value) for column, value in row.items()} for row in rows]
        return self._put(f"data/{safe_name(name)}", ".csv", text.csv_lines(short))

    def script(self, name: str, values: dict[str, Any]) -> str:
        """A script that adds values to what the page's own one knows; its name."""
        lines = []
        for kind, value in values.items():
            told = json.dumps(value, separators=(",", ":"), allow_nan=False)
            lines.append(f'SIGMABENCH.add("{kind}",{told});\n'.replace("<", "\\u003c"))
        return self._put(f"data/{safe_name(name)}", ".js", "".join(lines))

    def _put(self, stem: str, end: str, content: str) -> str:
        """Where another file has that name, under the next that is free; one of equal content is
        written once."""
        name, count = f"{stem}{end}", 1
        while self.files.setdefault(name, content) != content:
            count += 1
            name = f"{stem}-{count}{end}"
        return name


def placed(charts: PageCharts, figures: Iterator[Figure | str], name: str) -> Iterator[Any]:
    """Each figure on its page, and a sentence for each that is not."""
    for place, one in enumerate(figures, 1):
        if isinstance(one, str):
            yield visible(one)
        else:
            yield charts.place(one, f"{name}-{one.name or place}")


def _eight(value: Any) -> Any:
    return float(f"{value:.8g}") if isinstance(value, float) else value


def safe_name(name: str) -> str:
    """Fit for the name of a file, an address and an anchor."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)[:120]
