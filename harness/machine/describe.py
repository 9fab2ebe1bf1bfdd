"""What a record was measured on: processor, memory, software, code."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import subprocess
from dataclasses import asdict
from fnmatch import fnmatch
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from ..core.words import plural
from . import counters
from .cores import allowed, binding, quota, usable_cores
from .energy import energy
from .fingerprint import Fingerprint, Machine
from .installed import told_once, torch_installed

#: Instruction sets that decide which kernel runs, as Linux and this project spell them.
ISAS = (
    "avx2",
    "fma",
    "f16c",
    "aes",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_vbmi",
    "avx512_bf16",
    "avx512_fp16",
    "vaes",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)
_SPELLINGS = {
    "avx512vbmi": "avx512_vbmi",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "avxvnni": "avx_vnni",
}
_PACKAGES = ("sigmabench", "torch", "torchvision", "numpy", "scipy", "timm", "onednn-cpu-gomp")
_VARIABLES = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|MALLOC|DNNL|ONEDNN|ATEN|GLIBC)_\w+|LD_PRELOAD|SIGMABENCH_ISA"
)
#: What scikit-learn sets when it is imported, by now or later; of Intel's OpenMP, not of speed.
_BY_SKLEARN = {"KMP_DUPLICATE_LIB_OK": "True", "KMP_INIT_AT_FORK": "FALSE"}
#: What of a checkout computes a result; records and documents do not.
_CODE = ("harness", "workloads", "pyproject.toml", "CMakeLists.txt")
_PACKAGE = Path(__file__).parents[1]
#: What of the package tells and judges results, and can change none that is stored. A module not
#: named here counts as computing: a record too many is measured again rather than one too few.
_TELLING = (
    "api.py", "bundle/*", "claims/*", "cli/*", "history/*", "report/*", "site/*", "training/*",
    *(
        f"core/{name}.py"
        for name in (
            "document", "errors", "escape", "figure", "labels", "sheet", "waiting", "words",
        )
    ),
    *(
        f"records/{name}.py"
        for name in (
            "chosen", "documented", "kind", "nearest", "pack", "record_file", "store", "verdict",
            "*_check",
        )
    ),
    *(
        f"stats/{name}.py"
        for name in (
            "bound", "enough", "equivalence", "pairs", "ranking", "refitted", "served",
            "shifted", "tempered_scores",
        )
    ),
    *(f"measure/{name}.py" for name in ("audits", "estimate", "saturation", "steadiness")),
    *(f"studies/{name}.py" for name in ("driver", "flags", "known", "study", "workers")),
    *(
        f"studies/*/{name}.py"
        for name in (
            "agreement", "analyse", "at_equal_time", "boxes", "*conclusions", "document",
            "numbers", "peer_audits", "referral", "sample", "*figures", "*sheet", "*sheets",
        )
    ),
    "studies/compare/*", "race/rivals.py",
)  # fmt: skip
_CPUS = Path("/sys/devices/system/cpu")
_NODES = Path("/sys/devices/system/node")
_HYPERVISOR = Path("/sys/hypervisor/type")
_FIRMWARE = Path("/sys/class/dmi/id/sys_vendor")


def fingerprint() -> Fingerprint:
    """Machine, software and code of this process. torch is asked for its oneDNN once, when it is
    new (`installed.told_once`)."""
    cpu, isa = _processor()
    return Fingerprint(
        cpu=cpu,
        isa=isa,
        cores=usable_cores(),
        numa_nodes=max(1, len(_numa_nodes())),
        memory_bytes=psutil.virtual_memory().total,
        governor=_read(_CPUS / "cpu0/cpufreq/scaling_governor"),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=_packages(),
        code=_code_hash(),
        commit=_running_commit(),
        environment=_environment(),
        machine=_identity(cpu, isa),
        cpu_quota=quota(),
        computing=computing_hash(),
    )


def this_machine() -> Machine:
    """The identity of the machine that this process runs on; PyTorch is not loaded."""
    return _identity(*_processor())


def _identity(cpu: str, isa: tuple[str, ...]) -> Machine:
    """What the system tells of the whole machine, whatever of it this process may use."""
    vendor, family, model, stepping = (
        _cpuinfo(field) for field in ("vendor_id", "cpu family", "model", "stepping")
    )
    return Machine(
        vendor=vendor,
        name=cpu,
        family=family,
        model=model,
        stepping=stepping,
        isa=isa,
        cores=psutil.cpu_count(logical=False) or 0,
        threads=psutil.cpu_count() or 0,
        caches={name: size for name, (size, _) in _caches().items()},
        hypervisor=_hypervisor(),
    )


def _told(machine: Machine) -> dict[str, Any]:
    return {"hash": machine.hash, **asdict(machine), "isa": list(machine.isa)}


def _hypervisor() -> str:
    """By the name the system gives, else by the firmware's vendor, which is the host's."""
    if "hypervisor" not in _cpuinfo("flags").split():
        return ""
    names = (_read(_HYPERVISOR), _read(_FIRMWARE))
    return next((name for name in names if name), "unnamed")


def describe() -> dict[str, Any]:
    """All that `sigmabench doctor` tells of the machine, ready for JSON.

    What the machine does not tell is the string `unavailable: reason`.
    """
    import torch

    seen = fingerprint()
    memory = psutil.virtual_memory()
    return {
        "cpu": seen.cpu,
        "isa": list(seen.isa),
        "machine": _told(_identity(seen.cpu, seen.isa)),
        "cores": {
            "usable": seen.cores,
            "may_run_on": allowed(),
            "logical": psutil.cpu_count(),
            "physical": psutil.cpu_count(logical=False),
        },
        "cpu_quota": "none" if seen.cpu_quota is None else plural(seen.cpu_quota, "core"),
        "binding": binding() or "none",
        "caches": {name: f"{size}, cpus {shared}" for name, (size, shared) in _caches().items()}
        or "unavailable: the system does not describe them",
        "numa": _numa_nodes() or "unavailable: the system does not describe its nodes",
        "memory": {"total_bytes": memory.total, "available_bytes": memory.available},
        "governor": seen.governor
        or "unavailable: no cpufreq driver here (in a virtual machine the host decides)",
        "turbo": _turbo(),
        "virtual_machine": bool(_hypervisor()),
        "load_average": list(os.getloadavg()),
        "kernel": seen.kernel,
        "python": seen.python,
        "packages": seen.packages,
        "commit": seen.commit or "unavailable: not run in a checkout of sigmabench",
        "environment": seen.environment,
        "torch_threads": {
            "intra_op": torch.get_num_threads(),
            "inter_op": torch.get_num_interop_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
        },
        "hardware_counters": counters.hardware(),
        "dram_counters": counters.dram(),
        "energy": energy(),
    }


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _processor() -> tuple[str, tuple[str, ...]]:
    """Model name and instruction sets: Linux's own account, else py-cpuinfo's (which is slow)."""
    flags, name = set(_cpuinfo("flags").split()), _cpuinfo("model name")
    if not flags or not name:
        import cpuinfo

        told = cpuinfo.get_cpu_info()
        name = name or told.get("brand_raw", platform.processor() or platform.machine())
        flags = flags or set(told.get("flags", []))
    flags = {_SPELLINGS.get(flag, flag) for flag in flags}
    return name, tuple(isa for isa in ISAS if isa in flags)


def instruction_sets() -> tuple[str, ...]:
    """Those of `ISAS` that this CPU has."""
    return _processor()[1]


def has_avx2() -> bool:
    """Whether an x86-64 processor has AVX2; True of others, which have no compiled runtime."""
    return platform.machine() != "x86_64" or "avx2" in instruction_sets()


def _cpuinfo(field: str) -> str:
    """What Linux tells of the first core under a name; empty if it does not."""
    match = re.search(rf"^{field}\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")) or "", re.M)
    return match[1].strip() if match else ""


def _numa_nodes() -> dict[str, str]:
    """CPU list of every memory node that has one."""
    found = {p.name: _read(p / "cpulist") for p in sorted(_NODES.glob("node[0-9]*"))}
    return {name: cpus for name, cpus in found.items() if cpus}


def _caches() -> dict[str, tuple[str, str]]:
    """Size of each cache of the first core, and the cores that share it."""
    caches = {}
    for index in sorted((_CPUS / "cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        suffix = {"Data": "d", "Instruction": "i"}.get(kind or "", "")
        shared = _read(index / "shared_cpu_list")
        caches[f"L{level}{suffix}"] = size or "", shared or "not told"
    return caches


def last_level_cache_bytes() -> int | None:
    """Size of the first core's largest cache (bytes), or None where the machine does not tell."""
    sizes = [_read(path) or "" for path in (_CPUS / "cpu0/cache").glob("index*/size")]
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    return max((int(s[:-1]) * units[s[-1]] for s in sizes if s[-1:] in units), default=None)


