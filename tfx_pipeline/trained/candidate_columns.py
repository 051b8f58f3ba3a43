"""Candidate columns for `dmf rank` and `dmf explain`: out of a table of candidates, or as they were typed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfx_pipeline.config.tables import ItemTable
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.checks import check_columns
from tfx_pipeline.data.logs.files import format_of, list_files
from tfx_pipeline.data.logs.reader import peek, read_file
from tfx_pipeline.errors import DataError
from tfx_pipeline.trained.version import Version

Value = str | float | None


def read_candidate_columns(file: Path, item_column: str, version: Version) -> dict[str, dict[str, Value]]:
    """The candidate columns that a table has and the model takes.

    Args:
        file: CSV, JSONL or Parquet by its ending.
        item_column: that of the item ids.
        version: whose columns they are; a column is called as the feature, or as in the model's logs.

    Returns:
        By column, values by item id: of an item that several rows have, that of the first. A column that the table
        lacks is absent.

    Raises:
        DataError: a column holds no such values.
    """
    separator = "\t" if ".tsv" in file.suffixes else ","
    (source,) = list_files(ItemTable(path=file.absolute(), separator=separator))
    there = peek(source)
    wanted = {name: _name_in(there.columns, name, version) for name in version.contract.candidate_inputs}
    found: dict[str, dict[str, Value]] = {}
    for name, column in wanted.items():
        if column is None:
            continue
        textual = version.contract.candidate_inputs[name] == "string"
        fits = values.usable_as_id if textual else values.usable_as_number
        check_columns(source, there, {column: fits, item_column: values.usable_as_id}, [item_column])
        by_item = found.setdefault(name, {})
        for batch in read_file(source, [item_column, column]):
            items = values.text(batch.columns[item_column]).to_pylist()
            array = batch.columns[column]
            read = values.text(array).to_pylist() if textual else values.numbers(array)[0].tolist()
            for item, value in zip(items, read, strict=True):
                by_item.setdefault(item, None if value is None or value != value else value)
    return found


def is_table(file: Path) -> bool:
    """Whether a file of candidates has columns; else it is text, an id a line."""
    return format_of(str(file)) is not None


def typed_columns(given: Mapping[str, str], version: Version) -> dict[str, list[Value]]:
    """Values of one candidate as typed, as the model takes them.

    Raises:
        DataError: a column that the model does not take, or no number where it takes one.
    """
    takes = version.contract.candidate_inputs
    found: dict[str, list[Value]] = {}
    for name, text in given.items():
        if name not in takes:
            expected = ", ".join(takes) or "none"
            raise DataError(f"--column {name}: the model takes no such column of a candidate; it takes: {expected}")
        if takes[name] == "string":
            found[name] = [text]
            continue
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"--column {name}: expected a number, got {text!r}")
        found[name] = [number]
    return found


def note_on_missing(names: Sequence[str]) -> list[str]:
    """What a reader of the scores must know where no values were given."""
    if not names:
        return []
    return [f"no values were given of {', '.join(names)}, which the model takes of candidates: scored as missing"]


def _name_in(columns: Mapping[str, object], name: str, version: Version) -> str | None:
    try:
        source = version.ingestion().column(name)
    # Without its logs a model is ranked with all the same.
    except (OSError, ValueError):
        source = name
    return next((each for each in (name, source) if each in columns), None)
