"""Exported values as CSV, as JSON Lines, and as Parquet: one row per value, however many there are.

Of a record, what its values share is written out once in memory, and then before each of them.
Parquet is made by DuckDB of two files of JSON Lines, of the records and of their values: it reads
them piece by piece.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.temporary import temporary_beside
from ..core.whole import put_atomically, storable_json, text_path
from ..core.words import csv_cell
from .export_columns import NUMBER, TEXT, TRUTH, VALUE_COLUMNS, WHOLE

#: What the values of a record share, and the values: cells by column.
Rows = tuple[dict[str, Any], Sequence[dict[str, Any]]]

EXPORT_FORMATS = ("csv", "jsonl", "parquet")
_SQL_TYPES = {TEXT: "VARCHAR", WHOLE: "BIGINT", NUMBER: "DOUBLE", TRUTH: "BOOLEAN"}
_NUMBER = "number of the record"  # no column has blanks in its name
_GROUP = 10_240  # rows that DuckDB holds at once
_MEMORY = "1GB"


def csv_text(columns: Mapping[str, str], rows: Iterable[Rows]) -> Iterator[str]:
    """CSV, a record at a time; text that a spreadsheet would take for a formula begins with an
    apostrophe.

    Args:
        columns: of the records, with what they hold.
        rows: of each record.
    """
    yield _csv_line([*columns, *VALUE_COLUMNS])
    for shared, values in rows:
        start = _csv_line(shared.values()).rstrip("\n")
        yield "".join(f"{start},{_csv_line(one.values())}" for one in values)


def _csv_line(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([csv_cell(_word(cell)) for cell in cells])
    return out.getvalue()


def _word(cell: Any) -> Any:
    return str(cell).lower() if isinstance(cell, bool) else cell


def jsonl_text(columns: Mapping[str, str], rows: Iterable[Rows]) -> Iterator[str]:
    """JSON Lines, a record at a time; see `csv_text`."""
    for shared, values in rows:
        start = storable_json(shared)[:-2]
        yield "".join(f"{start},{storable_json(one)[1:]}" for one in values)


def write_text(path: Path, pieces: Iterable[str]) -> None:
    """Put text into a file, whole or not at all.

    Raises:
        UserError: the place cannot be written to.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(pieces)

    put_atomically(path, write)


def write_parquet(path: Path, columns: Mapping[str, str], rows: Iterable[Rows]) -> None:
    """Put a Parquet file in its place, whole or not at all; see `csv_text`.

    Raises:
        UserError: DuckDB is not installed, or the place cannot be written to.
    """
    duckdb = _duckdb()

    def write(temporary: Path) -> None:
        with _lines(path) as records, _lines(path) as values:
            _write_lines(records, values, rows)
            try:
                _copy(duckdb, (records, values, temporary), columns)
            except duckdb.Error as reason:
                raise OSError(str(reason).splitlines()[0]) from reason

    put_atomically(path, write)


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as reason:
        raise UserError(
            "Parquet takes the package duckdb, which is not installed; "
            "`pip install 'sigmabench[parquet]'` installs it, or give --format csv or jsonl."
        ) from reason
    return duckdb


@contextmanager
def _lines(path: Path) -> Iterator[Path]:
    """A file beside that which is written, as large as it takes."""
    made = temporary_beside(path)
    try:
        yield made
    finally:
        made.unlink(missing_ok=True)


def _write_lines(records: Path, values: Path, rows: Iterable[Rows]) -> None:
    with (
        records.open("w", encoding="utf-8") as shared_lines,
        values.open("w", encoding="utf-8") as value_lines,
    ):
        for number, (shared, each) in enumerate(rows):
            shared_lines.write(storable_json({**shared, _NUMBER: number}))
            value_lines.writelines(storable_json({**one, _NUMBER: number}) for one in each)


def _copy(duckdb: Any, files: tuple[Path, Path, Path], columns: Mapping[str, str]) -> None:
    """Values in their order, each beside its record. The order is kept where one thread joins, and
    records are what is held in memory where no optimizer changes sides."""
    with text_path(files[0]) as records, text_path(files[1]) as values, text_path(files[2]) as out:
        settings = {
            "threads": 1,
            "memory_limit": _MEMORY,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(config=settings) as connection:
            connection.execute("SET enable_progress_bar = false")
            connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            connection.execute(f"CREATE TABLE records AS {_read(records, columns)}")
            connection.execute(
                f'COPY (SELECT r.* EXCLUDE ("{_NUMBER}"), v.* EXCLUDE ("{_NUMBER}") '
                f'FROM ({_read(values, VALUE_COLUMNS)}) v JOIN records r USING ("{_NUMBER}")) '
                f"TO {_text(out)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP}, "
                "USE_TMP_FILE false)"
            )


def _read(path: str, columns: Mapping[str, str]) -> str:
    """A query of JSON Lines with these columns."""
    types = {name: _SQL_TYPES[holds] for name, holds in columns.items()} | {_NUMBER: "BIGINT"}
    struct = ", ".join(f"{_text(name)}: {_text(of)}" for name, of in types.items())
    return (
        f"SELECT * FROM read_json({_text(path)}, format = 'newline_delimited', "
        f"columns = {{{struct}}}, maximum_object_size = {1 << 27})"
    )


def _text(words: str) -> str:
    """As a string of SQL."""
    return "'" + words.replace("'", "''") + "'"
