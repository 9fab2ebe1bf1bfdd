"""Names to things: workloads, formats, backends, metrics, ... each one line of registration.

A target is written `"module:attribute"` and imported when it is first asked for, so listing names
costs nothing. Third-party packages register through entry points of the group
`sigmabench.<kind>s` (`sigmabench.workloads`, `sigmabench.backends`, ...).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from .errors import UserError, first_line, unknown
from .escape import visible

T = TypeVar("T")


class Registry(Generic[T]):
    """Lazy, ordered mapping from a name to a `T`.

    Args:
        kind: singular noun used in messages and in the entry-point group `sigmabench.<kind>s`.
        targets: the built-in names, each with its `"module:attribute"`.
        holds: whether a thing is one of these; None: whatever is found.
        plural: of the kind, in the name of the group, where that is not formed with an s.
    """

    def __init__(
        self,
        kind: str,
        targets: dict[str, str],
        holds: Callable[[object], bool] | None = None,
        plural: str = "",
    ) -> None:
        self.kind = kind
        self.group = f"sigmabench.{plural or f'{kind}s'}"
        self._targets = dict(targets)
        self._holds = holds
        self._loaded: dict[str, T] = {}
        self._scanned = False
        self._foreign: set[str] = set()
        #: Name in a package's entry points to why it cannot be used, one sentence each.
        self.broken: dict[str, str] = {}

    def register(self, name: str, target: str) -> None:
        """Add `name`. A name is registered once: a second registration raises `UserError`."""
        if name in self._targets and self._targets[name] != target:
            raise UserError(
                f"The {self.kind} {name!r} is registered twice, as {self._targets[name]} and as "
                f"{target}; uninstall or rename one of them."
            )
        self._targets[name] = target

    def names(self) -> list[str]:
        """Every known name, built-in ones first, without importing anything they point to."""
        self._scan()
        return list(self._targets)

    def get(self, name: str) -> T:
        """The thing called `name`, imported on first use.

        Raises:
            UserError: the name is unknown (with the nearest names), or what it points to fails to
                import (with the reason) or is something else.
        """
        self._scan()
        if name not in self._loaded:
            if name not in self._targets:
                raise unknown(self.kind, name, self._targets)
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def usable(self) -> dict[str, T]:
        """Every name with its thing, but for those of other packages that cannot be loaded: these
        are told of on standard error, once, and kept in `broken`.

        Raises:
            UserError: one of our own cannot be loaded.
        """
        found = {name: self._get_or_leave_out(name) for name in self.names()}
        return {name: thing for name, thing in found.items() if thing is not None}

    def built_in(self, name: str) -> T | None:
        """The thing called `name`, if it is one of our own and not another package's."""
        self._scan()
        return self.get(name) if name in self._targets and name not in self._foreign else None

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for entry in entry_points(group=self.group):
            self._register_foreign(entry.name, entry.value)

    def _register_foreign(self, name: str, target: str) -> None:
        try:
            self.register(name, target)
            self._foreign.add(name)
        except UserError as reason:
            self._leave_out(name, str(reason))

    def _get_or_leave_out(self, name: str) -> T | None:
        try:
            return self.get(name)
        except UserError as reason:
            if name not in self._foreign:
                raise
            self._leave_out(name, str(reason))
            return None

    def _leave_out(self, name: str, reason: str) -> None:
        if self.broken.setdefault(name, reason) is reason:
            line = f"sigmabench: goes on without a {self.kind}. {reason}"
            print(visible(line), file=sys.stderr)

    def _load(self, name: str) -> T:
        target = self._targets[name]
        module, _, attribute = target.partition(":")
        try:
            loaded: T = getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as reason:  # a plugin's import may fail in any way
            raise UserError(
                f"The {self.kind} {name!r} ({target}) cannot be loaded: "
                f"{type(reason).__name__}: {first_line(reason)}; fix or uninstall the package it "
                "comes from."
            ) from reason
        if self._holds is not None and not self._holds(loaded):
            raise UserError(
                f"The {self.kind} {name!r} ({target}) is no {self.kind} but of type "
                f"{type(loaded).__name__}; fix or uninstall the package it comes from."
            )
        return loaded
