"""Hostile artefacts with right hashes, loaded and computed: run by `artefacts.py` as a program,
FIRST LAST, in a Python whose native code is under sanitizers. Prints a line when it begins one,
a line on what came of it, and one on each kind of AMX kernel that computed it."""

from __future__ import annotations

import sys
import warnings
from functools import lru_cache
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import numpy as np
import torch
from forgery import Tensors, forged, header_of
from quantize.test_artefact_check import stored as small
from torch import nn

from campaign.bounds import OverflowsError, bounded
from campaign.figures import SEED
from campaign.ties import tilted
from campaign.trees import other
from sigmabench.harness.backends import float_program
from sigmabench.harness.backends.base import BACKENDS, Predictor
from sigmabench.harness.backends.native import NativePredictor, build
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import moped
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.artefact_file import from_bytes, to_bytes
from sigmabench.harness.quantize.calibrate import observe_ranges
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.ptq import quantize

WIDE = ("INT8", "INT8_SIGMA2", "DNN_INT8", "FP32", "BF16")
SMALL = ("INT8", "DNN_INT8", "divided", "FP32", "BF16", "codebook", "INT4")
NORMED = ("INT8", "INT8_SIGMA1", "DNN_INT8", "FP32")
FORMS = (*SMALL, *(f"wide {name}" for name in WIDE), *(f"normed {name}" for name in NORMED))
PATHS = ("portable", "avx2", "avx512", "avx512_vbmi", "auto")
FACTORS = (0.0, 0.5, 2.0, 1e-30, 1e30)


class Wide(nn.Module):
    """Products of 64 channels on maps of 36 pixels, of both signs, with and without a residual,
    which an AMX kernel of our own takes; two 3x3 layers and the head for oneDNN's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 64, 3, padding=1)
        self.narrow, self.again = nn.Conv2d(64, 64, 1), nn.Conv2d(64, 64, 1)
        self.last = nn.Conv2d(128, 16, 3, padding=1)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.stem(x))
        z = self.narrow(y)
        z = torch.relu(torch.cat([z, torch.relu(self.again(z) + y)], 1))
        z = torch.max_pool2d(torch.relu(self.last(z)), 2)
        return self.head(nn.functional.adaptive_avg_pool2d(z, 1).flatten(1))


def normed() -> nn.Module:
    """Norms whose statistics are of each image, a dilated pool, and a pool of uneven windows."""
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.GroupNorm(4, 8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 1),
        nn.InstanceNorm2d(6, affine=True),
        nn.MaxPool2d(2, stride=1, dilation=2),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


@lru_cache
def stored(form: str) -> bytes:
    """An artefact of a form."""
    if form in SMALL:
        return small(form)
    kind, format = form.split()
    torch.manual_seed(0)
    module = (Wide() if kind == "wide" else normed()).eval()
    model = fold(module, moped(module, 0.1), (2, 6, 6))
    ranges = observe_ranges(model, torch.randn(16, 2, 6, 6), "minmax")
    return to_bytes(quantize(model, format, ranges))


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


Used = set[str]


def computed(artefact: Artefact, rng: np.random.Generator, used: Used) -> str:
    """What comes of an artefact that was taken; the names of the kernels go into `used`."""
    shape = artefact.graph.activations[artefact.graph.input].shape
    x = torch.from_numpy(rng.standard_normal((int(rng.integers(1, 4)), *shape), np.float32))
    threads, path = int(rng.integers(1, 3)), sampler_paths()[rng.integers(len(sampler_paths()))]
    if not artefact.format.quantized:
        return floats(artefact, x, threads, path, used)
    return integers(artefact, x, threads, path, used)


def logits(predictor: Predictor, x: torch.Tensor, used: Used) -> torch.Tensor:
    """Of two passes."""
    found = predictor.logits(x, 0, range(2))
    used |= set(predictor.kernels.values())
    return found


def integers(artefact: Artefact, x: torch.Tensor, threads: int, path: str, used: Used) -> str:
    """Every backend against the reference: plain loops are equal to it, and what oneDNN or AMX
    computes is but for ties."""
    expected = logits(BACKENDS.get("reference").load(artefact, 1), x, used)
    if not artefact.header.compiled_sampler:
        found = [logits(BACKENDS.get("drawn").load(artefact, 1), x, used)]
        return told(artefact, x, expected, found)
    found = [logits(BACKENDS.get("native").load(artefact, threads), x, used)]
    if not artefact.graph.steps:
        plain, fast = (
            NativePredictor(build(artefact, threads, engine, path), artefact.graph, threads)
            for engine in ("portable", "auto")
        )
        found.append(logits(fast, x, used))
        if not np.array_equal(logits(plain, x, used), expected, equal_nan=True):
            return "other numbers in plain loops"
    return told(artefact, x, expected, found)


def told(
    artefact: Artefact, x: torch.Tensor, expected: torch.Tensor, found: list[torch.Tensor]
) -> str:
    """What becomes of these logits, of which some may round a tie otherwise."""
    others = [one for one in found if not alike(expected, one)]
    if not others:
        return "alike"
    for way in (1, -1):
        predictor, parts = tilted(artefact, way)
        moved = predictor.logits(x, 0, range(2))
        others = [one for one in others if not alike(moved, one)]
        if not others or any(part.unsure for part in parts):
            return "tie"
    return "other numbers"


def floats(artefact: Artefact, x: torch.Tensor, threads: int, path: str, used: Used) -> str:
    """The backend, and its program with another sampler: within what rounding allows of float64
    with the weights they report, which are the same whatever draws them."""
    predictors = [BACKENDS.get("float").load(artefact, threads)]
    if isinstance(predictors[0], float_program.ProgramPredictor):
        program = float_program.build(artefact, threads, isa=normal_path(path))
        predictors.append(float_program.ProgramPredictor(program, artefact.graph, threads))
    found = [logits(one, x, used) for one in predictors]
    for mc in range(2):
        drawn = [weights(one, artefact, mc) for one in predictors]
        if any(not equal(drawn[0], other) for other in drawn[1:]):
            return "other weights"
        try:
            expected = bounded(artefact.graph, drawn[0], x, artefact.format.arithmetic)
        except OverflowsError:
            return "overflows"
        if not all(expected.may_be(one[mc]) for one in found):
            return "other numbers"
    return "alike"


def normal_path(path: str) -> str:
    """The normals' sampler where noise v1 has this one."""
    return "avx512" if path == "avx512_vbmi" else path


