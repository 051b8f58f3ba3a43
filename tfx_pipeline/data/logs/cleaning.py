"""Raw batches of the log -> columns of good rows, and the bad ones with their reason."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from serving.messages import first_line
from tfx_pipeline.config.ingestion import IngestionConfig
from tfx_pipeline.data.examples.raw_features import LABEL_PREFIX
from tfx_pipeline.data.logs import values
from tfx_pipeline.data.logs.files import LogFile
from tfx_pipeline.data.logs.quarantine import MAX_WRITTEN, BadRow
from tfx_pipeline.data.logs.reader import RawBatch
from tfx_pipeline.errors import DataError

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass
class CleanBatch:
    """The good rows of a batch, all columns of one length n.

    `row` int64: number in the file. `time_us` int64: microseconds since the epoch. `label` int8.
    `user`, `item`, `request`: UTF-8 bytes as Arrow `large_binary`; `request` may be null or absent.
    `weight` float32, where the log has it. `columns`: categorical ones as `large_binary` (null: missing), numeric ones
    as float32 (NaN: missing); after them, as `label/NAME`, the labels of the objectives beside the main one.
    """

    row: np.ndarray
    user: pa.Array
    item: pa.Array
    time_us: np.ndarray
    label: np.ndarray
    request: pa.Array | None
    weight: np.ndarray | None
    columns: dict[str, pa.Array | np.ndarray]


@dataclasses.dataclass
class Cleaned:
    """Good rows, the number of bad ones by reason, the bad ones themselves (at most `MAX_WRITTEN`), and by numeric
    column how many values were no number and count as missing."""

    good: CleanBatch
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
    names = config.data.interactions.columns

    def read(column: str, convert: Callable[[pa.Array], Any]) -> Any:
        with refusing_column(file, column, batch):
            return convert(batch.columns[column])

    ids = {name: read(name, values.text) for name in (names.user, names.item, names.request) if name is not None}
    user, item = ids[names.user], ids[names.item]
    time_us, time_valid = read(names.time, lambda array: values.times(array, config.data.interactions.time_unit))
    if names.label is not None and names.label in batch.columns:
        label, label_valid = read(names.label, values.labels)
    else:
        label = np.full(len(batch.rows), names.label is None, np.int8)
        label_valid = np.ones(len(batch.rows), bool)
    further = {each.column: read(each.column, values.labels) for each in config.labels.values()}
    labels = {names.label: label} | {column: found for column, (found, _) in further.items()}
    unconditional = np.zeros(len(batch.rows), bool)
    for each in config.labels.values():
        if each.given is not None:
            unconditional |= (labels[each.column] == 1) & (labels[each.given] == 0)
    weight = read(names.weight, values.numbers)[0] if names.weight is not None else None

    earliest, latest = microseconds(config.data.earliest_time), microseconds(config.data.latest_time)
    faults = {
        "not_utf8": np.logical_or.reduce([values.not_utf8(batch.columns[name], texts) for name, texts in ids.items()]),
        "null_user": user.is_null().to_numpy(zero_copy_only=False),
        "null_item": item.is_null().to_numpy(zero_copy_only=False),
        "bad_time": ~time_valid,
        "negative_time": time_us < 0,
        "time_out_of_range": (time_us < earliest) | (time_us > latest),
        "bad_label": ~np.logical_and.reduce([label_valid, *(valid for _, valid in further.values())]),
        "label_without_condition": unconditional,
        "bad_weight": ~(weight >= 0) if weight is not None else np.zeros(len(batch.rows), bool),
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
    columns: dict[str, pa.Array | np.ndarray] = {}
    no_number = {}
    for name, kind in config.context.items():
        column = config.column(name)
        if kind == "categorical":
            columns[name] = read(column, lambda array: values.text(array.filter(mask)).cast(pa.large_binary()))
        else:
            columns[name], no_number[name] = read(column, lambda array: values.numbers(array.filter(mask)))
    columns |= {
        LABEL_PREFIX + name: labels[each.column][good].astype(np.float32) for name, each in config.labels.items()
    }
    rows = CleanBatch(
        row=batch.rows[good],
        user=user.filter(mask).cast(pa.large_binary()),
        item=item.filter(mask).cast(pa.large_binary()),
        time_us=time_us[good],
        label=label[good],
        request=ids[names.request].filter(mask).cast(pa.large_binary()) if names.request else None,
        weight=weight[good] if weight is not None else None,
        columns=columns,
    )
    return Cleaned(rows, counts, bad, no_number)


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
        value = values.text(column[index : index + 1])[0].as_py()
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
