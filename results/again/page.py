"""The page: plain language around what was found (`page.md.jinja`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from sigmabench.harness.data.units import LEAST_UNITS, Units
from sigmabench.harness.measure.saturation import FAILING_SHARE, FINDING_SHARE
from sigmabench.harness.metrics.metric import METRICS
from sigmabench.harness.records.verdict import SPEED

from .across import Moved, widths
from .changes import AT_MOST, AUDITED, RACED, TABLES, UNITS, Line
from .published import BEFORE, Published, rows_before, rows_now
from .records import Judged, saturation

_TEMPLATE = Path(__file__).with_name("page.md.jinja")
_STUDIES, _REFERRED = "equivalence", "referred"


@dataclass(frozen=True)
class Found:
    """All that the page tells of.

    Attributes:
        published: every record.
        again: those with a verdict, judged again.
        lines: every change.
        tables: `changes.of_tables`.
        units: `published.units_of`.
        noisy: `changes.noisy`.
    """

    published: Sequence[Published]
    again: Mapping[Published, Judged]
    lines: Sequence[Line]
    tables: Mapping[Path, tuple[int, Sequence[Moved]]]
    units: Mapping[tuple[str, str], Units]
    noisy: Sequence[tuple[str, str, str]]

    def because(self, why: str) -> list[Line]:
        """Changes for one reason."""
        return [line for line in self.lines if line.why == why]


def page(found: Found) -> str:
    """Markdown."""
    parts = (_records, _saturation, _together, _studies, _referred, _superseded)
    values = {name: value for part in parts for name, value in part(found).items()}
    environment = Environment(undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(_TEMPLATE.read_text()).render(values).rstrip() + "\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; empty without rows."""
    cells = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in cells) if rows else ""


def _records(found: Found) -> dict[str, Any]:
    stored = [one.stored for one in found.again.values()]
    audited = [
        (f"`{line.record}`", line.what, line.stored or "–", line.again or "–")
        for line in found.because(AUDITED)
    ]
    return {
        "before": BEFORE,
        "folders": _folders(found),
        "allowed": _allowed(found),
        "judged": len(stored),
        "invalid": sum(bool(one.invalid) for one in stored),
        "alone": sum(one.invalid == (SPEED,) for one in stored),
        "audited": table(("record", "what", "stored", "again"), audited),
    }


def _folders(found: Found) -> str:
    rows = []
    for folder in dict.fromkeys(one.folder for one in found.published):
        mine = [one for one in found.published if one.folder == folder]
        again = [found.again[one] for one in mine if one in found.again]
        changed = sum(bool(one.changed) for one in again)
        counts = [
            len(again) - changed,
            changed,
            sum(bool(one.stored.invalid) for one in again),
            sum(one.stored.invalid == (SPEED,) for one in again),
        ]
        superseded = sum(bool(one.superseded) for one in mine)
        rows.append((folder, len(mine), *(counts if again else "––––"), superseded))
    heads = ("folder", "records", "the same again", "changed", "stored as invalid")
    return table((*heads, "of these in speed alone", "superseded"), rows)


def _allowed(found: Found) -> str:
    judged = Counter(name for one in found.again.values() for name in one.audits)
    lacking = Counter(pair for one in found.again.values() for pair in one.unjudged.items())
    whys = {name: f"{why} ({count})" for (name, why), count in lacking.items()}
    names = dict.fromkeys((*judged, *whys))
    rows = [(name, judged[name], whys.get(name, "")) for name in names]
    return table(("audit", "records judged again", "not judged again (records)"), rows)


