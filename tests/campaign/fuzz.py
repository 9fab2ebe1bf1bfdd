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
from collections.abc import Iterator
from pathlib import Path

from .figures import FIGURES, ROOT, SEED, Figures
from .parsers import PARSERS
from .seeds import SEEDS

WORK = ROOT / ".campaign"
KEPT = FIGURES.parent / "corpus"
INPUTS = 1_000_000
#: After which counts are written.
STEP = 60.0
LONGEST = 1 << 14
#: Of one parser's corpus that is kept.
MOST_BYTES = 48 << 10
#: Of the zip, beside content and name.
_MEMBER_BYTES = 76
_WORKER = Path(__file__).with_name("fuzz_worker.py")
_COUNT = re.compile(r"(?:^#|number_of_executed_units: )(\d+)\s")


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
            for count, seconds, failures in _steps(name, corpus, wanted - done, until, done):
                if not count and not failures:
                    continue
                figures.add(name, failures, count=count, seconds=round(seconds))
                print(name, figures.count(name), *failures, sep="\n  ", flush=True)
            if figures.count(name) == done:
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


def _steps(
    name: str, corpus: Path, most: int, until: float, done: int
) -> Iterator[tuple[int, float, list[str]]]:
    """What was tried since the last time, the seconds and what it found, every `STEP`; of one
    process, because each reads all of the corpus again."""
    findings = WORK / "findings" / name
    findings.mkdir(parents=True, exist_ok=True)
    seen, started = set(findings.glob("*")), time.monotonic()
    limit = [] if until == float("inf") else [f"-max_total_time={max(1, round(until - started))}"]
    command = [
        sys.executable, str(_WORKER), name, str(findings), f"-runs={most}", *limit,
        f"-seed={SEED + done + 1}", f"-max_len={LONGEST}", f"-artifact_prefix={findings}{os.sep}",
        "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    count, told, ended = 0, 0, ""
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, errors="replace", cwd=ROOT
    ) as worker:
        assert worker.stderr is not None
        for line in worker.stderr:
            if found := _COUNT.match(line.removeprefix("stat::")):
                count = int(found[1])
            if "ERROR" in line or "Error" in line:
                ended = ended or line.strip()
            if (now := time.monotonic()) - started > STEP:
                yield count - told, now - started, _new(findings, seen)
                told, started = count, now
    failed = [ended or f"status {worker.returncode}"] if worker.returncode else []
    yield count - told, time.monotonic() - started, [*_new(findings, seen), *failed]


def _new(findings: Path, seen: set[Path]) -> list[str]:
    """What was found since it was last asked."""
    new = sorted(set(findings.glob("*")) - seen)
    seen |= set(new)
    return [path.read_text().splitlines()[0] for path in new if path.suffix == ".txt"]


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
