"""Where instances are pinned, on machines that are described and not there."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.placement import place
from sigmabench.harness.machine.topology import Cpu, Topology, described

TWO_SOCKETS = Topology.of(2, 16)
SUB_NUMA = Topology.of(2, 16, nodes=2)
SIBLINGS = Topology.of(1, 4, siblings=2)


def nodes_of(topology: Topology, pinned: tuple[int, ...]) -> set[int]:
    return {one.node for one in topology.cpus if one.number in pinned}


def test_a_described_machine_is_numbered_as_linux_has_it() -> None:
    machine = Topology.of(2, 4, nodes=2, siblings=2)
    assert (machine.sockets, machine.nodes, machine.cores, len(machine.cpus)) == (2, 4, 8, 16)
    assert machine.cpus[3] == Cpu(3, core=3, node=1, socket=0)
    assert machine.cpus[12] == Cpu(12, core=4, node=2, socket=1)


def test_instances_of_a_socket_each_have_their_own() -> None:
    first, second = place(TWO_SOCKETS, 2, 16)
    assert (first, second) == (tuple(range(16)), tuple(range(16, 32)))


def test_instances_spread_over_sockets_and_do_not_straddle() -> None:
    found = place(TWO_SOCKETS, 4, 8)
    assert found == tuple(tuple(range(at, at + 8)) for at in (0, 16, 8, 24))
    assert [min(one) for one in place(TWO_SOCKETS, 2, 1)] == [0, 16]


def test_one_instance_has_as_few_nodes_as_hold_it() -> None:
    assert place(TWO_SOCKETS, 1, 20) == ((*range(16), *range(16, 20)),)
    assert nodes_of(SUB_NUMA, place(SUB_NUMA, 1, 8)[0]) == {0}
    assert nodes_of(SUB_NUMA, place(SUB_NUMA, 1, 12)[0]) == {0, 1}  # one socket
    assert [nodes_of(SUB_NUMA, one) for one in place(SUB_NUMA, 2, 12)] == [{0, 1}, {2, 3}]
    assert [nodes_of(SUB_NUMA, one) for one in place(SUB_NUMA, 4, 8)] == [{0}, {1}, {2}, {3}]


def test_what_no_node_has_left_straddles() -> None:
    """Two instances of ten leave six cores on each socket."""
    *others, last = place(TWO_SOCKETS, 3, 10)
    assert [nodes_of(TWO_SOCKETS, one) for one in others] == [{0}, {1}]
    assert nodes_of(TWO_SOCKETS, last) == {0, 1}


def test_siblings_come_last_and_together() -> None:
    assert place(SIBLINGS, 4, 1) == ((0,), (1,), (2,), (3,))
    assert place(SIBLINGS, 1, 4) == ((0, 1, 2, 3),)
    assert place(SIBLINGS, 2, 4) == ((0, 1, 4, 5), (2, 3, 6, 7))
    assert place(SIBLINGS, 8, 1) == tuple((n,) for n in (0, 4, 1, 5, 2, 6, 3, 7))


@pytest.mark.parametrize("machine", [TWO_SOCKETS, SUB_NUMA, SIBLINGS, Topology.of(1, 2)])
def test_no_core_is_given_twice_while_there_are_others(machine: Topology) -> None:
    there = len(machine.cpus)
    for instances, cores in product(range(1, there + 1), repeat=2):
        found = place(machine, instances, cores, oversubscribe=True)
        used = Counter(number for one in found for number in one)
        assert all(len(set(one)) == min(cores, there) for one in found)
        if instances * cores <= there:
            assert max(used.values()) == 1
        elif cores <= there:
            assert len(used) == there
            assert max(used.values()) - min(used.values()) <= 1


def test_more_than_there_are_is_one_sentence() -> None:
    with pytest.raises(UserError) as told:
        place(TWO_SOCKETS, 3, 16)
    assert str(told.value) == (
        "3 instances with 16 cores each need 48, but this process may use 32 cores; give smaller "
        "--instances or --cores, or --oversubscribe."
    )


def test_cores_that_a_process_may_not_use_are_left_out() -> None:
    assert place(TWO_SOCKETS.only({1, 2, 20, 21}), 2, 2) == ((1, 2), (20, 21))


def tree(folder: Path, cpus: dict[int, tuple[int, int, int]], nodes: dict[int, str]) -> Path:
    """What the kernel says of each logical core: package, die, core."""
    for number, told in cpus.items():
        at = folder / "cpu" / f"cpu{number}" / "topology"
        at.mkdir(parents=True)
        for name, value in zip(("physical_package", "die", "core"), told, strict=True):
            (at / f"{name}_id").write_text(f"{value}\n")
    for number, text in nodes.items():
        (folder / "node" / f"node{number}").mkdir(parents=True)
        (folder / "node" / f"node{number}" / "cpulist").write_text(f"{text}\n")
    return folder


def test_what_the_kernel_says_of_a_machine(tmp_path: Path) -> None:
    """Core numbers start anew on each package, and siblings are counted after all cores."""
    cpus = {n: (n % 4 // 2, 0, n % 2) for n in range(8)}
    system = tree(tmp_path, cpus, {0: "0-1,4-5", 1: "2-3,6-7"})
    assert described(system, range(8)) == Topology.of(2, 2, siblings=2)
    assert described(system, [2, 3]).nodes == 1


def test_what_the_kernel_does_not_say_is_one_socket(tmp_path: Path) -> None:
    assert described(tmp_path, range(4)) == Topology.of(1, 4)
