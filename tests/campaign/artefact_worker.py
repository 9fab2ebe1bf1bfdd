"""Hostile artefacts with right hashes, loaded and computed: run by `artefacts.py` as a program,
FIRST LAST, in a Python whose native code is under sanitizers. Prints a line when it begins one and
a line on what came of it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
from forgery import Tensors, forged, header_of  # noqa: E402
from quantize.test_artefact_check import stored  # noqa: E402

from campaign.figures import SEED  # noqa: E402
from campaign.trees import other  # noqa: E402
from sigmabench.harness.backends.base import BACKENDS  # noqa: E402
from sigmabench.harness.backends.native import NativePredictor, build  # noqa: E402
from sigmabench.harness.core.errors import UserError  # noqa: E402
from sigmabench.harness.quantize.artefact import Artefact  # noqa: E402
from sigmabench.harness.quantize.artefact_file import from_bytes  # noqa: E402

FORMS = ("INT8", "DNN_INT8", "divided", "FP32", "BF16", "codebook")
PATHS = ("portable", "avx2", "avx512", "avx512_vbmi", "auto")
FACTORS = (0.0, 0.5, 2.0, 1e-30, 1e30)


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Up to two changes of the header and two of the tensors, and the right hash."""
    header = header_of(data)
    for _ in range(max(0, rng.integers(-1, 3))):
        header = other(header, rng)

    def tensors(whole: Tensors) -> None:
        for _ in range(rng.integers(0, 3)):
            name = sorted(whole)[rng.integers(len(whole))]
            whole[name] = _noisy(whole[name], rng)

    return forged(data, lambda old: (old.clear(), old.update(header)), tensors)


def _noisy(tensor: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Bytes at random, or numbers as they may be, at their bounds."""
    if not tensor.numel():
        return tensor
    flat = tensor.clone().reshape(-1)
    some = torch.from_numpy(rng.integers(0, len(flat), 1 + len(flat) // 8))
    if tensor.is_floating_point():
        if rng.integers(8):
            flat[some] *= float(FACTORS[rng.integers(len(FACTORS))])
        else:
            flat.view(torch.uint8)[some] = int(rng.integers(256))
    elif tensor.dtype == torch.int8:
        flat[some] = int(rng.choice([-128, -127, 127, 0, int(rng.integers(-127, 128))]))
    else:
        flat[some] = int(rng.integers(256)) if tensor.dtype == torch.uint8 else 1
    return flat.reshape(tensor.shape)


@lru_cache(maxsize=1)
def sampler_paths() -> list[str]:
    """Those that this CPU has."""
    artefact = from_bytes(stored("INT8"), "model")

    def there(path: str) -> bool:
        try:
            return build(artefact, 1, isa=path) is not None
        except ValueError:
            return False

    return [path for path in PATHS if there(path)]


def predicted(artefact: Artefact, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Two passes of each backend that is to compute the same."""
    shape = artefact.graph.activations[artefact.graph.input].shape
    x = torch.from_numpy(rng.standard_normal((int(rng.integers(1, 4)), *shape), np.float32))
    threads, path = int(rng.integers(1, 3)), sampler_paths()[rng.integers(len(sampler_paths()))]
    if not artefact.format.quantized:
        yield BACKENDS.get("float").load(artefact, threads).logits(x, 0, range(2))
        return
    yield BACKENDS.get("reference").load(artefact, 1).logits(x, 0, range(2))
    if not artefact.header.compiled_sampler:
        yield BACKENDS.get("drawn").load(artefact, 1).logits(x, 0, range(2))
        return
    native = BACKENDS.get("native").load(artefact, threads)
    yield native.logits(x, 0, range(2))
    if not artefact.graph.steps:
        engine = ("auto", "portable")[rng.integers(2)]
        program = build(artefact, threads, engine=engine, isa=path)
        yield NativePredictor(program, artefact.graph, threads).logits(x, 0, range(2))


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal up to the last bits of the largest: float sums of the head round in another order."""
    a, b = one.numpy(), other.numpy()
    if np.array_equal(a, b, equal_nan=True):
        return True
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    return bool(np.abs(a - b).max() <= 4 * np.spacing(np.abs(a).max()))


def outcome(number: int) -> str:
    """Of one input."""
    rng = np.random.default_rng([SEED, number])
    data = changed(stored(FORMS[number % len(FORMS)]), rng)
    try:
        found = list(predicted(from_bytes(data, "model"), rng))
    except UserError as reason:
        return "refused" if "\n" not in str(reason) else f"refused in two lines: {reason!r}"
    except Exception as reason:
        return f"{type(reason).__name__}: {reason}".splitlines()[0]
    return "alike" if all(alike(found[0], one) for one in found[1:]) else "other numbers"


def main() -> None:
    """See the module."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    first, last = map(int, sys.argv[1:])
    for number in range(first, last):
        print(number, "begun", flush=True)
        print(number, outcome(number), flush=True)


if __name__ == "__main__":
    main()
