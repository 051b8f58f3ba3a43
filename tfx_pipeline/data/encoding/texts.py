"""What the catalogue says of each item in words."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.content.catalogue import catalogue_batches, check_item_ids
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import check_columns
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.reader import peek
from tfx_pipeline.errors import DataError

_KEY = "data.items"


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
    ids = found[table.id_column]
    check_item_ids(ids, table)
    lines = [
        pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.fill_null(found[name], ""), r"\s+", " "))
        for name in columns
    ]
    # An empty column must leave no second space.
    joined = pc.binary_join_element_wise(*lines, pa.scalar(" ", pa.large_string()))
    return ids, pc.utf8_trim_whitespace(pc.replace_substring_regex(joined, " +", " "))
