"""Where the oneDNN wheels put their headers and library: for CMake, and at run time."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

RUNTIME = "onednn-cpu-gomp"
HEADERS = "onednn-devel-cpu-gomp"


def installed_file(distribution: str, name: str) -> Path | None:
    """The file of that name which an installed distribution owns, or None."""
    try:
        owned = files(distribution) or []
    except PackageNotFoundError:
        return None
    for file in owned:
        path = Path(str(file.locate())).resolve()
        if file.name == name and path.exists():
            return path
    return None


def main() -> int:
    """Print `include directory;library` for CMake; 1 if either is missing."""
    header = installed_file(HEADERS, "dnnl.hpp")
    library = installed_file(RUNTIME, "libdnnl.so.3")
    if header is None or library is None:
        return 1
    print(f"{header.parent};{library}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
