"""Columns of several values a row, as lists or as text with a separator."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.data.logs import values
from tfx_pipeline.errors import DataError

_TEXT = pa.large_string()


def usable_as_several(kind: pa.DataType) -> bool:
    """Whether `in_lists` can read a column of this type, given a separator: lists of single values, or text."""
    return values.usable_as_ids(kind)


def in_lists(array: pa.Array, separator: str | None) -> pa.LargeListArray:
    """Lists of texts, one a row; a value may be null or, of text with a separator, empty.

    Args:
        array: of lists or, with a separator, of text: parts of a text lose the spaces around them.
        separator: between the values of a text.

    Raises:
        DataError: text without a separator.
    """
    if values.is_list(array.type):
        # Of a list column of one value too many, as JSON has it, the texts may still be several values.
        inner = values.text(array.flatten())
        offsets = pa.array(np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(array), 0).to_numpy())]))
        lists = pa.LargeListArray.from_arrays(offsets.cast(pa.int64()), inner)
        return lists if separator is None else _split(lists, separator)
    texts = values.text(array)
    if separator is None:
        if texts.null_count == len(texts):
            return pa.nulls(len(texts), pa.large_list(_TEXT))
        example = next(value for value in texts.to_pylist() if value is not None)
        raise DataError(f"has text such as '{example}' and not lists; give `separator`, what stands between its values")
    lists = pa.LargeListArray.from_arrays(pa.array(range(len(texts) + 1), pa.int64()), texts)
    return _split(lists, separator)


def several_names(array: pa.Array, separator: str | None) -> pa.LargeListArray:
    """As `in_lists`, of UTF-8 bytes, without values that are null or empty; a null row has none.

    Raises:
        DataError: text without a separator.
    """
    lists = in_lists(array, separator)
    row = pc.list_parent_indices(lists).to_numpy()
    names = values.text(lists.flatten())
    there = names.is_valid()
    counts = np.bincount(row[there.to_numpy(zero_copy_only=False)], minlength=len(lists))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, names.filter(there).cast(pa.large_binary()))


def _split(lists: pa.LargeListArray, separator: str) -> pa.LargeListArray:
    """Lists of the parts of every list's texts, without spaces around them."""
    parts = pc.split_pattern(pc.fill_null(lists.flatten(), ""), separator)
    counts = pc.list_value_length(parts).to_numpy()
    ends = np.concatenate([[0], np.cumsum(counts)])
    offsets = ends[lists.offsets.to_numpy() - lists.offsets[0].as_py()]
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pc.utf8_trim_whitespace(parts.flatten()))
