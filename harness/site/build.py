"""A site of a results directory: which pages there are, and their files, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import UserError
from ..core.waiting import Report
from . import svg
from .charts import SiteFiles
from .pages import pages
from .stored import Problem, read_stored

#: A file that says of a folder that it is a site, and may be replaced by one.
MARK = "site.txt"
_ASSETS = Path(__file__).parent / "assets"
_SAID = "A site made by `sigmabench report --site`; the next one replaces the whole folder.\n"


def write_site(results: Path, out: Path, problem: Problem, report: Report) -> Path:
    """Write a site: pages, scripts with data, drawn charts and files of numbers.

    Args:
        results: directory of records.
        out: folder, made where it is missing; a site that is there is replaced.
        problem: told of every record that cannot be read and is left out.
        report: progress.

    Returns:
        The first page.

    Raises:
        UserError: there is no record, the folder holds something else, or the records themselves,
            or cannot be written, or what draws charts is not installed.
    """
    svg.require()
    _check_place(out, results)
    stored = read_stored(results, out, problem, report)
    files = SiteFiles()
    try:
        with _whole(out) as folder:
            _put(folder, [(MARK, _SAID), *_assets()])
            _put(folder, pages(stored, files, report))
            _put(folder, files.files.items())
            drawn = svg.drawn(files.specs, report)
            _put(folder, ((f"charts/{name}.svg", text) for name, text in drawn))
    except OSError as reason:
        raise UserError(
            f"The site cannot be written to {out} ({reason.strerror or reason}); choose another "
            "folder for --site."
        ) from reason
    return out / "index.html"


def _assets() -> Iterator[tuple[str, str]]:
    yield "assets/vega.js", svg.bundle()
    for path in _ASSETS.iterdir():
        yield f"assets/{path.name}", path.read_text(encoding="utf-8")


def _check_place(out: Path, results: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--site {out} is not a folder; name another one.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UserError(f"--site {out} holds something that is not a site; name another folder.")
    store = results.resolve()
    if out.resolve() in (store, *store.parents):  # they would go with the old site
        raise UserError(
            f"--site {out} is replaced whole, and the records of {results} lie in it; name a "
            "folder beside them."
        )


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder beside the one to write, which takes its place at the end."""
    place = out.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{place.name[:100]}.", suffix=".tmp", dir=place.parent))
    try:
        made.chmod(0o755)
        yield made
        old = made.with_name(f"{made.name}.old")
        if place.exists():
            place.rename(old)
        try:
            made.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _put(folder: Path, files: Iterable[tuple[str, str]]) -> None:
    """Files by name, each when it is made: of many records they would fill the memory."""
    for name, content in files:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode())
