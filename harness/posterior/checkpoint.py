"""Training checkpoints: everything a run needs to go on bit for bit, written atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..files import write_atomically


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoint of a run that will write `out` lies: beside it, `.checkpoint` added."""
    return out.with_name(out.name + ".checkpoint")


def save_checkpoint(path: Path, run: dict[str, Any], state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) of the run that `run` identifies, atomically."""
    buffer = io.BytesIO()
    torch.save({"run": run, "state": state}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, run: dict[str, Any]) -> dict[str, Any]:
    """The state saved at `path`.

    Args:
        path: the checkpoint.
        run: what identifies the run that wants to go on; it must be what was saved.

    Raises:
        UserError: there is no checkpoint, it is damaged, or it is of another run.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path} to resume; start again without --resume.")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        state, saved_run = dict(saved["state"]), dict(saved["run"])
    except Exception as reason:  # the reader trips over foreign bytes in any way
        raise UserError(
            f"The checkpoint {path} is damaged or foreign; start again without --resume."
        ) from reason
    for key, value in run.items():
        if saved_run.get(key) != value:
            raise UserError(
                f"The checkpoint {path} is of a run with another {key}; start again without "
                "--resume, or with the options it was started with."
            )
    return state
