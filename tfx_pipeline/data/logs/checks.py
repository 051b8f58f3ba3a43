"""What can be known to be wrong before any work: files, formats and columns of the three tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

import pyarrow as pa

from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.config.tables import Table
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.cells import usable_as_list
from tfx_pipeline.data.logs.files import LogFile, list_files
from tfx_pipeline.data.logs.reader import Peeked, peek
from tfx_pipeline.data.logs.several_values import usable_as_several
from tfx_pipeline.errors import DataError

Fits: TypeAlias = Callable[[pa.DataType], bool]


def check_sources(config: PipelineConfig | IngestionConfig) -> None:
    """Looks at every file's header or footer, not at its rows: seconds even for large logs.

    Raises:
        DataError: a file is missing, of unknown format or unreadable, a column is missing or of an impossible type,
            or a table has no rows; the message names key, file and column and says what is there.
    """
    if isinstance(config, PipelineConfig):
        config = IngestionConfig.of(config)
    check_log("data.interactions", config)
    ids = [config.data.items.id_column]
    _check_table("data.items", config.data.items, dict.fromkeys(ids, values.usable_as_id), ids)
    check_users(config)
    for split, table in (config.negatives.tables if config.negatives else {}).items():
        fits = {table.user_column: values.usable_as_id, table.items_column: values.usable_as_ids}
        _check_table(f"negatives.{split}", table, fits, list(fits))


def check_log(key: str, config: IngestionConfig, *, labelled: bool = True) -> None:
    """Looks at the headers of the log alone.

    Args:
        key: what a message calls it.
        config: whose `data.interactions` it is.
        labelled: whether files without the columns of labels are refused; they are where it is a feature too.

    Raises:
        DataError: as `check_sources`.
    """
    log = config.data.interactions
    names = log.columns
    further = config.label_columns
    required = [*log.given, *further]
    fits = _fits(config, config.of_rows) | dict.fromkeys(required, values.usable_as_id)
    if names.weight is not None and log.impressions is None:
        fits[names.weight] = values.usable_as_number
    fits |= dict.fromkeys(log.list_columns, usable_as_list)
    if log.impressions is not None:
        parallel = usable_as_list if log.impressions.separator is None else values.usable_as_id
        fits |= dict.fromkeys(config.beside_items, parallel)
    label = names.label
    read = set(map(config.column, config.of_rows))
    optional = () if labelled else [name for name in (label, *further) if name is not None and name not in read]
    _check_table(key, log, fits, required, optional)


def check_users(config: IngestionConfig) -> None:
    """Looks at the headers of the user table alone, where there is one.

    Raises:
        DataError: as `check_sources`.
    """
    users = config.data.users
    if users is not None:
        fits = _fits(config, config.profile) | {users.id_column: values.usable_as_id}
        _check_table("data.users", users, fits, [users.id_column])


def _fits(config: IngestionConfig, features: Mapping[str, str]) -> dict[str, Fits]:
    def fit(name: str, kind: str) -> Fits:
        if name in config.multiple:
            return usable_as_list if config.multiple[name] is None else usable_as_several
        return values.usable_as_number if kind == "numeric" else _usable_as_name

    return {config.column(name): fit(name, kind) for name, kind in features.items()}


def _usable_as_name(kind: pa.DataType) -> bool:
    return values.usable_as_id(kind)


def _check_table(
    key: str, table: Table, fits: Mapping[str, Fits], required: Collection[str], optional: Collection[str] = ()
) -> None:
    any_row = False
    try:
        files = list_files(table)
        for file in files:
            peeked = peek(file)
            any_row |= peeked.filled
            if not peeked.columns and not peeked.filled:
                # An empty part of a log, such as an hour without traffic.
                continue
            absent = set(optional) - set(peeked.columns)
            needed = {name: fit for name, fit in fits.items() if name not in absent}
            check_columns(file, peeked, needed, [name for name in required if name not in absent])
    except DataError as error:
        raise DataError(f"{key}: {error}") from None
    if not any_row:
        where = files[0].path if len(files) == 1 else f"{len(files)} files of {table.path}"
        raise DataError(f"{key}: no rows in {where}; expected at least one")


def check_columns(file: LogFile, peeked: Peeked, fits: Mapping[str, Fits], required: Collection[str]) -> None:
    """Whether a file has the columns that are read of it.

    Args:
        file: for the message.
        peeked: what it has.
        fits: by column that is read, whether a type is possible.
        required: those of them that a JSONL file must have a key of. Writers leave out what is null, so the others may
            be absent from a whole file. Of other formats all columns must be there.

    Raises:
        DataError: a column is missing, is there twice, or has an impossible type.
    """
    columns = peeked.columns
    missing = [name for name in (required if file.format == "jsonl" else fits) if name not in columns]
    if missing:
        raise DataError(f"{file.path}: {_missing(missing, file, columns)}")
    twice = sorted(peeked.twice & set(fits))
    if twice:
        raise DataError(f"{file.path}: several columns are named {_named(twice)}; rename or remove all but one of them")
    for name, fit in fits.items():
        if file.format == "jsonl" and fit is usable_as_list:
            # What its values are is known once they are read.
            continue
        # A column of nulls has no type of its own: its rows are quarantined, or its values missing.
        if name in columns and not pa.types.is_null(columns[name]) and not fit(columns[name]):
            raise DataError(f"{file.path}: column '{name}' has type {columns[name]}; expected {_expected(fit)}")


def _expected(fit: Fits) -> str:
    if fit is usable_as_list:
        return "lists of ids or numbers; for text of several values, give their `separator`"
    if fit is usable_as_several:
        return "lists of single values, or text with a separator between them"
    if fit is _usable_as_name:
        return "single values, text or numbers; for lists of them, set multiple: true"
    if fit is values.usable_as_ids:
        return "lists of ids, or text with spaces between them"
    return "single values, text or numbers"


def _missing(missing: list[str], file: LogFile, columns: Mapping[str, pa.DataType]) -> str:
    hint = ""
    if file.format == "csv" and len(columns) == 1:
        hint = f"; only one column was found with separator {file.separator!r}: is 'separator' right?"
    elif any(f'"{name}"' in columns for name in missing):
        hint = "; names are in quotes there: set quoting: rfc4180"
    elif file.format == "csv" and any(_is_number(name) for name in columns):
        hint = "; the first line seems to be a row: give the columns' names in `header`, or the file a line with them"
    elif strange := [name for name in columns if name.strip() in missing]:
        hint = f"; there is {_named(strange)}, spaces included: call it so, a feature's by `column`"
    return f"no column {_named(missing)}; columns there: {_named(columns) or 'none'}{hint}"


def _named(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
