"""Raw batches of the log -> columns of good rows, and the bad ones with their reason."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from serving.messages import first_line
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.data.examples.raw_features import LABEL_PREFIX
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.files import LogFile
from tfx_pipeline.data.logs.impressions import Histories, given_histories, shown
from tfx_pipeline.data.logs.quarantine import MAX_WRITTEN, BadRow
from tfx_pipeline.data.logs.reader import RawBatch
from tfx_pipeline.data.logs.several_values import several_names
from tfx_pipeline.errors import DataError

# Of a bad row in the quarantine: a list of impressions may be of any length.
_SHOWN_VALUES, _SHOWN_CHARACTERS = 100, 10_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass
class CleanBatch:
    """The impressions of the good rows of a batch, all columns of one length n.

    `row` int64: number in the file; impressions of one row lie together. `time_us` int64: microseconds since the epoch.
    `label` int8.
    `user`, `item`, `request`: UTF-8 bytes as Arrow `large_binary`; `request` may be null or absent.
    `weight` float32, where the log has it. `columns`: categorical ones as `large_binary` (null: missing), or as lists
    of it where they have several values, numeric ones as float32 (NaN: missing); after them, as `label/NAME`, the
    labels of the objectives beside the main one.
    `history`: of their rows, where the log gives it.
    """

    row: np.ndarray
    user: pa.Array
    item: pa.Array
    time_us: np.ndarray
    label: np.ndarray
    request: pa.Array | None
    weight: np.ndarray | None
    columns: dict[str, pa.Array | np.ndarray]
    history: Histories | None = None


@dataclasses.dataclass
class Cleaned:
    """Impressions of good rows and the number of these rows, the number of bad ones by reason, the bad ones themselves
    (at most `MAX_WRITTEN`), and by numeric column how many values were no number and count as missing."""

    good: CleanBatch
    good_rows: int
    bad_counts: dict[str, int]
    bad_rows: list[BadRow]
    no_number: dict[str, int]


def microseconds(time: dt.datetime) -> int:
    """Exact microseconds since the epoch of an aware time."""
    return (time - _EPOCH) // dt.timedelta(microseconds=1)


def clean(batch: RawBatch, file: LogFile, config: IngestionConfig) -> Cleaned:
    """Separates a batch into usable rows and quarantine. Row order is kept.

    Where there is no column of labels, every row is a positive. A batch without the column that there should be, as a
    log to be scored may be, has label 0 throughout.

    Raises:
        DataError: the values of a column cannot be read at all; the message has file, column and first row.
    """
    interactions = config.data.interactions
    names = interactions.columns
    earliest, latest = microseconds(config.data.earliest_time), microseconds(config.data.latest_time)

    def read(column: str, convert: Callable[[pa.Array], Any], source: dict[str, pa.Array] = batch.columns) -> Any:
        with refusing_column(file, column, batch):
            return convert(source[column])

    ids = {name: read(name, values.text) for name in (names.user, names.request) if name is not None}
    user = ids[names.user]
    time_us, time_valid = read(names.time, lambda array: values.times(array, interactions.time_unit))
    seen = shown(batch.columns, interactions, lambda column: refusing_column(file, column, batch), config.beside_items)
    given, no_fault = None, np.zeros(len(batch.rows), bool)
    if names.history is not None:
        with refusing_column(file, names.history.column, batch):
            given = given_histories(batch.columns, interactions, names.history, earliest, latest)

    not_utf8 = [values.not_utf8(batch.columns[name], texts) for name, texts in ids.items()]
    not_utf8 += [seen.any_of_row(seen.not_utf8), no_fault if given is None else given.not_utf8]
    further = {each.column: read(each.column, values.labels, seen.beside) for each in config.labels.values()}
    labels = {names.label: seen.label} | {column: found for column, (found, _) in further.items()}
    unconditional = np.zeros(len(seen.label), bool)
    for each in config.labels.values():
        if each.given is not None:
            unconditional |= (labels[each.column] == 1) & (labels[each.given] == 0)
    faults = {
        "not_utf8": np.logical_or.reduce(not_utf8),
        "null_user": user.is_null().to_numpy(zero_copy_only=False),
        "no_impressions": seen.none,
        "unequal_lists": seen.unequal,
        "null_item": seen.any_of_row(seen.item.is_null().to_numpy(zero_copy_only=False)),
        "bad_time": ~time_valid,
        "negative_time": time_us < 0,
        "time_out_of_range": (time_us < earliest) | (time_us > latest),
        "bad_label": seen.any_of_row(
            ~np.logical_and.reduce([seen.labelled, *(valid for _, valid in further.values())])
        ),
        "label_without_condition": seen.any_of_row(unconditional),
        "bad_weight": seen.any_of_row(~(seen.weight >= 0)) if seen.weight is not None else no_fault,
        "bad_history": no_fault if given is None else given.bad,
    }
    reason = np.select(list(faults.values()), np.arange(len(faults)), default=-1)
    good = reason < 0
    counts = {name: int((reason == index).sum()) for index, name in enumerate(faults)}
    counts["malformed"] = len(batch.malformed)
    bad = [BadRow(file.ordinal, row, file.path, "malformed", {"text": line}) for row, line in batch.malformed]
    reasons = list(faults)
    for index in np.flatnonzero(~good)[:MAX_WRITTEN].tolist():
        row_values = {name: _shown(column, index) for name, column in batch.columns.items()}
        bad.append(BadRow(file.ordinal, int(batch.rows[index]), file.path, reasons[reason[index]], row_values))

    mask = pa.array(good)
    # Of the good rows: the place of each impression's row among them, and which impressions are theirs.
    of, own = np.arange(int(good.sum())), good
    if seen.row is not None:
        own = good[seen.row]
        of = (np.cumsum(good) - 1)[seen.row[own]]

    def spread(of_rows: Any) -> Any:
        return of_rows if seen.row is None else of_rows.take(of if isinstance(of_rows, np.ndarray) else pa.array(of))

    columns: dict[str, pa.Array | np.ndarray] = {}
    no_number = {}
    for name, kind in config.of_rows.items():
        column = config.column(name)
        of_impression = name in config.candidate
        source, kept = (seen.beside, pa.array(own)) if of_impression else (batch.columns, mask)
        if name in config.multiple:
            found = read(column, functools.partial(several_names, separator=config.multiple[name])).filter(kept)
        elif kind == "categorical":
            found = read(column, functools.partial(_categorical, kept=kept), source)
        else:
            found, no_number[name] = read(column, functools.partial(_numeric, kept=kept), source)
        columns[name] = found if of_impression else spread(found)
    columns |= {
        LABEL_PREFIX + name: labels[each.column][own].astype(np.float32) for name, each in config.labels.items()
    }
    rows = CleanBatch(
        row=spread(batch.rows[good]),
        user=spread(user.filter(mask).cast(pa.large_binary())),
        item=seen.item.filter(pa.array(own)).cast(pa.large_binary()),
        time_us=spread(time_us[good]),
        label=seen.label[own],
        request=spread(ids[names.request].filter(mask).cast(pa.large_binary())) if names.request else None,
        weight=seen.weight[own] if seen.weight is not None else None,
        columns=columns,
        history=given.of_rows(good, of) if given is not None else None,
    )
    return Cleaned(rows, int(good.sum()), counts, bad, no_number)


def _categorical(array: pa.Array, kept: pa.Array) -> pa.Array:
    return values.text(array.filter(kept)).cast(pa.large_binary())


def _numeric(array: pa.Array, kept: pa.Array) -> tuple[np.ndarray, int]:
    return values.numbers(array.filter(kept))


@contextlib.contextmanager
def refusing_column(file: LogFile, column: str, batch: RawBatch) -> Iterator[None]:
    """The boundary to the libraries that convert values: what they raise is a `DataError` that says where."""
    try:
        yield
    # Arrow, NumPy and pandas raise many types over values that nobody thought of.
    except Exception as error:
        first = int(batch.rows[0]) if len(batch.rows) else 1
        raise DataError(
            f"{file.path}: column '{column}' of type {batch.columns[column].type} cannot be read, from row {first:,} "
            f"on: {first_line(error)}; write it as text or numbers"
        ) from None


def _shown(column: pa.Array, index: int) -> Any:
    try:
        value = column[index].as_py()
    # A text that is not UTF-8, a time that Python's cannot hold: the quarantine has them as text.
    except (ValueError, OverflowError):
        if pa.types.is_nested(column.type):
            return f"{column.type} that cannot be shown"
        value = values.text(column[index : index + 1])[0].as_py()
    if isinstance(value, list):
        return [_text(part) for part in value[:_SHOWN_VALUES]]
    return _text(value)


def _text(value: Any) -> Any:
    value = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return f"{value[:_SHOWN_CHARACTERS]}..." if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS else value
