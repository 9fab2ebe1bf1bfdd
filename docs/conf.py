"""The documentation as a site: `sphinx-build -W docs build/site`, without network."""

from __future__ import annotations

from importlib import metadata
from typing import Any

project = "SigmaBench"
copyright = "its contributors, Apache-2.0"
release = metadata.version("sigmabench")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
#: Links into the repository, to what is no page of the site.
suppress_warnings = ["myst.xref_missing", "myst.header"]
exclude_patterns = ["build", "_build"]
html_theme = "furo"
html_title = f"SigmaBench {release}"
html_static_path: list[str] = []
html_show_sourcelink = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"


def setup(app: Any) -> None:
    """Docstrings are plain text: a bar in them, as in |w|, is no substitution."""
    for event in ("autodoc-process-docstring", "sphinx-click-process-description"):
        app.connect(event, _bars, priority=900)
    app.connect("sphinx-click-process-options", _bars, priority=900)


def _bars(*given: Any) -> None:
    lines = given[-1]
    lines[:] = [line.replace("|", r"\|") for line in lines]
