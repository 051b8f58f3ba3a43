"""What the catalogue says of each item in words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.catalogue import catalogue_batches, check_item_ids
from tfx_pipeline.data.encoding.contents import Contents, LeftOut
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import check_columns
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.reader import peek
from tfx_pipeline.errors import DataError

_KEY = "data.items"
_DIGITS = 24

EMPTY = "empty"
"""Why an item is left out: the catalogue has nothing of it."""


class TextItems(NamedTuple):
    """The items of the catalogue that have a text.

    Attributes:
        items: of the catalogue.
        ids, texts: of those that have one.
        left_out: the others.
    """

    items: int
    ids: list[str]
    texts: list[str]
    left_out: LeftOut


def text_items(name: str, table: ItemTable, columns: Sequence[str], usable: Callable[[str], bool] = bool) -> TextItems:
    """The texts of the catalogue.

    Args:
        name: of the encoder.
        table: section `data.items` of the configuration.
        columns: whose texts are joined.
        usable: whether a text says anything.

    Raises:
        DataError: as `read_texts`, or no item has a text.
    """
    all_ids, all_texts = read_texts(table, columns)
    ids, texts, left_out = [], [], LeftOut()
    for item, text in zip(all_ids.to_pylist(), all_texts.to_pylist(), strict=True):
        if usable(text):
            ids.append(item)
            texts.append(text)
        else:
            left_out.add(EMPTY, item)
    if not ids:
        raise DataError(f"encoders.{name}.columns: no item of {table.path} has a text in {', '.join(columns)}")
    return TextItems(len(all_ids), ids, texts, left_out)


def text_contents(items: TextItems, encoder: str) -> Contents:
    """What there is to encode. Items of the same text share a source.

    Args:
        items: with their texts.
        encoder: its digest.
    """
    sources = [source_of(encoder, text.encode()) for text in items.texts]
    return Contents(items.items, items.ids, sources, dict(zip(sources, items.texts, strict=True)), items.left_out)


def source_of(encoder: str, content: bytes) -> str:
    """Digest of an encoder and of what it encodes."""
    return hashlib.sha256(f"{encoder}\n".encode() + content).hexdigest()[:_DIGITS]


def read_texts(table: ItemTable, columns: Sequence[str]) -> tuple[pa.Array, pa.Array]:
    """Ids and texts of the whole catalogue.

    Args:
        table: section `data.items` of the configuration.
        columns: whose texts are joined by a space; white space at the ends, and what is empty, is left out.

    Returns:
        Two large_string [items]: ids, and texts of one line, "" where an item has none.

    Raises:
        DataError: no file, a column that is missing or holds no texts, no row, a malformed row, or an unusable id.
    """
    ids, *found = read_columns(table, columns)
    lines = [
        pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.fill_null(column, ""), r"\s+", " ")) for column in found
    ]
    # An empty column must leave no second space.
    joined = pc.binary_join_element_wise(*lines, pa.scalar(" ", pa.large_string()))
    return ids, pc.utf8_trim_whitespace(pc.replace_substring_regex(joined, " +", " "))


def read_columns(table: ItemTable, columns: Sequence[str]) -> list[pa.Array]:
    """Ids, and the columns as the catalogue has them: large_string [items] each.

    Raises:
        DataError: no file, a column that is missing or holds no texts, no row, a malformed row, or an unusable id.
    """
    wanted = list(dict.fromkeys([table.id_column, *columns]))
    parts: dict[str, list[pa.Array]] = {name: [pa.array([], pa.large_string())] for name in wanted}
    try:
        for file in list_files(table):
            check_columns(file, peek(file), dict.fromkeys(wanted, values.usable_as_id), wanted)
    except DataError as error:
        raise DataError(f"{_KEY}: {error}") from None
    for _, batch in catalogue_batches(table, wanted):
        for name in wanted:
            parts[name].append(values.text(batch.columns[name]))
    found = {name: pa.concat_arrays(arrays) for name, arrays in parts.items()}
    check_item_ids(found[table.id_column], table)
    return [found[table.id_column], *(found[name] for name in columns)]
