"""What makes a workload's network, by a name that an interpreter without this package can use."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ..core.deferred import Deferred
from ..machine.torch_state import PlainCall
from .process import PeerError

INSTALLED = ("torch", "torchvision", "timm")  # what every peer's environment has


@dataclass(frozen=True)
class Source:
    """A call that makes a network.

    Attributes:
        source: `module:attribute` of an installed package, else `file.py:attribute`.
        arguments: positional ones, JSON types.
        keywords: by name, JSON types.
    """

    source: str
    arguments: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()

    def job(self) -> dict[str, Any]:
        """As a worker's job holds it."""
        return {**asdict(self), "keywords": dict(self.keywords)}


def source_of(factory: Callable[..., Any]) -> Source:
    """The source of a function or class at the top level of a module, `Deferred` or not, or of a
    `partial` of one, guarded by `PlainCall` or not: a peer's own process has PyTorch as it ships.

    Raises:
        PeerError: it is something else, or its arguments are no JSON types.
    """
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    called: Any = factory.function if isinstance(factory, PlainCall) else factory
    if isinstance(called, partial):
        called, arguments, keywords = called.func, called.args, called.keywords
    if isinstance(called, Deferred):
        called = called.found
    name, module = getattr(called, "__qualname__", ""), getattr(called, "__module__", "")
    if not name.isidentifier() or getattr(sys.modules.get(module), name, None) is not called:
        raise PeerError(
            f"Its network is made by {name or called!r}, which another interpreter cannot name; "
            "make it by a function or class at the top level of a module."
        )
    try:
        json.dumps([arguments, keywords])
    except (TypeError, ValueError):
        raise PeerError(
            f"Its network is made by {name} with arguments that are not plain numbers and text, "
            "which cannot be handed to another interpreter."
        ) from None
    place = module if module.partition(".")[0] in INSTALLED else sys.modules[module].__file__
    return Source(f"{place}:{name}", arguments, tuple(keywords.items()))