Weights = dict[str, tuple[torch.Tensor, torch.Tensor]]


def weights(predictor: Predictor, artefact: Artefact, mc: int) -> Weights:
    """Of one pass, and the biases."""
    return {
        conv.name: (
            torch.from_numpy(predictor.sample(conv.name, 0, mc)),
            torch.from_numpy(predictor.sample_bias(conv.name, 0, mc)),
        )
        for conv in artefact.graph.convs
    }


def equal(one: Weights, other: Weights) -> bool:
    """Bit for bit."""
    return all(
        a.numpy().tobytes() == b.numpy().tobytes()
        for name, pair in one.items()
        for a, b in zip(pair, other[name], strict=True)
    )


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal up to the last bits of the largest: float sums of the head round in another order."""
    a, b = one.numpy(), other.numpy()
    if np.array_equal(a, b, equal_nan=True):
        return True
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    return bool(np.abs(a - b).max() <= 4 * np.spacing(np.abs(a).max()))


def outcome(number: int, used: Used) -> str:
    """Of one input."""
    rng = np.random.default_rng([SEED, number])
    data = changed(stored(FORMS[number % len(FORMS)]), rng)
    try:
        return computed(from_bytes(data, "model"), rng, used)
    except UserError as reason:
        return "refused" if "\n" not in str(reason) else f"refused in two lines: {reason!r}"
    except Exception as reason:
        return f"{type(reason).__name__}: {reason}".splitlines()[0]


def amx(used: Used) -> list[str]:
    """Whose kernels that only AMX runs are among these: by what is counted."""
    ours = {"sigmabench:" in kernel for kernel in used if "_amx" in kernel}
    return [kind for kind, own in (("own_amx", True), ("onednn_amx", False)) if own in ours]


def main() -> None:
    """See the module."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    first, last = map(int, sys.argv[1:])
    for number in range(first, last):
        print(number, "begun", flush=True)
        used: Used = set()
        print(number, outcome(number, used), flush=True)
        for kind in amx(used):
            print(number, kind, flush=True)


if __name__ == "__main__":
    main()
