"""Measure commits that touched the runtime with asv, oldest first, into results/asv.

    python results/history.py [--list] [--count N]

A commit that is stored for this machine is skipped, so that the same command goes on where it was
stopped. Nothing else may run meanwhile. SIGMABENCH_PROFILE chooses how much is measured; the
published history is of the quick profile. `sigmabench history` shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from sigmabench.harness.history.asv_plugin import PROFILES, VARIABLE, machine_name

ROOT = Path(__file__).parents[1]
STORED = ROOT / "results" / "asv"
#: What a commit has to touch.
RUNTIME = ("harness/native", "harness/backends", "harness/quantize/sigma.py")
#: Chosen from `git log -- RUNTIME`: the first with a compiled runtime, then what changed its speed
#: or its shape.
COMMITS = (
    "454409f",  # the native runtime
    "a7c8a16",  # float passes as fast as PyTorch lets them be
    "d654429",  # float networks in the compiled program
    "cf8464b",  # the float backend runs it wherever it can
    "4a522f7",  # threads work on a pass together, or each on its own
    "3ae83b3",  # the sampler without VBMI, and with fewer operations a block
    "5845775",  # draws can be timed alone
    "2695a01",  # teams are chosen by many passes in a row
    "3e24260",  # kernels depend neither on the batch nor on the team
    "72e812e",  # codebooks and 4-bit means
    "22c2a77",  # normals by AVX2 where VAES is missing
    "3c95997",  # joins and ceilings
    "b0cedc6",  # threads keep their part of the first layers' maps
    "505156f",  # divided networks
    "6f90d92",  # float operations of a divided network on the threads asked for
    "62d5305",  # identities of machines
    "3a765e3",  # what cannot fit is refused before it is allocated
    "306b4fc",  # artefacts are checked at load
    "e6cba13",  # rooms
    "ae2d347",  # one OpenMP runtime
)
MINUTES = 3  # of a commit, building included


def main() -> int:
    """Measure what is missing; the number of commits for which asv failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="Print the commits; measure nothing.")
    parser.add_argument("--count", type=int, help="Measure at most so many of them.")
    asked = parser.parse_args()
    machine = machine_name()
    every = commits()
    left = [one for one in every if not stored(machine, one)]
    if asked.list:
        for one in every:
            known = "stored " if one not in left else "missing"
            print(f"{known} {git('show', '-s', '--format=%h %as %s', one)}")
        return 0
    left = left[: asked.count]
    print(
        f"{len(every)} commits, {len(left)} of them to be measured on {machine}: about "
        f"{MINUTES * len(left)} minutes on two cores, once asv's environment is there.",
        flush=True,
    )
    failed = []
    for number, one in enumerate(left, 1):
        print(f"\n{number} of {len(left)}: {git('show', '-s', '--format=%h %s', one)}", flush=True)
        ran = subprocess.run([sys.executable, "-m", "asv", "run", f"{one}^!"], cwd=ROOT, env=_env())
        if not stored(machine, one):
            failed.append(one[:8])
            print(f"asv stored nothing (status {ran.returncode}).", file=sys.stderr, flush=True)
    for one in failed:
        print(f"Failed, for the reason that asv gave: {one}", file=sys.stderr)
    return len(failed)


def commits() -> list[str]:
    """Whole hashes: those chosen, and what touched the runtime since, oldest first."""
    chosen = [git("rev-parse", f"{one}^{{commit}}") for one in COMMITS]
    since = git("log", "--reverse", "--format=%H", f"{COMMITS[-1]}..HEAD", "--", *RUNTIME)
    return list(dict.fromkeys([*chosen, *since.split()]))


def stored(machine: str, commit: str) -> bool:
    """Whether asv has results of a commit on this machine: of every benchmark, for it writes them
    one by one, and not only that there are none, which is how it notes a failed build."""
    listed = STORED / "benchmarks.json"
    known = set(json.loads(listed.read_text())) - {"version"} if listed.exists() else set()
    files = (STORED / machine).glob(f"{commit[:8]}-*.json")
    found = [json.loads(path.read_text())["results"] for path in files]
    return any(known <= each.keys() and any(r[0] for r in each.values()) for each in found)


def git(*words: str) -> str:
    """What git prints.

    Raises:
        subprocess.CalledProcessError: it fails, for want of the whole history perhaps.
    """
    return subprocess.run(
        ["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def _env() -> dict[str, str]:
    return {VARIABLE: next(iter(PROFILES)), **os.environ}


if __name__ == "__main__":
    sys.exit(main())
