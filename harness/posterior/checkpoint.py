"""Training checkpoints: everything a run needs to go on bit for bit, written atomically."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from ..core.errors import UserError
from ..core.whole import write_atomically
from ..machine.memory_limit import require
from .pickled import read_pickled

_DIGEST = hashlib.sha256().digest_size


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoint of a run that will write `out` lies: beside it, `.checkpoint` added."""
    return out.with_name(out.name + ".checkpoint")


def save_checkpoint(path: Path, run: dict[str, Any], state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) of the run that `run` identifies, atomically.

    The file is the SHA-256 of what follows it, and that is what `torch.save` makes.
    """
    buffer = io.BytesIO()
    torch.save({"run": run, "state": state}, buffer)
    content = buffer.getvalue()
    write_atomically(path, hashlib.sha256(content).digest() + content, durable=True)


def load_checkpoint(path: Path, run: dict[str, Any]) -> dict[str, Any]:
    """The state saved at `path`.

    Args:
        path: the checkpoint.
        run: what identifies the run that wants to go on; it must be what was saved.

    Raises:
        UserError: there is no checkpoint, it is damaged, is of another run, or needs more memory
            than there is.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path} to resume; start again without --resume.")
    damaged = (
        f"The checkpoint {path} is damaged or of another version; remove it and start again "
        "without --resume."
    )
    require(str(path), path.stat().st_size)
    data = path.read_bytes()
    digest, content = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise UserError(damaged)
    try:
        saved = read_pickled(io.BytesIO(content), str(path))
        state, saved_run = dict(saved["state"]), dict(saved["run"])
    except UserError:
        raise
    except Exception as reason:  # the reader trips over foreign bytes in any way
        raise UserError(damaged) from reason
    for key, value in run.items():
        if saved_run.get(key) != value:
            raise UserError(
                f"The checkpoint {path} is of a run with another {key}; start again without "
                "--resume, or with the options it was started with."
            )
    return state
