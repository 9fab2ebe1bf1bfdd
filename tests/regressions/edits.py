"""Real edits of the code that make it worse by a known amount, and one that changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SAMPLER = Path("harness/native/sampler.cpp")
QUANTIZER = Path("harness/quantize/sigma.py")
#: Where the sampler's path is chosen, for every kind of processor.
_DISPATCH = """void sample(SamplerPath path, const Stream& stream, const AliasTables& tables,
            const KeySchedule& keys, std::uint32_t mc, std::int8_t* out) {
"""
#: The same, which then draws a share of the blocks again, to the values that are there: the time
#: grows, and no result changes.
_AGAIN = """static void sample_once(SamplerPath, const Stream&, const AliasTables&,
                        const KeySchedule&, std::uint32_t mc, std::int8_t* out);

void sample(SamplerPath path, const Stream& stream, const AliasTables& tables,
            const KeySchedule& keys, std::uint32_t mc, std::int8_t* out) {
    sample_once(path, stream, tables, keys, mc, out);
    std::size_t left = 0;
    for (const Run& run : stream.runs) left += run.lanes == 0 ? 0 : run.count;
    left = left * PERCENT / 100;
    Stream again{stream.store, stream.ordinal, stream.chunks, {}};
    for (const Run& run : stream.runs) {
        if (left == 0) break;
        if (run.lanes == 0) continue;
        const std::size_t count = std::min<std::size_t>(run.count, left);
        again.runs.push_back(run);
        again.runs.back().count = static_cast<std::uint32_t>(count);
        left -= count;
    }
    if (!again.runs.empty()) sample_once(path, again, tables, keys, mc, out);
}

static void sample_once(SamplerPath path, const Stream& stream, const AliasTables& tables,
                        const KeySchedule& keys, std::uint32_t mc, std::int8_t* out) {
"""
_ROWS = "    low, high = rows.min(axis=1), rows.max(axis=1)\n"
_LESS = "    rows = 0.95 * rows\n"


@dataclass(frozen=True)
class Edit:
    """A change of one file.

    Attributes:
        name: of the kind, and of the branch.
        path: of the file.
        made: its text from the text before.
        told: what it does, in words.
        found_by: part of the names of the benchmarks of which one has to find it; empty if nothing
            is to be found.
    """

    name: str
    path: Path
    made: Callable[[str], str]
    told: str
    found_by: str


def slower(percent: int) -> Edit:
    """A sampler that draws so many per cent of its blocks twice."""
    return Edit(
        f"slower-{percent}",
        SAMPLER,
        lambda text: replaced(text, _DISPATCH, _AGAIN.replace("PERCENT", str(percent)), SAMPLER),
        f"the sampler draws {percent} % of its blocks twice",
        "track_sampler_ratio",
    )


LOSSY = Edit(
    "lossy",
    QUANTIZER,
    lambda text: replaced(text, _ROWS, _LESS + _ROWS, QUANTIZER),
    "the quantizer loses 5 % of σ",
    "track_sigma_lost",
)
NOTHING = Edit(
    "nothing",
    SAMPLER,
    lambda text: text + "\n// The same.\n",
    "a comment in the sampler",
    "",
)


def replaced(text: str, old: str, new: str, path: Path) -> str:
    """Put one passage in place of another.

    Raises:
        ValueError: the passage is not there, or not once: the code has changed, and so must this.
    """
    if text.count(old) != 1:
        raise ValueError(f"{path} has {text.count(old)} times what is to be edited:\n{old}")
    return text.replace(old, new)
