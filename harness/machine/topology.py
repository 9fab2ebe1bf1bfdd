"""Where the logical cores of a machine lie: on which physical core, memory node and socket."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .cores import allowed

_SYSTEM = Path("/sys/devices/system")


@dataclass(frozen=True)
class Cpu:
    """A logical core.

    Attributes:
        number: as the system counts it.
        core: the physical core, counted over the whole machine.
        node: the memory node (NUMA).
        socket: the processor package.
    """

    number: int
    core: int
    node: int
    socket: int


@dataclass(frozen=True)
class Topology:
    """Logical cores, by number."""

    cpus: tuple[Cpu, ...]

    @classmethod
    def of(cls, sockets: int, cores: int, *, nodes: int = 1, siblings: int = 1) -> Topology:
        """A machine by its description. Numbers run over all cores first, then over their second
        siblings, as Linux has it.

        Args:
            sockets: how many.
            cores: physical cores of each socket.
            nodes: memory nodes of each socket (sub-NUMA clustering), a divisor of its cores.
            siblings: logical cores of each physical one.
        """
        return cls(
            tuple(
                Cpu(number, core, core * nodes // cores, core // cores)
                for number in range(sockets * cores * siblings)
                for core in (number % (sockets * cores),)
            )
        )

    def only(self, numbers: Collection[int]) -> Topology:
        """The part that a process may use."""
        return Topology(tuple(one for one in self.cpus if one.number in numbers))

    @property
    def cores(self) -> int:
        """Physical cores."""
        return len({one.core for one in self.cpus})

    @property
    def nodes(self) -> int:
        """Memory nodes."""
        return len({one.node for one in self.cpus})

    @property
    def sockets(self) -> int:
        """Processor packages."""
        return len({one.socket for one in self.cpus})


def topology(system: Path = _SYSTEM) -> Topology:
    """The logical cores that this process may use. What the system does not tell is taken to be one
    socket with one node, and a physical core for each logical one.

    Args:
        system: of the kernel's description of the machine.
    """
    return described(system, allowed())


def described(system: Path, numbers: Collection[int]) -> Topology:
    """Logical cores as the kernel describes them.

    Args:
        system: folder that holds `cpu` and `node`.
        numbers: of logical cores.
    """
    nodes = {
        cpu: int(path.name.removeprefix("node"))
        for path in sorted((system / "node").glob("node[0-9]*"))
        for cpu in _listed(_text(path / "cpulist"))
    }
    places: dict[tuple[int, ...], int] = {}
    found = []
    for number in sorted(numbers):
        folder = system / "cpu" / f"cpu{number}" / "topology"
        told = [_text(folder / f"{name}_id") for name in ("physical_package", "die", "core")]
        socket, die = (int(one) if one.isdecimal() else 0 for one in told[:2])
        core = int(told[2]) if told[2].isdecimal() else number
        place = places.setdefault((socket, die, core), len(places))
        found.append(Cpu(number, place, nodes.get(number, 0), socket))
    return Topology(tuple(found))


def _listed(text: str) -> list[int]:
    """Numbers of a list such as `0-3,8`."""
    found: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found += range(int(first), int(last or first) + 1)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
