"""One parser under coverage-guided fuzzing (atheris, which is libFuzzer for Python), run by
`fuzz.py` as a program: PARSER FINDINGS and libFuzzer's own arguments.

What a parser may not raise is kept in the folder of findings, once for each place that raises it,
and fuzzing goes on; a hang or too much memory ends the process, which says so.
"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
import warnings
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

import atheris  # noqa: E402

READERS = ["sigmabench", "tarfile", "zipfile", "csv", "json", "pickle", "numpy.lib", "PIL"]
with atheris.instrument_imports(include=READERS):
    from campaign.parsers import MARK, OWN, PARSERS
    from campaign.seeds import SEEDS
    from campaign.trees import other

import numpy as np  # noqa: E402
import psutil  # noqa: E402

SECONDS, MEGABYTES = 10, 1024


def _keep(findings: Path, data: bytes, reason: Exception) -> None:
    place = traceback.extract_tb(reason.__traceback__)[-1]
    where = f"{type(reason).__name__} in {Path(place.filename).name}, {place.name}"
    path = findings / hashlib.sha256(where.encode()).hexdigest()[:10]
    if not path.exists():
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(
            where + "\n" + "".join(traceback.format_exception(reason))
        )


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """In half of the cases another value in a part that is JSON, else libFuzzer's own change."""
    parts = data.split(MARK)
    at = (seed >> 1) % len(parts)
    if seed & 1:
        for skipped in (0, 1):  # a record's first byte is its kind
            if parts[at][skipped : skipped + 1] not in (b"{", b"["):
                continue
            rng = np.random.default_rng(seed)
            try:
                tree = json.loads(parts[at][skipped:])
                changed = json.dumps(other(tree, rng)).encode()
            except (ValueError, TypeError, RecursionError, IndexError, OverflowError):
                continue
            parts[at] = parts[at][:skipped] + changed
            return MARK.join(parts)[:most]
    return bytes(atheris.Mutate(data, most))


def main() -> None:
    """See the module."""
    warnings.simplefilter("ignore")
    name, findings, *options = sys.argv[1:]
    parser = PARSERS[name]

    def one(data: bytes) -> None:
        try:
            parser(data)
        except OWN:
            pass
        except Exception as reason:
            _keep(Path(findings), data, reason)

    for data in SEEDS[name]():
        one(data)  # what is imported and cached at first is not of an input
    taken = psutil.Process().memory_info().rss >> 20
    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={taken + MEGABYTES}"]
    atheris.Setup([sys.argv[0], *limits, *options], one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
