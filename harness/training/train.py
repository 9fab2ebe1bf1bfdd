"""Training a mean-field Gaussian posterior by the minibatch negative ELBO, from data to file.

Definitions: docs/spec.md, "Posterior".
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..core.checks import check_seed
from ..core.errors import UserError, first_line
from ..core.waiting import about
from ..data.splits import Split, Splits
from ..machine.torch_state import plain
from ..posterior.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from ..posterior.file import save
from ..posterior.posterior import Posterior
from ..posterior.recipe import Recipe
from ..workload.declared import check_network, splits_of
from ..workload.workload import Workload
from .norms import fitted
from .progress import Run
from .score import score

VALIDATION_MC = 50


@dataclass(frozen=True)
class Trained:
    """The outcome of `train`.

    Attributes:
        posterior: the posterior after the last epoch.
        metadata: what its file holds beside the tensors (see `train`).
        path: that file.
    """

    posterior: Posterior
    metadata: dict[str, Any]
    path: Path


@plain
def train(
    workload: Workload,
    recipe: Recipe | str | None = None,
    *,
    out: Path | str,
    seed: int = 0,
    data: Path | str | None = None,
    device: str = "cpu",
    resume: bool = False,
    start: Posterior | None = None,
    command: str | None = None,
    limit: int | None = None,
    progress: bool = True,
) -> Trained:
    """Train a posterior on the training split, score it on the validation split, write it.

    Images that cannot be read are left out. The test split is never touched. A checkpoint lies
    beside `out` until `out` is complete; after Ctrl-C, `resume=True` goes on from the last complete
    epoch, bit for bit on the CPU.

    Args:
        workload: network and data.
        recipe: a `Recipe`, or the name of one of the workload's; by default `workload.recipe()`.
        out: the posterior's file.
        seed: of initialisation, weight noise, order and augmentation.
        data: data root, see `splits.data_root`.
        device: PyTorch device, such as `cpu` or `cuda`.
        resume: go on from the checkpoint beside `out`.
        start: posterior to start from, such as `moped(...)`. By default the module's own
            initialisation with σ = `recipe.initial_std` or, for a recipe with `delta`, the
            workload's twin.
        command: what to record as the command that repeats this run; `sigmabench train ...` by
            default.
        limit: use only the first images of the training split.
        progress: show a progress bar.

    Returns:
        The posterior, its path and its metadata: `workload`, `workload_version`, `recipe` (every
        field), `command`, `seed`, `epochs`, `kl_temperature`, `prior_std`, `train_images`,
        `train_data` (a digest of them), `network` (a digest, empty where the version says it),
        `versions`, `device`, `threads`, `final_loss` (mean negative ELBO of the last epoch), `log`
        (mean loss and mean negative log-likelihood of each epoch) and `validation` (`mc`, `seed`,
        `images` and the scores of `score.REPORTED`), and `skipped`, names of images that were left
        out, where there are some.

    Raises:
        UserError: bad seed, recipe name, data, device or checkpoint; training diverged; `out` is
            there already or cannot be written.
    """
    check_seed(seed)
    out = Path(out)
    chosen = recipe if isinstance(recipe, Recipe) else workload.recipe(recipe)
    _check_out(out, resume)
    splits = splits_of(workload, data)
    with torch.random.fork_rng(devices=[]):
        check_network(workload, splits, workload.model())
    train, validation = splits.train.limit(limit).readable(), splits.validation.readable()
    splits = replace(splits, train=train, validation=validation)
    given, start = start, _start_of(workload, chosen, start, data)
    with _environment(chosen.threads):
        run = Run.begin(workload, chosen, seed, _device(device), start)
        identity = _identity(workload, chosen, seed, splits, start, device)
        checkpoint = checkpoint_path(out)
        _resume_or_mark(run, checkpoint, identity, resume)
        for _ in _epochs(run, chosen.epochs, splits.train, progress):
            save_checkpoint(checkpoint, identity, run.snapshot())
        if progress:
            print("scoring the validation split", file=sys.stderr, flush=True)
        posterior = run.posterior().scaled(chosen.sigma_scale)
        if chosen.norm_passes:
            posterior = fitted(
                workload.model(), posterior, splits.train, chosen.norm_passes, chosen.batch, seed
            )
        metadata = {
            **identity,
            **_outcome(run, chosen),
            "command": command or _command(workload, chosen, seed, given, limit),
            "validation": _validation(workload, posterior, splits.validation, seed),
        }
        if lost := (*train.skipped, *validation.skipped):
            metadata["skipped"] = list(lost)
    save(posterior, out, metadata)
    checkpoint.unlink(missing_ok=True)
    return Trained(posterior, metadata, out)


def _check_out(out: Path, resume: bool) -> None:
    if out.is_dir():
        raise UserError(f"{out} is a directory; name the posterior's file.")
    if out.exists() and not resume:
        raise UserError(
            f"{out} is there already; choose another name for --out, or remove it. --resume goes "
            "on with a run that was stopped."
        )


def _epochs(run: Run, count: int, split: Split, progress: bool) -> Iterator[int]:
    """Train up to `count` epochs; each that is done."""
    with _bar(progress, run, split) as report:
        while run.epoch < count:
            started = time.monotonic()
            run.train_epoch(split, report)
            if progress and not sys.stderr.isatty():
                _tell(run, time.monotonic() - started)
            yield run.epoch


def _start_of(
    workload: Workload, recipe: Recipe, start: Posterior | None, data: Path | str | None
) -> Posterior | None:
    """What was given, else the twin where the recipe starts from a trained network."""
    if start is None and recipe.delta is not None:
        return workload.load_twin(data)[0]
    return start


def _resume_or_mark(run: Run, checkpoint: Path, identity: dict[str, Any], resume: bool) -> None:
    """Go on from the checkpoint, or write the first one; one that is there is not overwritten."""
    if resume:
        run.restore(load_checkpoint(checkpoint, identity))
    elif checkpoint.exists():
        raise UserError(
            f"There is a checkpoint {checkpoint} of a run that was stopped; add --resume to go "
            "on from it, or delete it to start again."
        )
    else:
        save_checkpoint(checkpoint, identity, run.snapshot())


def _outcome(run: Run, recipe: Recipe) -> dict[str, Any]:
    """What the file tells of the run beside its identity."""
    return {
        "epochs": recipe.epochs,
        "kl_temperature": recipe.kl_temperature,
        "prior_std": recipe.prior_std,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": recipe.threads,
        "final_loss": run.loss if run.log else None,
        "log": run.log,
    }


def _validation(
    workload: Workload, posterior: Posterior, split: Split, seed: int
) -> dict[str, float]:
    mc = VALIDATION_MC if any(bool(std.any()) for std in posterior.std().values()) else 1
    scores = score(workload.model(), posterior, split, mc=mc, seed=seed)
    return {"mc": mc, "seed": seed, "images": len(split), **scores}


def _command(
    workload: Workload, recipe: Recipe, seed: int, start: Posterior | None, limit: int | None
) -> str:
    if workload.recipes.get(recipe.name) == recipe and start is None:
        return train_command(workload.name, recipe.name, seed, limit)
    return "sigmabench.harness.training.train.train(...), called from Python"


def train_command(workload: str, recipe: str, seed: int, limit: int | None = None) -> str:
    """The command line that repeats a run."""
    command = f"sigmabench train {workload} --recipe {recipe} --seed {seed}"
    return command if limit is None else f"{command} --limit {limit}"


def default_path(workload: str, recipe: str, seed: int) -> Path:
    """Where a run's posterior goes when nothing else is said: the current directory."""
    return Path(f"{workload}-{recipe}-seed{seed}.safetensors")


