"""The seven claims of the papers, judged from the records of a results directory.

A claim `holds` when equivalence within a margin that was fixed beforehand is shown after Holm's
correction, it is `contradicted` when the opposite is, and else it `cannot be shown`, with the
number of images that would decide. Records of one machine are never held against those of another,
and times are divided within a race alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import counted, one_bit, referral_claim, scored_claims, speed
from .evidence import Evidence, Problem
from .findings import Finding

#: What judges each claim, in the order of `papers.CLAIMS`.
_JUDGES: tuple[Callable[[Evidence], list[Finding]], ...] = (
    scored_claims.clean,
    scored_claims.shifted,
    counted.sizes,
    counted.bandwidths,
    speed.speeds,
    one_bit.ranges,
    scored_claims.one_bit_scores,
    scored_claims.safety_scores,
    referral_claim.referrals,
)


def judge(results: Path, *, problem: Problem | None = None) -> list[Finding]:
    """What the records of a results directory say of each claim.

    Args:
        results: the directory; where it holds no record that tells, the finding says which command
            would measure it.
        problem: told of what cannot be read or compared, which is left out; None to raise it.

    Returns:
        By claim, in the order of `papers.CLAIMS`, then by workload and part of the claim: at least
        one for each claim and workload that it is asked of.

    Raises:
        UserError: without `problem`, a record cannot be read, or records do not fit one another.
    """
    return judged(Evidence.read(results, problem))


def judged(evidence: Evidence) -> list[Finding]:
    """The same, of records that have been read."""
    return [finding for of in _JUDGES for finding in of(evidence)]
