"""Reads the item catalogue: ids and, when configured, titles."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.ids import check_ids
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import check_columns
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.reader import peek, pieces, read_piece
from tfx_pipeline.errors import DataError

_KEY = "data.items"


@dataclass(frozen=True)
class Catalogue:
    """Every item that may be ranked, in the order of the files and their rows."""

    item_ids: pa.Array
    """large_string [items], unique, never null."""
    titles: list[str] | None
    """[items], "" where the catalogue has none; None when no title column is configured."""


def read_catalogue(table: ItemTable) -> Catalogue:
    """Reads ids and titles of the whole catalogue.

    Raises:
        DataError: what `check_catalogue` refuses, no row, a malformed row, or an id that is absent, given twice or
            holds a line break.
    """
    columns = _columns(table)
    check_catalogue(table)
    parts: dict[str, list[pa.Array]] = {column: [pa.array([], pa.large_string())] for column in columns}
    for file in list_files(table):
        for piece in pieces(file):
            for batch in read_piece(piece, columns):
                if batch.malformed:
                    number, row = batch.malformed[0]
                    raise DataError(f"{_KEY}: row {number} of {file.path} is malformed ({row}); repair or remove it")
                for column in columns:
                    parts[column].append(values.text(batch.columns[column]))
    found = {column: pa.concat_arrays(parts[column]) for column in columns}
    ids = found[table.id_column]
    if not len(ids):
        raise DataError(f"{_KEY}: no rows in {table.path}; the catalogue must list every item that may be ranked")
    check_ids(ids, f"{_KEY} ({table.path})")
    return Catalogue(ids, _one_line(found[table.title_column]) if table.title_column else None)


def check_catalogue(table: ItemTable) -> None:
    """Looks at the catalogue's files and columns, not at its rows.

    Raises:
        DataError: no file, unknown format, unreadable file or a missing column.
    """
    try:
        for file in list_files(table):
            peeked = peek(file)
            if peeked.columns or peeked.filled:
                check_columns(file, peeked, dict.fromkeys(_columns(table), values.usable_as_id), [table.id_column])
    except DataError as error:
        raise DataError(f"{_KEY}: {error}") from None


def _columns(table: ItemTable) -> list[str]:
    # The id column may serve as the title.
    return list(dict.fromkeys([table.id_column, *([table.title_column] if table.title_column else [])]))


def _one_line(titles: pa.Array) -> list[str]:
    lines: list[str] = pc.fill_null(pc.replace_substring_regex(titles, r"[\r\n]+", " "), "").to_pylist()
    return lines
