"""The study that the stopping rule's constants were chosen by; no test image takes part.

    python results/adaptive/choose.py > results/adaptive/choose.md

Each candidate is judged on the validation splits (what it costs: mean T) and on made-up populations
that are harder than any data here (what it risks: decisions that differ from those after all T).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.predict.adaptive import Margins, StoppingRule
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import prepare
from sigmabench.harness.workload.workload import resolve_workload

T = 50
SEEDS = range(1000, 1005)  # none that a published run uses
WORKLOADS = ("lenet5-mnist", "lenet-digits")
CONFIDENCES = (0.95, 0.99, 0.999)
LOOKS = ((3, 5, 8, 12, 18, 27, 41), (4, 6, 9, 14, 21, 32), (5, 8, 12, 18, 27, 41), (5, 10, 20, 40))
PRIORS = (0.0, 0.25, 0.5, 1.0)
IMAGES = 20_000  # of a made-up population


def validation(workload: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits [T, N, C] and labels of the validation split, a seed at a time."""
    plan = Plan(resolve_workload(workload), formats=("INT8",), mc=(T,), split="validation")
    prepared = prepare(plan)
    predictor = BACKENDS.get("native").load(prepared.artefact("INT8"), 1)
    split = prepared.splits.validation
    batches = [split.batch(slice(i, i + 250)) for i in range(0, len(split), 250)]
    for seed in SEEDS:
        yield torch.cat([predictor.logits(x, seed, range(T)) for x in batches], 1), split.labels


def coins() -> Tensor:
    """Two classes; a pass is certain of the first with a chance of its own, uniform over images."""
    generator = torch.Generator().manual_seed(1)
    q = torch.rand(IMAGES, generator=generator)
    sign = torch.where(torch.rand(T, IMAGES, generator=generator) < q, 1.0, -1.0)
    return torch.stack((10 * sign, -10 * sign), -1)


def gaps() -> Tensor:
    """Ten classes; normal logits, the first ahead by 0 to 2 where a pass's spread is 0.5 to 4."""
    generator = torch.Generator().manual_seed(2)
    spread = 0.5 + 3.5 * torch.rand(IMAGES, 1, generator=generator)
    logits = spread * torch.randn(T, IMAGES, 10, generator=generator)
    logits[..., 0] += 2 * torch.rand(IMAGES, generator=generator)
    return logits


def judge(logits: Tensor, rule: StoppingRule) -> tuple[Tensor, Tensor, Tensor]:
    """Passes spent, decision taken and decision after all T, [N] each."""
    margins, spent = Margins(rule), torch.full(logits.shape[1:2], T)
    taken = torch.full_like(spent, -1)
    for first, stop in rule.rounds:
        margins.update(logits[first:stop])
        now = torch.from_numpy(margins.settled()) & (taken < 0)
        leader = torch.from_numpy(margins.probs()).argmax(-1)
        spent[now], taken[now] = stop, leader[now]
    return spent, taken, leader


def cost(spent: Tensor, taken: Tensor, full: Tensor) -> list[str]:
    """Mean passes and the share of other decisions, written."""
    return [f"{spent.double().mean():.2f}", f"{100 * (taken != full).double().mean():.3f}"]


def main() -> None:
    """Print the table."""
    data = {name: list(validation(name)) for name in WORKLOADS}
    made_up = {"coins": coins(), "gaps": gaps()}
    print((__doc__ or "").strip())
    print(f"\nT = {T}, INT8, seeds {SEEDS.start} to {SEEDS.stop - 1} of the MC draw. Other: share")
    print("of decisions that are not those after T passes. Accuracy: points gained on T passes.\n")
    heads = [f"{n} {what}" for n in WORKLOADS for what in ("mean T", "other %", "accuracy")]
    heads += [f"{n} {what}" for n in made_up for what in ("mean T", "other %")]
    heads = ["confidence", "looks", "σ of the added pass", *heads]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for confidence, looks, prior in product(CONFIDENCES, LOOKS, PRIORS):
        rule = StoppingRule(T, confidence, looks, prior)
        cells = [f"{confidence:g}", " ".join(map(str, looks)), f"{prior:g}"]
        for runs in data.values():
            judged = [(*judge(logits, rule), labels) for logits, labels in runs]
            spent, taken, full, labels = (torch.cat(part) for part in zip(*judged, strict=True))
            gained = (taken == labels).double().mean() - (full == labels).double().mean()
            cells += [
                f"{spent.double().mean():.2f}",
                f"{100 * (taken != full).double().mean():.3f}",
            ]
            cells += [f"{100 * gained:+.3f}"]
        for logits in made_up.values():
            spent, taken, full = judge(logits, rule)
            cells += [
                f"{spent.double().mean():.2f}",
                f"{100 * (taken != full).double().mean():.3f}",
            ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
