"""Coverage-guided fuzzing of every parser, over as many runs as it takes.

Inputs that reached something new lie in `.campaign/corpus`, and the smallest of them in
`results/campaign/corpus`, a file for each parser; with neither, it starts from `seeds.py`. What was
found is in `.campaign/findings`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

from .figures import FIGURES, ROOT, SEED, Figures
from .parsers import PARSERS
from .seeds import SEEDS

WORK = ROOT / ".campaign"
KEPT = FIGURES.parent / "corpus"
INPUTS = 1_000_000
#: A step, after which counts are written.
STEP = 120.0
LONGEST = 1 << 14
#: Of one parser's corpus that is kept.
MOST_BYTES = 48 << 10
#: Of the zip, beside content and name.
_MEMBER_BYTES = 76
_WORKER = Path(__file__).with_name("fuzz_worker.py")
_DONE = re.compile(r"number_of_executed_units: (\d+)")
_STATUS = re.compile(r"^#(\d+)\s", re.M)


def run(figures: Figures, given: argparse.Namespace) -> None:
    """See the module."""
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit("Fuzzing needs atheris; pip install -r requirements/fuzz.txt.")
    names = given.only or list(PARSERS)
    for name in names:
        corpus = _corpus(name)
        until = time.monotonic() + (given.seconds or float("inf"))
        wanted = given.count or INPUTS
        while (done := figures.count(name)) < wanted and time.monotonic() < until:
            seconds = min(STEP, until - time.monotonic())
            count, failures = _step(name, corpus, wanted - done, seconds, done)
            figures.add(name, failures, count=count, seconds=round(seconds))
            print(name, done + count, *failures, sep="\n  ", flush=True)
            if not count:
                break
        if given.figures == FIGURES or given.keep:
            _keep(name, corpus)


def _corpus(name: str) -> Path:
    """The folder of a parser's inputs."""
    corpus = WORK / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in (*SEEDS[name](), *kept(name)):
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return corpus


def kept(name: str) -> list[bytes]:
    """The inputs that are kept in the repository."""
    path = KEPT / f"{name}.zip"
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as members:
        return [members.read(one) for one in members.namelist()]


def _worker(name: str, findings: Path, *options: str) -> subprocess.CompletedProcess[str]:
    findings.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(_WORKER), name, str(findings), *options]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", cwd=ROOT)


def _step(name: str, corpus: Path, most: int, seconds: float, done: int) -> tuple[int, list[str]]:
    """Inputs tried, and what they found."""
    findings = WORK / "findings" / name
    before = set(findings.glob("*"))
    ended = _worker(
        name, findings, f"-runs={most}", f"-max_total_time={max(1, round(seconds))}",
        f"-seed={SEED + done + 1}", f"-max_len={LONGEST}", f"-artifact_prefix={findings}{os.sep}",
        "-print_final_stats=1", str(corpus),
    )  # fmt: skip
    told = _DONE.findall(ended.stderr) or _STATUS.findall(ended.stderr) or ["0"]
    count = int(told[-1])
    new = sorted(set(findings.glob("*")) - before)
    failures = [path.read_text().splitlines()[0] for path in new if path.suffix == ".txt"]
    if ended.returncode:
        words = [line for line in ended.stderr.splitlines() if "ERROR" in line or "Error" in line]
        failures.append(words[0] if words else f"status {ended.returncode}")
    return count, failures


def _keep(name: str, corpus: Path) -> None:
    """What reached something new, the smallest inputs first."""
    KEPT.mkdir(parents=True, exist_ok=True)
    left = MOST_BYTES
    with zipfile.ZipFile(KEPT / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as members:
        for path in sorted(corpus.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
            data = path.read_bytes()
            left -= len(zlib.compress(data)) + 2 * len(path.name) + _MEMBER_BYTES
            if left < 0:
                break
            members.writestr(zipfile.ZipInfo(path.name), data, zipfile.ZIP_DEFLATED)
