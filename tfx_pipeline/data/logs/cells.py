"""Cells that hold several values, as text or as lists, laid end to end: whole batches at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data.logs import values


@dataclasses.dataclass(frozen=True)
class Cells:
    """The values of a batch's rows, row by row.

    Attributes:
        row: int64 [m], ascending: of each value, the place of its row in the batch.
        columns: by name m values, as the file has them; each column has as many values in a row as the others.
        unequal: bool [n]: rows whose columns have different numbers of values; none of these values is in `columns`.
    """

    row: np.ndarray
    columns: dict[str, pa.Array]
    unequal: np.ndarray

    def any_of_row(self, flags: np.ndarray) -> np.ndarray:
        """bool [m] -> bool [n]: whether a value of the row has the flag."""
        found = np.zeros(len(self.unequal), bool)
        found[self.row[flags]] = True
        return found


def usable_as_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of single values."""
    return values.is_list(kind) and values.usable_as_id(kind.value_type)


def cells(columns: dict[str, pa.Array], separator: str | None) -> Cells:
    """Takes cells apart. A null cell of lists has no value, one of text an empty one.

    Of text, values that are empty in all of the columns are passed over: what is between two separators, or behind the
    last. Of lists, an empty or null value is one.

    Args:
        columns: by name, of n rows each.
        separator: between the values of text; None: cells are lists.

    Raises:
        TypeError: cells are no lists, or no text.
    """
    parts = [_lists(column) if separator is None else _split(column, separator) for column in columns.values()]
    lengths = [lengths for _, lengths in parts]
    unequal = np.logical_or.reduce([lengths[0] != other for other in lengths])
    row = np.repeat(np.arange(len(unequal)), np.where(unequal, 0, lengths[0]))
    flat = [
        array.filter(pa.array(np.repeat(~unequal, length))) if unequal.any() else array
        for array, length in zip([array for array, _ in parts], lengths, strict=True)
    ]
    if separator is not None:
        filled = np.logical_or.reduce([_not_empty(array) for array in flat])
        if not filled.all():
            row, flat = row[filled], [array.filter(pa.array(filled)) for array in flat]
    return Cells(row, dict(zip(columns, flat, strict=True)), unequal)


def split_pairs(texts: pa.Array, separator: str) -> tuple[pa.Array, pa.Array]:
    """Texts of an item and its label -> both, told apart at the last separator; without one the label is null."""
    parts = pc.split_pattern(pc.fill_null(texts, ""), separator, max_splits=1, reverse=True)
    ends = parts.offsets.to_numpy()
    first, last = ends[:-1], ends[1:] - 1
    labels = parts.values.take(pa.array(last, mask=first == last))
    return values.text(parts.values.take(pa.array(first))), labels


def _not_empty(array: pa.Array) -> np.ndarray:
    filled: np.ndarray = pc.fill_null(pc.greater(pc.binary_length(array), 0), False).to_numpy(zero_copy_only=False)
    return filled


def _split(column: pa.Array, separator: str) -> tuple[pa.Array, np.ndarray]:
    texts = values.plain(column)
    if pa.types.is_null(texts.type):
        texts = texts.cast(pa.binary())
    if not values.is_textual(texts.type):
        raise TypeError(f"a separator is given, and the values are no text but {column.type}")
    # Of a row with one impression, an empty cell is a value that is missing; empty in all columns it is passed over.
    texts = pc.fill_null(texts.cast(pa.large_binary()), b"")
    return _lists(pc.split_pattern(texts, separator.encode()))


def _lists(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    column = values.plain(column)
    if pa.types.is_null(column.type):
        return pa.array([], pa.large_string()), np.zeros(len(column), np.int64)
    if not values.is_list(column.type):
        raise TypeError(f"the values are no lists but {column.type}; of text, say what separates the values")
    return column.flatten(), pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