def _saturation(found: Found) -> dict[str, Any]:
    shares = {
        one: max((share, name) for name, share in kept.items())
        for one in found.again
        if one.study == "run" and (kept := saturation(one.record))
    }
    worst = max(shares, key=lambda one: shares[one])
    share, name = shares[worst]
    return {
        "shares": len(shares),
        "cut": sum(share >= FINDING_SHARE for share, _ in shares.values()) or "none",
        "failing": sum(share >= FAILING_SHARE for share, _ in shares.values()) or "none",
        "finding": f"{100 * FINDING_SHARE:.2f} %",
        "level": f"{100 * FAILING_SHARE:.2f} %",
        "largest": f"{100 * share:.3f} %, of {name} in `{worst.path.as_posix()}`",
        "unjudged": sum("activations in range" in one.unjudged for one in found.again.values()),
    }


def _together(found: Found) -> dict[str, Any]:
    races = found.because(RACED)
    pairs = [replace(one, again=one.again.removeprefix(AT_MOST)) for one in found.because(UNITS)]
    open_ = [one for one in pairs if _excludes_0(one.stored) and not _excludes_0(one.again)]
    raced = [(Path(r.record).parent.parent, r.what, r.stored, r.again) for r in races]
    return {
        "raced_count": len(races),
        "raced": table(("folder", "ratio", "before", "now"), raced),
        "paired_count": len(pairs),
        "wider_least": f"{min(map(_widening, pairs)):.2f}",
        "wider_most": f"{max(map(_widening, pairs)):.2f}",
        "open_count": len(open_) or "None",
        "open": table(
            ("record", "what", "stored", "at most"),
            [(f"`{Path(p.record).stem}`", p.what, p.stored, p.again) for p in open_],
        ),
    }


def _excludes_0(interval: str) -> bool:
    low, _, high = interval.partition(" to ")
    return low[0] == high[0]


def _widening(line: Line) -> float:
    """Width at most over the one that is stored."""
    stored, again = (
        [float(end.replace("−", "-")) for end in interval.split(" to ")]
        for interval in (line.stored, line.again)
    )
    return (again[1] - again[0]) / (stored[1] - stored[0])


def _studies(found: Found) -> dict[str, Any]:
    rows = []
    for path, (count, moves) in found.tables.items():
        if _STUDIES in path.name:
            ratios = widths(rows_before(path), rows_now(path), TABLES[path])
            told = ", ".join(
                f"{METRICS.get(name).called} {ratio:.2f}" for name, ratio in ratios.items()
            )
            rows.append((path.parent.name, count, len(moves), told))
    heads = ("study", "tests", "verdicts that moved", "median of widths, now ÷ before")
    return {"studies": table(heads, rows), "studies_moved": _moves(found, _STUDIES)}


def _referred(found: Found) -> dict[str, Any]:
    ((count, moves),) = (v for path, v in found.tables.items() if _REFERRED in path.name)
    counts = {split: units.count for (_, split), units in found.units.items()}
    few = [split for split, units in counts.items() if units < LEAST_UNITS]
    return {
        "least": LEAST_UNITS,
        "units": ", ".join(f"{split} {units}" for split, units in counts.items()),
        "few": ", ".join(few) or "none",
        "referred_count": count,
        "referred_moved_count": len(moves) or "none",
        "referred_moved": _moves(found, _REFERRED),
    }


def _moves(found: Found, name: str) -> str:
    rows = [
        (path.parent.name, one.row, one.before, one.now)
        for path, (_, moves) in found.tables.items()
        if name in path.name
        for one in moves
    ]
    return table(("study", "test", "before", "now"), rows)


def _superseded(found: Found) -> dict[str, Any]:
    counts = Counter((one.folder, one.superseded) for one in found.published if one.superseded)
    rows = [(folder, count, why) for (folder, why), count in counts.items()]
    noisy = [(f"`{path}`", name, result) for path, name, result in found.noisy]
    part = sum(one.record.fingerprint.machine is None for one in found.published)
    return {
        "superseded": table(("folder", "records", "why"), rows),
        "part": f"{part:,}",
        "records": f"{len(found.published):,}",
        "races": sum(hasattr(one.record.body, "contenders") for one in found.published),
        "noisy_count": len(noisy) or "none",
        "noisy": table(("record", "contender", "result"), noisy),
    }
