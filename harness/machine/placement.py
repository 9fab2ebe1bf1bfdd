"""Which logical cores each of several instances is pinned to: a function of a described topology.

1. Where the physical cores suffice, an instance has one logical core of each of its own; where they
   do not, it has all siblings of a physical core before it has some of another.
2. An instance lies on one memory node if that has as many cores left as it needs, else on one
   socket, else on as few nodes as hold it: weights, activations and threads are near each other.
3. Of several nodes it takes the one with most cores left, so that instances spread over nodes and
   their memory; of equal ones the first.
4. Beyond the cores that there are, each core has as many instances as any other, or one more.

Memory follows without being asked: an instance is pinned before it allocates anything, and Linux
puts a page on the node of the core that first writes to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ..core.errors import UserError
from ..core.words import plural, verb
from .topology import Cpu, Topology

#: Numbers of the logical cores that one instance is pinned to.
Pinned = tuple[int, ...]


def place(
    topology: Topology, instances: int, cores: int, oversubscribe: bool = False
) -> tuple[Pinned, ...]:
    """The logical cores of each instance.

    Args:
        topology: what there is.
        instances: how many.
        cores: that each of them uses.
        oversubscribe: whether they may be more than there are.

    Raises:
        UserError: they are, and may not be.
    """
    check_room(instances, cores, len(topology.cpus), oversubscribe)
    pool = _pool(topology, instances * cores)
    load = Counter({one.number: 0 for one in pool})
    found = []
    for _ in range(instances):
        chosen = _nearest(pool, load, min(cores, len(pool)))
        load.update(chosen)
        found.append(tuple(sorted(chosen)))
    return tuple(found)


#: Up to so many cores all numbers are tried, beyond it powers of two and all there are.
_EACH = 8


def ladder(cores: int) -> list[int]:
    """Numbers of cores to try on a machine with so many."""
    counts = {*range(1, min(cores, _EACH) + 1), cores}
    size = _EACH
    while size < cores:
        counts.add(size)
        size *= 2
    return sorted(counts)


def divisions(cores: int) -> list[tuple[int, int]]:
    """All cores, divided evenly among instances: how many, and the cores of each."""
    return [(n, cores // n) for n in ladder(cores) if cores % n == 0]


def check_room(instances: int, cores: int, there: int, oversubscribe: bool) -> None:
    """Refuse more instances than cores, unless that is asked for.

    Raises:
        UserError: with both numbers.
    """
    if instances * cores > there and not oversubscribe:
        needed = f"{verb(instances, 'needs', 'need')} {instances * cores:,}"
        raise UserError(
            f"{instances_of(instances, cores)} {needed}, but this process may use "
            f"{plural(there, 'core')}; give smaller --instances or --cores, or --oversubscribe."
        )


def instances_of(instances: int, cores: int) -> str:
    """How many with how many cores, in words."""
    each = " each" if instances > 1 else ""
    return f"{plural(instances, 'instance')} with {plural(cores, 'core')}{each}"


def _pool(topology: Topology, wanted: int) -> list[Cpu]:
    """The logical cores that are used: one of each physical core where these suffice."""
    cpus = sorted(topology.cpus, key=lambda one: (one.node, one.core, one.number))
    first = {one.core: one for one in reversed(cpus)}
    return [one for one in cpus if wanted > len(first) or first[one.core] is one]


def _nearest(pool: Sequence[Cpu], load: Counter[int], count: int) -> list[int]:
    """The least loaded cores, as near to each other as they can be."""
    least = min(load.values())
    free = Counter(one.node for one in pool if load[one.number] == least)

    def rank(one: Cpu) -> tuple[int, ...]:
        return load[one.number], -free[one.node], one.node, one.core, one.number

    def lightest(cpus: Sequence[Cpu]) -> list[Cpu]:
        return sorted(cpus, key=rank)[:count]

    def cost(cpus: Sequence[Cpu]) -> int:
        return sum(load[one.number] for one in lightest(cpus))

    best = cost(pool)
    for part in (lambda one: one.node, lambda one: one.socket):
        parts = [own for own in _parts(pool, part) if len(own) >= count and cost(own) == best]
        if parts:
            spare = [sum(load[one.number] == least for one in own) for own in parts]
            pool = parts[spare.index(max(spare))]
            break
    return [one.number for one in lightest(pool)]


def _parts(pool: Sequence[Cpu], part: Callable[[Cpu], int]) -> list[list[Cpu]]:
    found: dict[int, list[Cpu]] = {}
    for one in pool:
        found.setdefault(part(one), []).append(one)
    return list(found.values())