def _identity(
    workload: Workload,
    recipe: Recipe,
    seed: int,
    splits: Splits,
    start: Posterior | None,
    device: str,
) -> dict[str, Any]:
    """What must be equal for a checkpoint to be of the same run."""
    return {
        "workload": workload.name,
        "workload_version": workload.version,
        "recipe": recipe.as_metadata(),
        "seed": seed,
        "train_images": len(splits.train),
        "train_data": splits.train.digest(),
        "network": workload.network_digest(),
        "start": start.content_hash() if start else "scratch",
        "device": device,
    }


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as reason:
        raise UserError(
            f"The device {name!r} cannot be used ({first_line(reason)}); try cpu."
        ) from reason
    return device


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """The recipe's thread count and a private copy of the global generator's state."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def _tell(run: Run, seconds: float) -> None:
    """One line per epoch where nobody watches the bar."""
    done = f"epoch {run.epoch} of {run.recipe.epochs}"
    nll = run.log[-1]["nll_nats"]
    more = run.recipe.epochs - run.epoch
    left = f", {about(seconds * more)} left" if more else ""
    print(
        f"{done}: loss {run.loss:.4f}, nll {nll:.4f}, {seconds:.0f} s{left}",
        file=sys.stderr,
        flush=True,
    )


@contextmanager
def _bar(show: bool, run: Run, split: Split) -> Iterator[Callable[[float], None]]:
    console = Console(stderr=True)
    room = console.width - 58  # numbers are never cut: first the bar goes, then what is left to do
    columns: list[ProgressColumn] = [
        MofNCompleteColumn(),
        TextColumn("steps, loss {task.fields[loss]:.4f}"),
    ]
    if room >= 0:
        columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    if room >= 4:
        columns.insert(0, BarColumn(min(40, room)))
    steps = run.steps(split)
    disable = not (show and sys.stderr.isatty())
    with Progress(*columns, console=console, disable=disable) as progress:
        task = progress.add_task(
            "", total=run.recipe.epochs * steps, completed=run.epoch * steps, loss=run.loss
        )
        yield lambda loss: progress.update(task, advance=1, loss=loss)
