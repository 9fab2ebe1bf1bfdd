"""X"""


def refresh() -> None: ...
