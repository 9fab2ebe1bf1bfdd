"""A clone of this repository with a branch for each edit. Commits are the same in every clone of
one commit, so that what was built of them is found again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .edits import Edit

ROOT = Path(__file__).parents[2]
CONFIGURATION = "asv.regressions.json"
BASE = "base"
#: Wheels that asv keeps: one of each edit.
_WHEELS = 32


def make(folder: Path, edits: Iterable[Edit], root: Path = ROOT) -> Path:
    """Clone into a folder that is not there yet.

    Args:
        folder: of the clone.
        edits: each becomes a branch of its name, one commit after `BASE`.
        root: of the repository; its checked-out commit is the base.

    Returns:
        The clone, with `BASE` checked out and a configuration of asv beside its own.
    """
    git(root, "clone", "--quiet", str(root), str(folder))
    git(folder, "checkout", "--quiet", "-B", BASE, git(root, "rev-parse", "HEAD"))
    for edit in edits:
        git(folder, "checkout", "--quiet", "-B", edit.name, BASE)
        path = folder / edit.path
        path.write_text(edit.made(path.read_text()))
        _commit(folder, edit.told)
    git(folder, "checkout", "--quiet", BASE)
    configuration = json.loads((folder / "asv.conf.json").read_text())
    (folder / CONFIGURATION).write_text(json.dumps(_changed(configuration, root)))
    return folder


def _changed(configuration: dict[str, Any], root: Path) -> dict[str, Any]:
    """The environment is the one that `asv run` has, for it takes minutes to make."""
    return {
        **configuration,
        "branches": [BASE],
        "env_dir": str(root / configuration["env_dir"]),
        "results_dir": "results/regressions",
        "build_cache_size": _WHEELS,
    }


def _commit(folder: Path, words: str) -> None:
    date = git(folder, "show", "-s", "--format=%aI", BASE)
    who = {"NAME": "SigmaBench", "EMAIL": "nobody@localhost", "DATE": date}
    made = {
        f"GIT_{role}_{name}": of for role in ("AUTHOR", "COMMITTER") for name, of in who.items()
    }
    git(folder, "-c", "commit.gpgsign=false", "commit", "--quiet", "-am", words, **made)


def git(folder: Path, *arguments: str, **environment: str) -> str:
    """What git prints.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    ran = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return ran.stdout.strip()
