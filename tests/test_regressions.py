"""The proof that regressions are found: its edits, its page, and in the slow set one comparison of
each kind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from regressions import clone, page
from regressions.comparison import flagged, values
from regressions.edits import LOSSY, NOTHING, slower
from regressions.stored import Comparison, Stored, machines

ROOT = Path(__file__).parents[1]
EDITS = (slower(15), LOSSY, NOTHING)
PRINTED = """
| Change   | Before [aaaaaaaa] <base>   | After [bbbbbbbb] <slower-15>   |   Ratio | Benchmark (Parameter)                  |
|----------|----------------------------|--------------------------------|---------|----------------------------------------|
| +        | 1.021                      | 1.178                          |    1.15 | ratios.Sampler.track_sampler_ratio(8)  |
| !        | 1.0±0.1ms                  | failed                         |     n/a | passes.Pass.time_passes(lenet5, INT8, 1) |
| -        | 12.3±1ms                   | 9.1±0.3ms                      |    0.74 | parts.Parts.time_load                  |

SOME BENCHMARKS HAVE CHANGED SIGNIFICANTLY.
"""  # noqa: E501


def comparison(kind: str, *worse: str, alone: bool = False, ratio: float = 1.15) -> Comparison:
    ratios = {f"ratios.Sampler.track_sampler_ratio({bits})": ratio for bits in (8, 4)}
    return Comparison(kind, alone, "c" * 40, "2026-01-02", 90.0, worse, (), ratios)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_edits_fit_the_code_and_change_one_place(edit) -> None:
    text = (ROOT / edit.path).read_text()
    made = edit.made(text)
    assert made != text
    assert text.splitlines()[0] in made
    if edit is not NOTHING:
        with pytest.raises(ValueError, match="times what is to be edited"):
            edit.made(text + text)


def test_what_asv_flags_is_read_from_its_table() -> None:
    worse, better = flagged(PRINTED)
    assert worse == (
        "ratios.Sampler.track_sampler_ratio(8)",
        "passes.Pass.time_passes(lenet5, INT8, 1)",
    )
    assert better == ("parts.Parts.time_load",)
    assert flagged("\nBENCHMARKS NOT SIGNIFICANTLY CHANGED.\n") == ((), ())


def test_values_are_read_from_what_asv_stored(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    columns = ["result", "params"]
    rows = {"a.track_x_ratio": [[1.5, float("nan")], [["8", "4"]]], "b": [[2], []], "c": [None, []]}
    stored = {"result_columns": columns, "results": rows}
    (tmp_path / "m" / "cccccccc-env.json").write_text(json.dumps(stored))
    assert values(tmp_path, "c" * 40) == {"a.track_x_ratio(8)": 1.5, "b": 2.0}
    assert values(tmp_path, "d" * 40) == {}


def test_a_clone_has_the_same_commits_every_time(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for edit in EDITS:
        (root / edit.path).parent.mkdir(parents=True, exist_ok=True)
        (root / edit.path).write_text((ROOT / edit.path).read_text())
    (root / "asv.conf.json").write_text((ROOT / "asv.conf.json").read_text())
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        clone.git(root, "-c", "user.name=a", "-c", "user.email=b", *words)
    made = [clone.make(tmp_path / name, EDITS, root) for name in ("first", "second")]
    hashes = [[clone.git(one, "rev-parse", edit.name) for edit in EDITS] for one in made]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 3
    assert clone.git(made[0], "rev-parse", "HEAD") == clone.git(root, "rev-parse", "HEAD")
    changed = clone.git(made[0], "diff", "--stat", clone.BASE, "lossy")
    assert "1 insertion" in changed
    configuration = json.loads((made[0] / clone.CONFIGURATION).read_text())
    assert configuration["env_dir"] == str(root / ".asv/env")
    assert configuration["benchmark_dir"] == "suite"


def test_comparisons_are_kept_and_counted(tmp_path: Path) -> None:
    stored = Stored("machine-a", tmp_path)
    assert stored.all() == []
    made = [comparison("nothing", "x"), comparison("lossy"), comparison("lossy", alone=True)]
    for one in made:
        stored.add(one)
    assert stored.all() == made
    assert stored.count("lossy", alone=False) == 1
    assert machines(tmp_path) == {"machine-a": made}
    stored.forget({("lossy", False)})
    assert [one.kind for one in stored.all()] == ["nothing", "lossy"]


def test_the_page_counts_what_was_found_and_what_was_not() -> None:
    sampler, sigma = "ratios.Sampler.track_sampler_ratio(8)", "quality.Sigma.track_sigma_lost(INT8)"
    made = {
        "machine-a": [
            *[comparison("slower-15", sampler)] * 4,
            comparison("slower-15", "passes.Pass.time_passes(lenet5, INT8, 1)"),
            *[comparison("lossy", sigma)] * 5,
            *[comparison("nothing", ratio=1.01)] * 3,
            comparison("nothing", "parts.Parts.time_load", ratio=0.98),
            *[comparison("slower-12", sampler, alone=True, ratio=1.12)] * 9,
            comparison("slower-12", alone=True, ratio=1.09),
            *[comparison("slower-8", alone=True, ratio=1.08)] * 10,
        ]
    }
    assert "draws 15 % of its blocks twice | 5 | 4 | +15.0 to +15.0 % slower |" in page.kinds(made)
    assert "| the quantizer loses 5 % of σ | 5 | 5 | – |" in page.kinds(made)
    assert "| machine-a | 4 | 1 | 0 |" in page.alarms(made)
    assert "* `parts.Parts.time_load`, on machine-a" in page.alarms(made)
    told = page.least(made)
    assert told.index("| 8 % |") < told.index("| 12 % |")
    assert "| 12 % | 10 | 9 | +9.0 to +12.0 % slower |" in told
    assert "on machine-a, as were all larger ones: **12.0 %**" in told
    lucky = {"m": [
        *[comparison("slower-8", sampler, alone=True, ratio=1.08)] * 10,
        *[comparison("slower-10", sampler, alone=True, ratio=1.10)] * 8,
        *[comparison("slower-10", alone=True, ratio=1.10)] * 2,
        *[comparison("slower-14", sampler, alone=True, ratio=1.14)] * 10,
    ]}  # fmt: skip
    assert "**14.0 %**" in page.least(lucky)
    few = {"m": [comparison("slower-8", sampler, alone=True, ratio=1.08)]}
    assert "nine times" not in page.least(few)
    assert f"| `{sampler}` | 4 | 0.980 | 1.010 |" in page.spread(made)
    assert "34 comparisons from 2026-01-02" in page.where(made)
    worse = {"m": [replace(comparison("nothing"), worse=(sampler,))]}
    assert "| m | 1 | 1 | 1 |" in page.alarms(worse)


def test_the_page_is_what_the_comparisons_make_of_it() -> None:
    text = page.PAGE.read_text()
    assert page.rendered(text, machines()) == text, "run: python tests/regressions --page"
    blocks = [name for _, name, _ in page._BLOCK.findall(text)]
    assert sorted(blocks) == ["alarms", "kinds", "least", "spread", "where"]
    assert page.rendered(text, {}).count("Nothing was compared yet.") == 5


def test_the_history_is_of_commits_that_touched_the_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    history = import_module("results.history")
    if not history.git("log", "--format=%h", "--max-count=1", "--skip=100"):
        pytest.skip("the history is not here: a shallow clone")
    every = history.commits()
    assert len(every) >= 15
    assert len(set(every)) == len(every)
    touched = history.git("log", "--format=%H", "--", *history.RUNTIME).split()
    assert set(every) <= set(touched)
    assert not history.stored("machine-none", every[0])


def test_a_commit_that_was_not_measured_whole_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    history = import_module("results.history")
    monkeypatch.setattr(history, "STORED", tmp_path)
    (tmp_path / "m").mkdir()
    names = ("parts.Parts.time_load", "passes.Size.track_bytes_on_disk")
    (tmp_path / "benchmarks.json").write_text(json.dumps({**dict.fromkeys(names), "version": 2}))
    skipped, measured = [None, []], [[1.5], []]
    commits = {
        "a": {names[0]: skipped, names[1]: skipped},  # could not be built
        "b": {names[0]: skipped, names[1]: measured},
        "c": {names[1]: measured},  # stopped in the middle
    }
    for commit, results in commits.items():
        path = tmp_path / "m" / f"{commit * 8}-env.json"
        path.write_text(json.dumps({"results": results}))
    assert [history.stored("m", one * 40) for one in "abcd"] == [False, True, False, False]


@pytest.mark.slow
def test_one_comparison_of_each_kind(tmp_path: Path) -> None:
    pytest.importorskip("asv")
    pytest.importorskip("virtualenv")
    kinds = ("slower", "lossy", "nothing")
    chosen = [word for kind in kinds for word in ("--only", kind)]
    ran = subprocess.run(
        [sys.executable, "tests/regressions", "--count", "1", "--folder", str(tmp_path), *chosen],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    (made,) = machines(tmp_path).values()
    slow, lossy, nothing = made
    assert page.found(slow), slow
    assert page.found(lossy), lossy
    computed = [one for one in nothing.worse if re.search("track_|_ratio", one)]
    assert not computed, computed
