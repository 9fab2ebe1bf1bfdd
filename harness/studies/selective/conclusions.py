"""What a study of selective prediction adds up to, in sentences that are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...core.words import MISSING, beyond, fixed, plural, signed, verb
from ...data.units import LEAST_UNITS
from .agreement import LESS, MORE, SEEDS, FormatAgreement
from .analyse import SelectiveFindings
from .referral import Referral
from .sample import Interval

QUESTION = "Would quantization change who is referred?"


def sentences(found: SelectiveFindings) -> list[str]:
    """By split, what selection reaches in FP32, and what the thresholds of all formats that draw
    keep; sets with a note (`Workload.split_notes`) come last."""
    lines = []
    for split in sorted(found.splits, key=lambda name: name in found.split_notes):
        for one in found.as_they_are(split):
            if found.formats[one.variant] == "FP32":
                lines += [_halved(found, one), *_within(found, one)]
        lines += _own_thresholds(found, split)
    return lines


def verdicts(found: SelectiveFindings) -> list[str]:
    """By split and quantized format, whom it refers that its float one does not."""
    return [_verdict(found, one) for split in found.splits for one in found.compared(split)]


def answer(found: SelectiveFindings) -> str:
    """`QUESTION`, in one sentence over all splits and Bayesian formats."""
    judged = [c for c in found.comparisons if c.verdict]
    if not judged:
        return (
            f"{QUESTION} Not judged: it takes a quantized Bayesian format, {SEEDS} seeds of the "
            f"draw, which are the yardstick, and {LEAST_UNITS} independent images."
        )
    more = [c for c in judged if c.verdict == MORE]
    less = sum(c.verdict == LESS for c in judged)
    rest = len(judged) - len(more) - less
    counts = (
        f"of {plural(len(judged), 'comparison')} {less} {verb(less, 'changes', 'change')} fewer "
        f"images than another draw of the weights does, {rest} cannot be told from it, {len(more)} "
        f"{verb(len(more), 'changes', 'change')} more"
    )
    if more:
        named = ", ".join(f"{c.found.variant} on {c.found.split}" for c in more)
        return f"{QUESTION} Yes, beyond the luck of the draw: {counts} ({named})."
    if rest:
        return f"{QUESTION} Not more than the luck of the draw is shown to: {counts}."
    return f"{QUESTION} Less than the luck of the draw does: {counts}."


def _halved(found: SelectiveFindings, one: Referral) -> str:
    coverage = f"{100 * found.choices.coverage:g} %"
    if one.ratio is None:
        images = plural(one.images, "image")
        return f"{one.split}, {one.variant}: no error on {images}, nothing to refer."
    reached = "half the error or less" if one.halved else "not half"
    return (
        f"{one.split}, {one.variant}: at {coverage} coverage the error is "
        f"{one.error_kept.value:.2f} % against {one.error.value:.2f} % at full coverage, "
        f"{beyond(one.ratio.value, 0.5, 2)} times ({_ends(one.ratio, 2)}): {reached}."
    )


def _within(found: SelectiveFindings, one: Referral) -> Iterator[str]:
    if one.bounded is None:
        return
    bound, got = f"{100 * found.choices.bound:g} %", one.bounded
    start = f"{one.split}, {one.variant}: "
    if not got.held:
        yield f"{start}no threshold held {bound} on the validation split, so nothing is kept."
        return
    some = ""
    if got.held < one.seeds:
        some = f" (there is one in {got.held} of {plural(one.seeds, 'seed')})"
    kept = f"{start}the threshold chosen on the validation split{some} keeps "
    if got.balanced_error is None:
        yield f"{kept}nothing here."
        return
    error = got.balanced_error
    holds = "within" if error.value <= 100 * found.choices.bound else "above"
    shown = beyond(error.value, 100 * found.choices.bound, 2)
    yield (
        f"{kept}{got.coverage.value:.1f} % of the images, of {got.classes} of "
        f"{plural(len(one.classes), 'class', 'classes')}, whose balanced error is "
        f"{shown} % ({_ends(error, 2)}), {holds} the bound of {bound}; "
        f"with the labels known, {got.oracle:.1f} % could be kept."
    )


def _own_thresholds(found: SelectiveFindings, split: str) -> Iterator[str]:
    """Beside the range over single seeds, for another draw may choose another threshold."""
    parts = []
    for one in found.as_they_are(split):
        got = one.bounded
        if got is None or got.balanced_error is None or not found.draws(one.variant):
            continue
        seeds = f"{min(got.kept):.1f} to {max(got.kept):.1f} in single seeds"
        parts.append(
            f"{one.variant} {got.coverage.value:.1f} % ({seeds}) at a balanced error of "
            f"{got.balanced_error.value:.2f} %"
        )
    if len(parts) > 1:
        own = "thresholds chosen on the validation split, each format's own, keep"
        yield f"{split}, beside one another: {own} {'; '.join(parts)}."


def _verdict(found: SelectiveFindings, one: FormatAgreement) -> str:
    got = one.found
    start = (
        f"{got.split}, {got.variant}: {got.switched.value:.1f} of "
        f"{plural(round(got.referred), 'referred image')} change places with others against "
        f"{got.reference} "
    )
    wrong = f"{got.wrong.value:.1f} of those newly kept are wrong"
    if one.luck is None:
        alone = "" if found.draws(got.reference) else ", which draws nothing"
        return f"{start}({_ends(got.switched, 1)}{alone}); {wrong}."
    lucky = f"the {one.luck.switched.value:.1f} that change with other noise"
    wrong = f"{wrong}, by luck {one.luck.wrong.value:.1f}"
    if one.excess is None or one.unjudged:
        return f"{start}with the same noise, beside {lucky}, not judged: {one.unjudged}; {wrong}."
    words = {MORE: "more than", LESS: "fewer than"}.get(one.verdict, "not distinguishable from")
    return (
        f"{start}with the same noise, {words} {lucky} (difference {signed(one.excess.value, 1)}, "
        f"{_ends(one.excess, 1, signed)}); {wrong}."
    )


def _ends(found: Interval, digits: int, write: Callable[[float, int], str] = fixed) -> str:
    """Of the interval, in words."""
    if found.low is None or found.high is None:
        return MISSING
    return f"{write(found.low, digits)} to {write(found.high, digits)}"
