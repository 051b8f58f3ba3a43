"""One user's rows -> requests: who was shown what together, and which of it was positive."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from tfx_pipeline.config.schema import HistoryEvents
from tfx_pipeline.data.logs.cleaning import CleanBatch

# (file ordinal, row int64, time int64, label int8, items, request ids or None, context columns); arrays as bytes,
# because Beam's coders are fast for bytes, lists and tuples and slow for everything else.
RowChunk = tuple[int, bytes, bytes, bytes, list, list | None, tuple]


@dataclasses.dataclass
class UserRows:
    """All rows of one user as columns, sorted by (time, file, row): that is the order of events everywhere.

    `time_us` int64 and `label` int8 [n]; `item` n ids; `request` n ids (None: the row has none) or None without that
    column; `context` by column name n values: bytes or None if categorical, float (NaN: missing) if numeric.
    """

    time_us: np.ndarray
    label: np.ndarray
    item: list[bytes]
    request: list[bytes | None] | None
    context: dict[str, list]

    @classmethod
    def from_chunks(cls, chunks: Iterable[RowChunk], context_columns: Iterable[str]) -> UserRows:
        """Joins and sorts what `split_by_user` made of the batches of the log, in any order."""
        chunks = list(chunks)
        row = np.concatenate([np.frombuffer(chunk[1], np.int64) for chunk in chunks])
        time = np.concatenate([np.frombuffer(chunk[2], np.int64) for chunk in chunks])
        label = np.concatenate([np.frombuffer(chunk[3], np.int8) for chunk in chunks])
        file = np.repeat([chunk[0] for chunk in chunks], [len(chunk[4]) for chunk in chunks])
        order = np.lexsort((row, file, time))
        places = order.tolist()

        def joined(columns: Iterable[list | bytes]) -> list:
            flat: list = []
            for column in columns:
                flat.extend(np.frombuffer(column, np.float32).tolist() if isinstance(column, bytes) else column)
            return [flat[place] for place in places]

        request = joined(chunk[5] for chunk in chunks) if chunks[0][5] is not None else None
        context = {name: joined(chunk[6][at] for chunk in chunks) for at, name in enumerate(context_columns)}
        return cls(time[order], label[order], joined(chunk[4] for chunk in chunks), request, context)


def split_by_user(batch: CleanBatch, ordinal: int) -> Iterator[tuple[str, RowChunk]]:
    """(user, its rows of this batch), one pair a user."""
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
    context = [
        column[order] if isinstance(column, np.ndarray) else column.take(take).to_pylist()
        for column in batch.context.values()
    ]
    rows, times, labels = batch.row[order], batch.time_us[order], batch.label[order]
    # Dictionary codes are given in order of first appearance, so code k is user k.
    for user, start, end in zip(encoded.dictionary.to_pylist(), starts.tolist(), ends, strict=True):
        columns = (column[start:end] for column in context)
        yield (
            user.decode(),
            (
                ordinal,
                rows[start:end].tobytes(),
                times[start:end].tobytes(),
                labels[start:end].tobytes(),
                items[start:end],
                requests[start:end] if requests is not None else None,
                tuple(column.tobytes() if isinstance(column, np.ndarray) else column for column in columns),
            ),
        )


@dataclasses.dataclass(slots=True)
class Request:
    """One request. `time_us`: that of its earliest row; `first_row`: index of that row in `UserRows`;
    `candidates` and `labels`: in the order of events, an item once."""

    time_us: int
    first_row: int
    candidates: list[bytes]
    labels: list[int]


@dataclasses.dataclass
class UserRequests:
    """Requests in order of time, and what histories are made of: the events of all of them in order of time.

    `duplicates`: rows equal to an earlier one in user, item, time, label and request; dropped.
    `merged_labels`: other repeats of an item within a request, merged into one candidate that is positive if one was.
    """

    requests: list[Request]
    event_times: list[int]
    event_items: list[bytes]
    duplicates: int
    merged_labels: int


def form_requests(rows: UserRows, cut_times: Sequence[int] = (), events: HistoryEvents = "positives") -> UserRequests:
    """Groups rows by request id, or by time where there is none, and cleans each request of repeats.

    A request id whose rows lie on both sides of a cut (a session's, say) makes a request on each side: labels of a
    later split must not come into an earlier one.

    Args:
        rows: of one user.
        cut_times: microseconds at which a new split begins.
        events: which impressions histories are made of. One that merges several rows is an event at its first positive
            row, or without any at its first.
    """
    times, labels, items = rows.time_us.tolist(), rows.label.tolist(), rows.item
    # Bytes never equal an integer, so ids and times share one dictionary.
    keys: list = times
    if rows.request is not None:
        keys = [time if key is None else key for key, time in zip(rows.request, times, strict=True)]
        keys = list(zip(keys, np.searchsorted(cut_times, rows.time_us, side="right").tolist(), strict=True))
    ordinals: dict = {}
    ordinal = [ordinals.setdefault(key, len(ordinals)) for key in keys]

    requests: list[Request] = []
    standing: list[int] = []  # the row of each impression, request by request
    duplicates = merged = 0
    current = -1
    for index in sorted(range(len(ordinal)), key=ordinal.__getitem__):
        if ordinal[index] != current:
            current = ordinal[index]
            request, first = Request(times[index], index, [], []), len(standing)
            requests.append(request)
            place_of: dict[bytes, int] = {}
            seen: set = set()
        item, label = items[index], labels[index]
        event = (item, times[index], label)
        if event in seen:
            duplicates += 1
            continue
        seen.add(event)
        place = place_of.get(item)
        if place is None:
            place_of[item] = len(request.candidates)
            request.candidates.append(item)
            request.labels.append(label)
            standing.append(index)
        else:
            merged += 1
            if not label or request.labels[place]:
                continue
            request.labels[place] = 1
            standing[first + place] = index
    known = sorted(index for index in standing if events == "all" or labels[index])
    return UserRequests(requests, [times[i] for i in known], [items[i] for i in known], duplicates, merged)
