"""Panels drawn once as SVG, for readers whose browser runs no script, and kept by their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..core.contents import cache_home
from ..core.errors import UserError
from ..core.escape import visible
from ..core.waiting import Report
from ..core.whole import write_atomically
from ..report.vega import CONFIG, THEMED

#: Pixels of a panel's width: of one that stands alone, of two, and of more.
_WIDTHS = (480, 440, 300)
_DARK = {"ink": "#e9e9ec", "paper": "#16171c"}
#: What a page needs to draw panels itself: configuration, and in the dark the colours of what is
#: text or paper in the light.
LOOK: dict[str, Any] = {"config": CONFIG, "dark": {THEMED[name]: _DARK[name] for name in THEMED}}
_LONG = re.compile(r"(\d+\.\d)\d+")
_TOGETHER = 8  # panels that a process is given at once
_FEW = 12  # panels that are drawn without processes of their own


def require() -> None:
    """Fail at once where nothing can be drawn.

    Raises:
        UserError: the package that draws is not installed.
    """
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        raise UserError(
            "--site needs vl-convert-python, which draws its charts; install it with "
            "`pip install 'sigmabench[site]'`."
        ) from None


def bundle() -> str:
    """The script that draws charts in a browser: Vega, Vega-Lite and Vega-Embed, kept from run to
    run.

    Raises:
        UserError: see `require`.
    """
    require()
    import vl_convert

    place = _folder() / "bundle.js"
    with suppress(OSError):
        return place.read_text(encoding="utf-8")
    made: str = vl_convert.javascript_bundle()
    _keep(place, made)
    return made


def width(beside: int) -> int:
    """Pixels that a panel is wide where so many stand side by side."""
    return _WIDTHS[min(beside, len(_WIDTHS)) - 1]


def whole(spec: Mapping[str, Any], beside: int) -> str:
    """A specification as it is drawn without a page: JSON with its width and configuration."""
    sized = {**spec, "width": width(beside), "config": CONFIG}
    return json.dumps(sized, separators=(",", ":"), ensure_ascii=True)


def digest(text: str) -> str:
    """20 hex digits of a hash: the name of what is drawn."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def drawn(specs: Mapping[str, str], report: Report) -> Iterator[tuple[str, str]]:
    """SVG of each specification, in any order.

    Args:
        specs: `whole` by `digest`.
        report: progress.
    """
    folder, missing = _folder(), []
    for name in specs:
        with suppress(OSError):
            yield name, (folder / f"{name}.svg").read_text(encoding="utf-8")
            continue
        missing.append(name)
    for done, (name, svg) in enumerate(_draw_all({name: specs[name] for name in missing})):
        report("Drawing charts", done, len(missing))
        _keep(folder / f"{name}.svg", svg)
        yield name, svg


def draw(text: str) -> str:
    """SVG of one specification, for both light and dark pages; equal text gives equal SVG."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(text, allowed_base_urls=[])
    svg = _LONG.sub(r"\1", visible(svg))
    rules = "".join(
        f"[fill='{THEMED[name]}']{{fill:{tint}}}[stroke='{THEMED[name]}']{{stroke:{tint}}}"
        for name, tint in _DARK.items()
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
    head, end, rest = svg.partition(">")
    return f"{head}{end}{style}{rest}"


def _draw_all(specs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from ..machine.cores import cores_for

    workers = min(cores_for(None), -(-len(specs) // _TOGETHER))
    if len(specs) <= _FEW or workers < 2:
        yield from ((name, draw(text)) for name, text in specs.items())
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from zip(specs, pool.map(draw, specs.values(), chunksize=_TOGETHER), strict=True)


def _folder() -> Path:
    """By the version of what draws, and of how it is told to."""
    import vl_convert

    version = getattr(vl_convert, "__version__", "") + vl_convert.get_vega_version()
    style = digest(json.dumps([CONFIG, THEMED, _DARK]))[:8]
    return cache_home() / "charts" / f"{version.replace(os.sep, '-')}-{style}"


def _keep(place: Path, text: str) -> None:
    with suppress(UserError):  # it is drawn again next time
        write_atomically(place, text.encode())
