"""One user's rows -> requests: who was shown what together, and which of it was positive."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tfx_pipeline.config.schema import HistoryEvents
from tfx_pipeline.data.examples.given import GivenHistories, HistoryTuple, histories_by_user
from tfx_pipeline.data.examples.raw_features import LABEL_PREFIX, OF_HISTORY_PREFIX
from tfx_pipeline.data.logs.cleaning import CleanBatch

Values = list[bytes] | list[bytes | None] | list[list[bytes]] | bytes


class RowChunk(NamedTuple):
    """One user's rows of one batch of the log.

    Between Beam's steps it is a plain tuple with arrays as bytes: coders are fast for tuples, lists and bytes, and take
    four times as long for a named tuple.

    Attributes:
        file: ordinal of the log file.
        row, time_us: bytes of int64 [n].
        label: bytes of int8 [n].
        item: n ids.
        request: n ids (None: the row has none); None without that column.
        weight: bytes of float32 [n]; None where the log has none.
        columns: by column n values (lists, of one that may have several), or bytes of float32 [n] if numeric.
        history: of the k rows of the log that these are of; None where the log gives none.
    """

    file: int
    row: bytes
    time_us: bytes
    label: bytes
    item: list[bytes]
    request: list[bytes | None] | None
    weight: bytes | None
    columns: tuple[Values, ...]
    history: HistoryTuple | None = None


# The fields of a `RowChunk`, in its order.
RowTuple = tuple[
    int,
    bytes,
    bytes,
    bytes,
    list[bytes],
    list[bytes | None] | None,
    bytes | None,
    tuple[Values, ...],
    HistoryTuple | None,
]


@dataclasses.dataclass
class UserRows:
    """All rows of one user as columns, sorted by (time, file, row): that is the order of events everywhere.

    `file` and `row` int64 [n]: as in the chunks. `time_us` int64 and `label` int8 [n]; `item` n ids; `request` n ids
    (None: the row has none) or None without that column; `weight` float32 [n] or None without that column; `columns`
    by name n values: bytes or None if categorical, lists of bytes if they may be several, float (NaN: missing) if
    numeric; `given`: the histories that the log gives, or None.
    """

    file: np.ndarray
    row: np.ndarray
    time_us: np.ndarray
    label: np.ndarray
    item: list[bytes]
    request: list[bytes | None] | None
    weight: np.ndarray | None
    columns: dict[str, list[Any]]
    given: GivenHistories | None = None

    @classmethod
    def from_chunks(cls, chunks: Iterable[RowTuple], columns: Iterable[str]) -> UserRows:
        """Joins and sorts what `split_by_user` made of the batches of the log, in any order."""
        parts = [RowChunk(*chunk) for chunk in chunks]
        row = np.concatenate([np.frombuffer(part.row, np.int64) for part in parts])
        time = np.concatenate([np.frombuffer(part.time_us, np.int64) for part in parts])
        label = np.concatenate([np.frombuffer(part.label, np.int8) for part in parts])
        file = np.repeat([part.file for part in parts], [len(part.item) for part in parts])
        order = np.lexsort((row, file, time))
        places = order.tolist()

        def joined(columns: Iterable[Values]) -> list[Any]:
            flat: list[Any] = []
            for column in columns:
                flat.extend(np.frombuffer(column, np.float32).tolist() if isinstance(column, bytes) else column)
            return [flat[place] for place in places]

        # A log has request ids in all of its files or in none. One to be scored has no weights.
        requests = [part.request for part in parts if part.request is not None]
        weights = [np.frombuffer(part.weight, np.float32) for part in parts if part.weight is not None]
        return cls(
            file[order],
            row[order],
            time[order],
            label[order],
            joined(part.item for part in parts),
            joined(requests) if requests else None,
            np.concatenate(weights)[order] if len(weights) == len(parts) else None,
            {name: joined(part.columns[at] for part in parts) for at, name in enumerate(columns)},
            GivenHistories.joined([part.history for part in parts if part.history is not None], order),
        )


def split_by_user(batch: CleanBatch, ordinal: int) -> Iterator[tuple[str, RowTuple]]:
    """(user, fields of its `RowChunk`), one pair a user."""
    if not len(batch.row):
        return
    encoded = batch.user.dictionary_encode()
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    ends = [*starts[1:].tolist(), len(order)]
    take = pa.array(order)
    items = batch.item.take(take).to_pylist()
    requests = batch.request.take(take).to_pylist() if batch.request is not None else None
    columns = [
        column[order] if isinstance(column, np.ndarray) else column.take(take).to_pylist()
        for column in batch.columns.values()
    ]
    weights = batch.weight[order] if batch.weight is not None else None
    histories = histories_by_user(batch.history, order) if batch.history is not None else None
    rows, times, labels = batch.row[order], batch.time_us[order], batch.label[order]
    # Dictionary codes are given in order of first appearance, so code k is user k.
    for user, start, end in zip(encoded.dictionary.to_pylist(), starts.tolist(), ends, strict=True):
        own = (column[start:end] for column in columns)
        yield (
            user.decode(),
            (
                ordinal,
                rows[start:end].tobytes(),
                times[start:end].tobytes(),
                labels[start:end].tobytes(),
                items[start:end],
                requests[start:end] if requests is not None else None,
                weights[start:end].tobytes() if weights is not None else None,
                tuple(column.tobytes() if isinstance(column, np.ndarray) else column for column in own),
                histories(start, end) if histories is not None else None,
            ),
        )


@dataclasses.dataclass(slots=True)
class Request:
    """One request. `time_us`: that of its earliest row; `first_row`: index of that row in `UserRows`;
    `candidates` and `labels`: in the order of events, an item once; `rows`: index of the row that stands for each;
    `further_labels`: of the objectives beside the main one, by `label/NAME`."""

    time_us: int
    first_row: int
    candidates: list[bytes]
    labels: list[int]
    rows: list[int] = dataclasses.field(default_factory=list)
    further_labels: dict[str, list[int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class UserRequests:
    """Requests in order of time, and what histories are made of: the events of all of them in order of time.

    `request_of`: of each row of `UserRows`, the index of its request.
    `duplicates`: rows equal to an earlier one in user, item, time, labels and request; dropped.
    `merged_labels`: other repeats of an item within a request, merged into one candidate that is positive if one was,
        for each objective.
    `further_events`: of each further history by name times and items of its events, in order of time.
    """

    requests: list[Request]
    event_times: list[int]
    event_items: list[bytes]
    request_of: list[int]
    duplicates: int
    merged_labels: int
    further_events: dict[str, tuple[list[int], list[bytes]]] = dataclasses.field(default_factory=dict)


def form_requests(rows: UserRows, cut_times: Sequence[int] = (), events: HistoryEvents = "positives") -> UserRequests:
    """Groups rows by request id, or by time where there is none, and cleans each request of repeats.

    A request id whose rows lie on both sides of a cut (a session's, say) makes a request on each side: labels of a
    later split must not come into an earlier one.

    Args:
        rows: of one user.
        cut_times: microseconds at which a new split begins.
        events: which impressions histories are made of. One that merges several rows is an event at its first positive
            row, or without any at its first. One is an event of a further history at its first row of that history's
            kinds, whatever the labels.
    """
    times, labels, items = rows.time_us.tolist(), rows.label.tolist(), rows.item
    # Bytes never equal an integer, so ids and times share one dictionary.
    keys: list[Any] = times
    if rows.request is not None:
        keys = [time if key is None else key for key, time in zip(rows.request, times, strict=True)]
        keys = list(zip(keys, np.searchsorted(cut_times, rows.time_us, side="right").tolist(), strict=True))
    ordinals: dict[Any, int] = {}
    ordinal = [ordinals.setdefault(key, len(ordinals)) for key in keys]

    further = {name: list(map(int, rows.columns[name])) for name in rows.columns if name.startswith(LABEL_PREFIX)}
    requests: list[Request] = []
    duplicates = merged = 0
    current = -1
    for index in sorted(range(len(ordinal)), key=ordinal.__getitem__):
        if ordinal[index] != current:
            current = ordinal[index]
            request = Request(times[index], index, [], [], further_labels={name: [] for name in further})
            requests.append(request)
            place_of: dict[bytes, int] = {}
            seen: set[tuple[Any, ...]] = set()
        item, label = items[index], labels[index]
        event = (item, times[index], label, *(column[index] for column in further.values()))
        if event in seen:
            duplicates += 1
            continue
        seen.add(event)
        place = place_of.get(item)
        if place is None:
            place_of[item] = len(request.candidates)
            request.candidates.append(item)
            request.labels.append(label)
            request.rows.append(index)
            for name, column in further.items():
                request.further_labels[name].append(column[index])
        else:
            merged += 1
            for name, column in further.items():
                request.further_labels[name][place] |= column[index]
            if not label or request.labels[place]:
                continue
            request.labels[place] = 1
            request.rows[place] = index
    standing = (index for request in requests for index in request.rows)
    known = sorted(index for index in standing if events == "all" or labels[index])
    event_times, event_items = [times[i] for i in known], [items[i] for i in known]
    further_events = {}
    for name, flags in rows.columns.items():
        if name.startswith(OF_HISTORY_PREFIX):
            first: dict[tuple[int, bytes], int] = {}
            for index in (index for index, flag in enumerate(flags) if flag):
                first.setdefault((ordinal[index], items[index]), index)
            of_kinds = list(first.values())
            events_of = [times[i] for i in of_kinds], [items[i] for i in of_kinds]
            further_events[name.removeprefix(OF_HISTORY_PREFIX)] = events_of
    return UserRequests(requests, event_times, event_items, ordinal, duplicates, merged, further_events)
