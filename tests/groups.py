"""Control groups as folders of a test."""

from __future__ import annotations

from pathlib import Path


def proc(tmp_path: Path, cgroup: str, *mounts: tuple[str, Path, str, str]) -> Path:
    """A process's folder: its groups, and mounts of (root, point, kind, options)."""
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "cgroup").write_text(cgroup)
    lines = [
        f"{40 + i} 30 0:{i} {root} {str(point).replace(' ', chr(92) + '040')} rw shared:9 - "
        f"{kind} {kind} {options}"
        for i, (root, point, kind, options) in enumerate(mounts)
    ]
    (folder / "mountinfo").write_text("\n".join(lines) + "\n")
    return folder


def group(path: Path, **files: str) -> Path:
    """A control group; `_` in a name stands for the first dot."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("_", ".", 1)).write_text(text)
    return path
