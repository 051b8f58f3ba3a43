"""What can be known to be wrong before any work: files, formats and columns of the three tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import PipelineConfig, Table
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.files import list_files
from tfx_pipeline.data.logs.reader import peek
from tfx_pipeline.errors import DataError


def check_sources(config: PipelineConfig | IngestionConfig) -> None:
    """Looks at every file's header or footer, not at its rows: seconds even for large logs.

    Raises:
        DataError: a file is missing, of unknown format or unreadable, a column is missing or of an impossible type,
            or a table has no rows; the message names key, file and column and says what is there.
    """
    if isinstance(config, PipelineConfig):
        config = IngestionConfig.of(config)
    data = config.data
    numeric = {name for name, kind in (config.profile | config.context).items() if kind == "numeric"}
    fits = {name: values.usable_as_number if name in numeric else values.usable_as_id for name in config.context}
    names = data.interactions.columns
    required = [names.user, names.item, names.time, names.label, *([names.request] if names.request else [])]
    _check_table("data.interactions", data.interactions, fits | dict.fromkeys(required, values.usable_as_id))
    _check_table("data.items", data.items, {data.items.id_column: values.usable_as_id})
    if data.users is not None:
        fits = {name: values.usable_as_number if name in numeric else values.usable_as_id for name in config.profile}
        _check_table("data.users", data.users, fits | {data.users.id_column: values.usable_as_id})


def _check_table(key: str, table: Table, fits: Mapping[str, Callable[[pa.DataType], bool]]) -> None:
    any_row = False
    try:
        files = list_files(table)
        for file in files:
            columns, filled = peek(file)
            any_row |= filled
            if not columns and not filled:
                # An empty part of a log, such as an hour without traffic.
                continue
            _check_columns(file.path, columns, fits, table.separator if file.format == "csv" else None)
    except DataError as error:
        raise DataError(f"{key}: {error}") from None
    if not any_row:
        where = files[0].path if len(files) == 1 else f"{len(files)} files of {table.path}"
        raise DataError(f"{key}: no rows in {where}; expected at least one")


def _check_columns(
    path: str,
    columns: Mapping[str, pa.DataType],
    fits: Mapping[str, Callable[[pa.DataType], bool]],
    separator: str | None,
) -> None:
    missing = [name for name in fits if name not in columns]
    if missing:
        there = ", ".join(repr(name) for name in columns) or "none"
        hint = ""
        if separator is not None and len(columns) == 1:
            hint = f"; only one column was found with separator {separator!r}: is 'separator' right?"
        wanted = ", ".join(repr(name) for name in missing)
        raise DataError(f"{path}: no column {wanted}; columns there: {there}{hint}")
    for name, fit in fits.items():
        # A column of nulls has no type of its own: its rows are quarantined, or its values missing.
        if not pa.types.is_null(columns[name]) and not fit(columns[name]):
            raise DataError(
                f"{path}: column '{name}' has type {columns[name]}; expected single values, text or numbers"
            )
