"""Work that no commit changes: what ours is divided by, and what shows that somebody disturbs us.

It lies here and not in the library: asv takes the suite from the checkout that it runs in, and the
library from the commit that it measures.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable

Work = Callable[[], None]

_DATA = bytes(1 << 20)
#: What a fresh interpreter imports, of its standard library: about as long as our command line.
_IMPORTS = (
    "import asyncio, concurrent.futures, email.message, http.client, sqlite3, xml.dom.minidom"
)


def hashing(units: int) -> None:
    """SHA-256 of so many MiB: a chain in which every step waits for the one before, so that its
    time follows the core's clock and hardly anything else."""
    for _ in range(units):
        hashlib.sha256(_DATA).digest()


def product(side: int = 256, count: int = 5) -> Work:
    """So many products of two float32 matrices by PyTorch, on one core, into memory that was
    written to before: they suffer where `hashing` does not. PyTorch keeps to that core then."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(side, side, generator=generator) for _ in range(2))
    out = torch.zeros(side, side)

    def work() -> None:
        for _ in range(count):
            torch.mm(first, second, out=out)

    work()
    return work


def interpreter() -> None:
    """A fresh interpreter that imports a part of its library."""
    fresh(_IMPORTS)


def fresh(code: str) -> None:
    """Run code in a fresh interpreter."""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
