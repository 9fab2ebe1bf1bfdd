"""Something at the top level of a module, by name: imported when it is called."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Deferred:
    """A function or class that a declaration names without importing it.

    Attributes:
        target: `module:attribute`.
    """

    target: str

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.found(*arguments, **keywords)

    @property
    def found(self) -> Any:
        """What it names."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)
