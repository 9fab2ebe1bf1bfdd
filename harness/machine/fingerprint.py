"""Where a record was made: the machine, which its hash names, and the software on it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ..core.words import plural

IN_PART = "machine recorded in part"
_INT8_UNITS = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "avx2": "AVX2"}


@dataclass(frozen=True)
class Machine:
    """What sets one machine apart from another of the same name.

    What the system does not tell is empty, or 0.

    Attributes:
        vendor: of the processor.
        name: of its model.
        family: number.
        model: number.
        stepping: number.
        isa: instruction sets that matter here and that the processor has.
        cores: physical cores of the machine, whoever may use them.
        threads: logical ones.
        caches: size of each cache of the first core, by level and kind.
        hypervisor: what runs the virtual machine; `unnamed` where it does not say, empty on bare
            metal.
    """

    vendor: str
    name: str
    family: str
    model: str
    stepping: str
    isa: tuple[str, ...]
    cores: int
    threads: int
    caches: dict[str, str]
    hypervisor: str

    @property
    def hash(self) -> str:
        """8 hex digits of the SHA-256 of all fields: the machine's name among machines."""
        return _hash(self)


def _hash(machine: Machine) -> str:
    text = json.dumps(vars(machine), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Fingerprint:
    """Machine and software a record was made on.

    Attributes:
        cpu: model name of the processor.
        isa: instruction sets that matter here and that the processor has.
        cores: cores this process may keep busy: those it was started on, and no more than whole
            cores of the CPU quota, but at least 1.
        numa_nodes: memory nodes.
        memory_bytes: physical memory.
        governor: frequency governor, or None where the machine does not tell.
        kernel: operating system and its release.
        python: version.
        packages: versions of sigmabench, torch, oneDNN and what else computes.
        code: first 16 hex digits of the SHA-256 of all installed code, compiled part included.
        commit: git commit of the code, with `+dirty.` and a digest of the difference if the code
            differs from it; None outside a checkout.
        environment: thread and allocator settings that change speed, by variable.
        machine: the whole identity of the machine; None in records made before it was recorded.
        cpu_quota: processor time the control groups allow, in cores; None without a limit.
        computing: as `code`, of the part of it that can change a result; None in records made
            before it was recorded.
    """

    cpu: str
    isa: tuple[str, ...]
    cores: int
    numa_nodes: int
    memory_bytes: int
    governor: str | None
    kernel: str
    python: str
    packages: dict[str, str]
    code: str
    commit: str | None
    environment: dict[str, str]
    machine: Machine | None = None
    cpu_quota: float | None = None
    computing: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What records must share for one to stand for the other: the machine and how much of it a
        process may use, the software and settings that compute, the code that computes. Kernel,
        commit and the rest are told and decide nothing."""
        packages = {name: of for name, of in self.packages.items() if name != "sigmabench"}
        return {
            "machine": None if self.machine is None else vars(self.machine),
            "cores": self.cores,
            "cpu_quota": self.cpu_quota,
            "packages": packages,
            "environment": self.environment,
            "computing": self.computing,
        }

    @property
    def place(self) -> tuple[object, ...]:
        """What records must share to stand in one table: the machine, and how much of it a process
        may use. A machine recorded in part has a place of its own kind."""
        return _place(self)

    @property
    def place_name(self) -> str:
        """8 hex digits of a hash of `place`, for the names of files."""
        return hashlib.sha256(repr(self.place).encode()).hexdigest()[:8]

    @property
    def shown(self) -> str:
        """The machine in words: the processor's name and what sets it apart."""
        cores = f"{self.cores} core{'' if self.cores == 1 else 's'}"
        told = [self.cpu, *units_of(self.isa), cores]
        if self.cpu_quota is not None:
            told.append(f"CPU quota {plural(self.cpu_quota, 'core')}")
        named = IN_PART if self.machine is None else f"machine {self.machine.hash}"
        return f"{', '.join(told)} ({named})"


def _place(made: Fingerprint) -> tuple[object, ...]:
    if made.machine is None:
        return IN_PART, made.cpu, made.isa, made.cores, made.memory_bytes
    return made.machine.hash, made.cores, made.cpu_quota


def units_of(isa: tuple[str, ...]) -> list[str]:
    """What multiplies int8, in words: two machines of one name most often differ in it."""
    vector = next((name for flag, name in _INT8_UNITS.items() if flag in isa), None)
    if vector is None:
        return []
    return [vector, "AMX" if "amx_int8" in isa else "no AMX"]
