"""How many passes are enough, in one sentence per format that is computed."""

from __future__ import annotations

from ...core import words as text
from ...stats.enough import Gap, Share
from .analyse import MARGIN, SHARE, Count, Curve


def sentence(curve: Curve) -> str:
    """Of one format."""
    format, largest = curve.record.subject.format, curve.counts[-1]
    if curve.why_not:
        return f"{format}: it is not judged how many passes are enough ({curve.why_not})."
    enough = curve.enough
    if enough is not None:
        head = f"{text.plural(enough.at.mc, 'pass', 'passes')} {text.verb(enough.at.mc)} enough"
    elif largest.nll_few or largest.decisions_few:
        head = f"{text.plural(largest.at.mc, 'pass', 'passes')} are not enough"
    else:
        head = f"no number of passes up to {largest.at.mc} is shown to be enough"
    return f"{format}: {head}: {_nll(curve, largest)}, and {_decisions(curve, largest)}."


def _nll(curve: Curve, largest: Count) -> str:
    many = text.plural(curve.record.subject.reference, "pass", "passes")
    found = curve.nll
    if found is not None:
        return f"NLL needs {found.at.mc} ({_gap(found.gap)} against {many})"
    gap, T = largest.gap, largest.at.mc
    if largest.nll_few:
        return f"NLL differs by more than {MARGIN} nats from that of {many} ({_gap(gap)} at {T})"
    more = _would(gap.deciding(curve.record.body.images, MARGIN)) if abs(gap.value) < MARGIN else ""
    return (
        f"NLL is not shown to be within {MARGIN} nats of that of {many} ({_gap(gap)} at {T}{more})"
    )


def _decisions(curve: Curve, largest: Count) -> str:
    many = text.plural(curve.record.subject.reference, "pass", "passes")
    found = curve.decisions
    if found is not None:
        return f"decisions need {found.at.mc} ({_share(found.alike)} as with {many})"
    alike, T, asked = largest.alike, largest.at.mc, text.percent(SHARE, 0)
    if largest.decisions_few:
        few = f"fewer than {asked} % of the images are decided as with {many}"
        return f"{few} ({_share(alike)} at {T})"
    more = _would(alike.deciding(curve.record.body.images, SHARE)) if alike.value > SHARE else ""
    return (
        f"it is not shown that {asked} % of the images are decided as with {many} ({_share(alike)} "
        f"at {T}{more})"
    )


def _would(images: int | None) -> str:
    """What would decide."""
    if images is None:
        return "; more draws, by --draws, would decide"
    return f"; about {images:,} images would decide"


def _gap(gap: Gap) -> str:
    value, low, high = map(nats, (gap.value, gap.low, gap.high))
    return f"{value} nats, 95 % interval {low} to {high},"


def _share(alike: Share) -> str:
    value, low, high = map(percent, (alike.value, alike.low, alike.high))
    return f"{value} %, 95 % interval {low} to {high} %,"


def nats(gap: float) -> str:
    """A difference, with the decimals it takes to show that it is not the margin."""
    shown = text.beyond(abs(gap), MARGIN, 4)
    return f"{'−' if gap < 0 < float(shown) else '+'}{shown}"


def percent(share: float) -> str:
    """A share, with the decimals it takes to show that it is not the one that is asked."""
    return text.beyond(100 * share, 100 * SHARE, 1)
