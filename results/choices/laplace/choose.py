"""The study that a Laplace approximation's prior precision is chosen by; no test image takes part.

    python results/choices/laplace/choose.py WORKLOAD

`sigmabench methods` makes the same choice whenever it fits one: the last layer of WORKLOAD's
deterministic network, by laplace-torch on all training images as they are; then the NLL of the
whole validation split in FP32, without a temperature, at each of four prior precisions. The lowest
is taken.
"""

from __future__ import annotations

import sys

from sigmabench.harness import api as sb
from sigmabench.harness.methods.laplace_fit import (
    DIAGONAL,
    FULL,
    PASSES,
    PRECISIONS,
    SEED,
    fitted,
    installed,
)
from sigmabench.harness.workload.choices import plan_from
from sigmabench.harness.workload.prepare import prepare


def main() -> None:
    name = sys.argv[1]
    prepared = prepare(plan_from(sb.resolve_workload(name)))
    images = len(prepared.splits.validation)
    print(__doc__.strip())
    print(f"\n{name}, laplace-torch {installed()}, T = {PASSES}, seed {SEED}, ", end="")
    print(f"{images:,} validation images.\n", flush=True)
    print("| covariance | prior precision | NLL | chosen |\n|---|---|---|---|")
    for structure, called in ((DIAGONAL, "diagonal"), (FULL, "full")):
        fit = fitted(prepared, structure)
        for precision, nll in zip(PRECISIONS, fit.nll, strict=True):
            mark = "yes" if precision == fit.precision else ""
            print(f"| {called} | {precision:g} | {nll:.4f} | {mark} |", flush=True)


if __name__ == "__main__":
    main()
