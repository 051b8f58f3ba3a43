"""What ids of items must be, wherever they come from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.errors import DataError


def check_ids(ids: pa.Array, what: str) -> None:
    """Refuses ids that are absent, given twice, or could not stand on a line of their own.

    Args:
        ids: large_string [rows].
        what: where they come from, as the message begins.

    Raises:
        DataError: naming the first offending id, or the first row (from 1) without one.
    """
    if ids.null_count:
        row = pc.index(pc.is_null(ids), True).as_py()
        raise DataError(
            f"{what}: {ids.null_count} rows have no id, the first is row {row + 1}; remove them or fill it in"
        )
    unsafe = pc.match_substring_regex(ids, r"[\t\n\r]")
    if pc.any(unsafe).as_py():
        item = ids[pc.index(unsafe, True).as_py()].as_py()
        raise DataError(f"{what}: id {item!r} holds a tab or a line break; ids are written one a line, so clean it")
    encoded = ids.dictionary_encode()
    if len(encoded.dictionary) < len(ids):
        counts = np.bincount(encoded.indices.to_numpy())
        item, count = (encoded.dictionary[int(np.argmax(counts > 1))].as_py(), int(counts[np.argmax(counts > 1)]))
        more = int((counts > 1).sum()) - 1
        others = f" (and {more} other ids are given more than once)" if more else ""
        raise DataError(f"{what}: item '{item}' is given {count} times{others}; keep one row per item")
