"""Artefacts of every network and format, made once a commit for all benchmarks that load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import quiet
from .common import (
    BATCHES,
    LEFT_OUT,
    SAMPLED,
    SAMPLER,
    artefact,
    cells,
    check,
    load,
    needed,
    tried,
)


def setup_cache() -> dict[tuple[str, str], dict[str, Any]]:
    """By network and format: why there is none, else its bytes on disk, why it does not run, and
    the bytes that a pass moves by batch. The files lie in asv's folder of the cache, where
    benchmarks run."""
    quiet.learn()
    return prepare()


setup_cache.timeout = 900


def prepare() -> dict[tuple[str, str], dict[str, Any]]:
    """See `setup_cache`."""
    wanted = [*cells(), *((SAMPLER, format) for format in SAMPLED.values())]
    return {cell: _written(*cell) for cell in wanted}


def _written(network: str, format: str) -> dict[str, Any]:
    made, why = tried(lambda: artefact(network, format))
    if made is None:
        return why
    path = file(network, format)
    needed("save_artefact")(made, path)
    predictor, why = tried(lambda: load(made, format))
    moved = {} if predictor is None else _moved(predictor)
    return {"bytes": path.stat().st_size, "pass": why, "moved": moved}


def _moved(predictor: Any) -> dict[int, int]:
    return {batch: predictor.traffic(batch).total for batch in BATCHES}


def file(network: str, format: str) -> Path:
    """Of an artefact, in the folder of the cache."""
    return Path(f"{network}-{format}.artefact")


def there(cache: dict[tuple[str, str], dict[str, Any]], network: str, format: str) -> Any:
    """What the cache has of a cell.

    Raises:
        NotImplementedError: the profile leaves it out, or this commit lacks it.
        RuntimeError: it could not be made.
    """
    found = cache.get((network, format), LEFT_OUT)
    check(found)
    return found


def loaded(network: str, format: str) -> Any:
    """A predictor of an artefact of the cache."""
    return load(needed("load_artefact")(file(network, format)), format)
