"""The page of published networks says what the survey's results say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
SURVEY = ROOT / "results" / "networks"
LISTED = json.loads((SURVEY / "list.json").read_text())
RESULTS = json.loads((SURVEY / "networks.json").read_text())


def test_the_page_is_made_of_the_results() -> None:
    found = importlib.util.spec_from_file_location("table", SURVEY / "table.py")
    assert found is not None
    assert found.loader is not None
    table = importlib.util.module_from_spec(found)
    found.loader.exec_module(table)
    page = (ROOT / "docs" / "networks.md").read_text()
    assert page == table.page(LISTED, RESULTS) + "\n"


def test_what_runs_agrees_and_what_is_refused_says_why() -> None:
    kinds = []
    for name, found in RESULTS["networks"].items():
        assert name in LISTED
        kinds.append(found["verdict"])
        if found["verdict"] in ("native", "divided"):
            assert found["equal"]
            assert found["drawn"]
            own = max(1e-4, found.get("own_error", 0.0))
            assert found.get("graph_error", found["error"]) <= own
            assert (found["multiply_adds"] is None) == (found["verdict"] == "native")
        else:
            assert found["reason"]
    assert kinds.count("refused") <= len(LISTED) / 10