def _turbo() -> str:
    no_turbo = _read(_CPUS / "intel_pstate/no_turbo")
    boost = _read(_CPUS / "cpufreq/boost")
    if no_turbo is None and boost is None:
        return "unavailable: neither intel_pstate nor cpufreq reports it"
    return "on" if no_turbo == "0" or boost == "1" else "off"


def _packages() -> dict[str, str]:
    """Versions of what computes; `torch-onednn` is the oneDNN inside torch."""
    found = {name: told for name in _PACKAGES if (told := _version(name))}
    onednn = told_once("torch-onednn", torch_installed(), _onednn_of_torch)
    if onednn:
        found["torch-onednn"] = onednn
    return found


def _onednn_of_torch() -> str | None:
    import torch

    match = re.search(r"(?:MKL-DNN|oneDNN) v([\d.]+)", torch.__config__.show())
    return match[1] if match else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if _VARIABLES.fullmatch(name) and _BY_SKLEARN.get(name) != value
    }


@lru_cache(maxsize=1)
def _running_commit() -> str | None:
    """Asked once, as `_code_hash` is: what is edited later does not run in this process."""
    return _commit(Path.cwd())


def _commit(folder: Path) -> str | None:
    """Commit of the sigmabench checkout that holds `folder`, if it is the code that runs.

    `+dirty.` and a digest of the difference follow where the code differs from it, so that two
    edits of one commit are two fingerprints. None outside a checkout of sigmabench, and where the
    installed modules are not the checkout's.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    if not top:
        return None
    root = Path(top.strip())
    project = _read(root / "pyproject.toml") or ""
    head = (_git(root, "rev-parse", "HEAD") or "").strip()
    if not head or not re.search(r'^name\s*=\s*"sigmabench"', project, re.M):
        return None
    if _modules(root / "harness") != _modules(_PACKAGE):
        return None
    difference = hashlib.sha256()
    changed = _git(root, "diff", "HEAD", "--", *_CODE) or ""
    new = (_git(root, "ls-files", "--others", "--exclude-standard", "--", *_CODE) or "").split("\n")
    difference.update(changed.encode())
    for name in filter(None, new):
        difference.update(name.encode())
        difference.update(_read_bytes(root / name))
    dirty = bool(changed or any(new))
    return f"{head}+dirty.{difference.hexdigest()[:8]}" if dirty else head


def _modules(package: Path) -> dict[str, bytes]:
    """Digest of every Python module and template below a folder, by relative path."""
    files = [*package.rglob("*.py"), *package.rglob("*.jinja")]
    return {
        str(path.relative_to(package)): hashlib.sha256(_read_bytes(path)).digest()
        for path in sorted(files)
    }


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """Of the installed engine: modules, templates and the compiled extension."""
    digest = hashlib.sha256()
    for name, content in _modules(_PACKAGE).items():
        digest.update(name.encode() + content)
    digest.update(_extension())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def computing_hash() -> str:
    """Of what can change a result: modules and the compiled extension."""
    return _hash_of_computing(_PACKAGE)


def _hash_of_computing(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *(package.parent / "workloads").glob("*.py")]):
        name = path.relative_to(package.parent).as_posix()
        if not any(fnmatch(name.removeprefix("harness/"), pattern) for pattern in _TELLING):
            digest.update(name.encode() + hashlib.sha256(_read_bytes(path)).digest())
    digest.update(_extension())
    return digest.hexdigest()[:16]


def _extension() -> bytes:
    """The compiled part; empty where there is none."""
    spec = importlib.util.find_spec("sigmabench.harness.native._native")
    return b"" if spec is None or spec.origin is None else _read_bytes(Path(spec.origin))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, or None where there is no git or no checkout."""
    try:
        ran = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.decode(errors="replace")
