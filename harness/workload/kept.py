"""Arrays that take long to find for a shipped workload, kept for all processes and commands.

    <XDG_CACHE_HOME or ~/.cache>/sigmabench/installed/<question>/<key>

They count while workload, code and machine are as they were. A file is the SHA-256 of what follows
it, and that is a safetensors file; one that is damaged, or cannot be written, is as good as none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.contents import cache_home
from ..core.errors import UserError
from ..core.whole import content_hash, write_atomically
from ..machine.describe import computing_hash, fingerprint
from ..machine.installed import torch_installed

if TYPE_CHECKING:
    from torch import Tensor

    from .workload import Workload

#: Files of a question at most; the oldest go.
_MOST = 16
_DIGEST = hashlib.sha256().digest_size


def kept(
    workload: Workload, question: str, choices: object, make: Callable[[], Mapping[str, Tensor]]
) -> Mapping[str, Tensor]:
    """The answer to a question about a workload, from the cache or made now.

    Args:
        workload: that it is about.
        question: a word, the name of the answers' folder.
        choices: what the answer depends on beside workload, code and machine; JSON types.
        make: gives the answer; always asked of a workload whose version does not say what its data
            are.
    """
    if not workload.ships or workload.digest_data:
        return make()
    depends_on = [
        *(workload.name, workload.version, choices),
        *(computing_hash(), list(map(str, fingerprint().place)), list(torch_installed())),
    ]
    key = content_hash(json.dumps(depends_on, sort_keys=True))
    path = cache_home() / "installed" / question / key
    found = _read(path)
    if found is None:
        found = make()
        _write(path, found)
    return found


def _read(path: Path) -> Mapping[str, Tensor] | None:
    import safetensors.torch

    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, content = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        return None
    return safetensors.torch.load(content)


def _write(path: Path, found: Mapping[str, Tensor]) -> None:
    import safetensors.torch

    tensors = {name: tensor.contiguous() for name, tensor in found.items()}
    content = safetensors.torch.save(tensors)
    try:
        write_atomically(path, hashlib.sha256(content).digest() + content)
        files = sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime_ns)
        for old in files[:-_MOST]:
            old.unlink(missing_ok=True)
    except (OSError, UserError):
        return  # it is made again next time
