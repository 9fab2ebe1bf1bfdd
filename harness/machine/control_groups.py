"""The Linux control groups, of both versions, that limit this process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path


def groups(controller: str, proc: Path) -> Iterator[Path]:
    """Folders of the control groups that can limit a process, each up to its mount.

    Args:
        controller: what they limit, `cpu` or `memory`, as version 1 names it.
        proc: of the process; its `cgroup` and `mountinfo` are read.
    """
    try:
        lines = (proc / "cgroup").read_text().splitlines()
        mounts = (proc / "mountinfo").read_text().splitlines()
    except OSError:
        return
    paths = {}
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" or controller in controllers.split(","):
            paths[number == "0"] = path
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        root, point = (_unescaped(field) for field in before.split()[3:5])
        kind, _, options = after.split()[:3]
        unified = kind == "cgroup2"
        mine = unified or (kind == "cgroup" and controller in options.split(","))
        if mine and unified in paths:
            yield from _up(Path(point), os.path.relpath(paths[unified], root))


def _up(mount: Path, relative: str) -> Iterator[Path]:
    """A group and all above it, the mount's own last; the mount's alone where the group is not
    below it, as in a container that sees no other."""
    group = mount if relative.startswith("..") else mount / relative
    yield group
    while group != mount:
        group = group.parent
        yield group


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda digits: chr(int(digits[1], 8)), field)
