"""Reads the item catalogue: ids and, when configured, titles and columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.item_columns import CategoricalItemColumn, ItemColumn
from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.ids import check_ids
from tfx_pipeline.data.content.item_columns import ItemColumnTable, build_column, fits, in_one_form
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import Fits, check_columns
from tfx_pipeline.data.logs.files import LogFile, list_files
from tfx_pipeline.data.logs.reader import RawBatch, peek, pieces, read_piece
from tfx_pipeline.errors import DataError

_KEY = "data.items"


ItemColumns = Mapping[str, ItemColumn]


@dataclass(frozen=True)
class Catalogue:
    """Every item that may be ranked, in the order of the files and their rows."""

    item_ids: pa.Array
    """large_string [items], unique, never null."""
    titles: list[str] | None
    """[items], "" where the catalogue has none; None when no title column is configured."""
    columns: dict[str, ItemColumnTable] = field(default_factory=dict)
    """by the name of the feature"""


def read_catalogue(
    table: ItemTable, columns: ItemColumns | None = None, like: Mapping[str, ItemColumnTable] | None = None
) -> Catalogue:
    """Reads ids, titles and columns of the whole catalogue.

    Args:
        table: section `data.items` of the configuration.
        columns: section `features.item`.
        like: earlier tables of these columns, whose vocabularies and scaling are taken; None: those of this catalogue.

    Raises:
        DataError: what `check_catalogue` refuses, no row, a malformed row, or an id that is absent, given twice or
            holds a line break; or a column that cannot be made `like` it was.
    """
    columns = columns or {}
    check_catalogue(table, columns)
    texts = _text_columns(table)
    lists = {_source(name, column) for name, column in columns.items() if _multiple(column)}
    parts: dict[str, list[pa.Array]] = {column: [pa.array([], pa.large_string())] for column in texts}
    batches: dict[str, list[pa.Array]] = {name: [] for name in columns}
    no_number = dict.fromkeys(columns, 0)
    wanted = list(dict.fromkeys([*texts, *(_source(name, column) for name, column in columns.items())]))
    for file, batch in catalogue_batches(table, wanted, lists):
        for name in texts:
            parts[name].append(values.text(batch.columns[name]))
        for name, column in columns.items():
            source = _source(name, column)
            try:
                in_form, bad = in_one_form(batch.columns[source], column)
            except DataError as error:
                raise DataError(f"features.item.{name}: '{source}' of {file.path} {error}") from None
            batches[name].append(in_form)
            no_number[name] += bad
    found = {column: pa.concat_arrays(parts[column]) for column in texts}
    ids = found[table.id_column]
    check_item_ids(ids, table)
    built = {}
    for name, column in columns.items():
        try:
            earlier = None if like is None else like[name]
            built[name] = build_column(pa.concat_arrays(batches[name]), column, no_number[name], earlier)
        except DataError as error:
            raise DataError(f"features.item.{name}: {error}") from None
    return Catalogue(ids, _one_line(found[table.title_column]) if table.title_column else None, built)


def catalogue_batches(
    table: ItemTable, columns: Sequence[str], lists: Collection[str] = ()
) -> Iterator[tuple[LogFile, RawBatch]]:
    """The rows of all files, in their order.

    Args:
        table: section `data.items` of the configuration.
        columns: that are read.
        lists: those of them that may hold lists.

    Raises:
        DataError: a malformed row.
    """
    for file in list_files(table):
        for piece in pieces(file):
            for batch in read_piece(piece, columns, lists):
                if batch.malformed:
                    number, row = batch.malformed[0]
                    raise DataError(f"{_KEY}: row {number} of {file.path} is malformed ({row}); repair or remove it")
                yield file, batch


def check_item_ids(ids: pa.Array, table: ItemTable) -> None:
    """Raises DataError when the catalogue has no row, or an id that is absent, given twice or holds a line break."""
    if not len(ids):
        raise DataError(f"{_KEY}: no rows in {table.path}; the catalogue must list every item that may be ranked")
    check_ids(ids, f"{_KEY} ({table.path})")


def check_catalogue(table: ItemTable, columns: ItemColumns | None = None) -> None:
    """Looks at the catalogue's files and columns, not at its rows.

    Args:
        table: section `data.items` of the configuration.
        columns: section `features.item`.

    Raises:
        DataError: no file, unknown format, unreadable file, a missing column, or one of lists where one value is meant.
    """
    columns = columns or {}
    wanted = dict.fromkeys(_text_columns(table), values.usable_as_id)
    try:
        for file in list_files(table):
            peeked = peek(file)
            if not peeked.columns and not peeked.filled:
                continue
            for name, column in columns.items():
                kind = peeked.columns.get(_source(name, column))
                if kind is not None and pa.types.is_nested(kind) and not _multiple(column):
                    raise DataError(
                        f"{file.path}: column '{_source(name, column)}' has {kind}, and features.item.{name} is of one "
                        f"value; for lists of names set kind: categorical and multiple: true"
                    )
            of_items = {_source(name, column): _fits(column) for name, column in columns.items()}
            check_columns(file, peeked, wanted | of_items, [table.id_column])
    except DataError as error:
        raise DataError(f"{_KEY}: {error}") from None


def _fits(column: ItemColumn) -> Fits:
    return lambda kind: fits(column, kind)


def _source(name: str, column: ItemColumn) -> str:
    return column.column or name


def _multiple(column: ItemColumn) -> bool:
    return isinstance(column, CategoricalItemColumn) and column.multiple


def _text_columns(table: ItemTable) -> list[str]:
    # The id column may serve as the title.
    return list(dict.fromkeys([table.id_column, *([table.title_column] if table.title_column else [])]))


def _one_line(titles: pa.Array) -> list[str]:
    lines: list[str] = pc.fill_null(pc.replace_substring_regex(titles, r"[\r\n]+", " "), "").to_pylist()
    return lines
