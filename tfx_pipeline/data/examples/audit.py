"""The leakage audit: reads back what is about to be written and checks it against the log, on a path of its own.

It shares no code with the builder: histories are looked up by binary search in the user's events, requests and
labels are derived again with NumPy, and the examples are parsed from their bytes.
"""

from __future__ import annotations

import bisect
import dataclasses
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfx_pipeline.config.schema import SPLITS, ColumnKind, History
from tfx_pipeline.data.examples import raw_features
from tfx_pipeline.data.examples.given_audit import GivenHistoryAuditor, seconds_before
from tfx_pipeline.data.examples.requests import UserRows
from tfx_pipeline.data.examples.splits import Cuts

RULES = {
    "history_not_before_request": "a history holds an event that was not yet known at the request",
    "history_from_later_split": "a history holds an event of a later split than the request's",
    "history_not_most_recent": "a history is not the most recent events of its kind, oldest first",
    "history_not_as_given": "a history is not the end of the one that the log gives for its request",
    "history_too_long": "a history is longer than history.max_length",
    "history_age_wrong": "the ages of a history are not the seconds from its events to the request",
    "request_in_wrong_split": "a request is in another split than its time says",
    "context_not_of_request": "a context column is not that of the request's first row",
    "negative_of_the_user": "a drawn negative is an item that the user had until the split's end, or is there twice",
    "candidate_label_mismatch": "candidates, labels, weights and columns of candidates are not those of the log",
}

# The bits of the weight 1.
_ONE = int(np.float32(1).view(np.int32))


@dataclasses.dataclass
class Audit:
    """Result for the requests of one user. A request can break several rules.

    `violations`: number of requests by rule (candidate_label_mismatch: of candidates).
    `history_lengths`: of each request, as written. `newest_age_us`, `oldest_age_us`: smallest distance from a request
    to the newest event of its history, greatest to the oldest; None without any history, or without times of events.
    `given`: `FACTS` of histories that the log gives. `further_lengths`: as `history_lengths`, of further histories.
    """

    checked: int = 0
    violations: Counter[str] = dataclasses.field(default_factory=Counter)
    history_lengths: list[int] = dataclasses.field(default_factory=list)
    newest_age_us: int | None = None
    oldest_age_us: int | None = None
    given: Counter[str] = dataclasses.field(default_factory=Counter)
    further_lengths: dict[str, list[int]] = dataclasses.field(default_factory=dict)


class _Events(NamedTuple):
    """What a history is made of, in order of time: microseconds and items; and how long it may be."""

    times: list[int]
    items: list[bytes]
    max_length: int


class UserAuditor:
    """Checks the examples of one user, one at a time: `check` each of them, then `finish`.

    Args:
        user: the id that the examples must carry.
        rows: everything the log says about the user.
        cuts: where the splits begin.
        history: the section of the configuration.
        drawn: whether candidates with label 0 are drawn, and not of the log.
        candidate, context: kinds of these columns, by name.
        ages: whether histories must have ages.
    """

    def __init__(
        self,
        user: bytes,
        rows: UserRows,
        cuts: Cuts,
        history: History,
        drawn: bool = False,
        candidate: Mapping[str, ColumnKind] | None = None,
        context: Mapping[str, ColumnKind] | None = None,
        ages: bool = False,
    ) -> None:
        self._user = user
        self._first_us = cuts.train_from_us
        self._cuts = [cuts.eval_from_us, cuts.test_from_us]
        self._delay_us = history.delay_us
        self._drawn = drawn
        self._ages = ages
        self._audit = Audit()

        self._items, self._times = list(rows.item), rows.time_us.tolist()
        names, item = np.unique(np.array(rows.item, dtype=object), return_inverse=True)
        self._code_of = {name: code for code, name in enumerate(names.tolist())}
        borders = self._cuts if self._first_us is None else [self._first_us, *self._cuts]
        request = _request_codes(rows, borders)
        index = _one_row_per_impression(request, item, rows.label)
        earliest = np.full(int(request.max(initial=0)) + 1, np.iinfo(np.int64).max)
        np.minimum.at(earliest, request, rows.time_us)
        weight = rows.weight if rows.weight is not None else np.ones(len(item), np.float32)
        self._kinds = candidate or {}
        self._names: dict[bytes, int] = {}
        shown = [self._codes(name, [rows.columns[name][place] for place in index]) for name in self._kinds]
        # Labels of further objectives, each positive if one of the impression's rows is.
        self._labels = [name for name in rows.columns if name.startswith(raw_features.LABEL_PREFIX)]
        impression = request * (len(names) + 1) + item
        impression = np.unique(impression, return_inverse=True)[1] if self._labels else impression
        for name in self._labels:
            positive = np.zeros(int(impression.max(initial=0)) + 1, np.int64)
            np.maximum.at(positive, impression, np.array(rows.columns[name], np.int64))
            shown.append(positive[impression[index]].tolist())
        # One line (request time, item, label, weight, columns, further labels) per impression; the same is gathered of
        # the examples.
        columns = (earliest[request[index]], item[index], rows.label[index], weight[index].view(np.int32), *shown)
        expected = np.stack(columns, axis=1, dtype=np.int64)
        self._expected = expected if self._first_us is None else expected[expected[:, 0] >= self._first_us]
        self._weighted = rows.weight is not None
        self._shown: array[int] = array("q")
        self._context = context or {}
        # What requests of a time carry, each as often as it is to come.
        self._contexts: dict[int, Counter[tuple[tuple[Any, ...], ...]]] = defaultdict(Counter)
        for first in np.unique(request, return_index=True)[1].tolist() if self._context else ():
            carried = tuple(_as_written(rows.columns[name][first]) for name in self._context)
            self._contexts[self._times[first]][carried] += 1
        event = index if history.events == "all" else index[rows.label[index] == 1]
        self._events = _events(rows, event, history.max_length)
        self._further: dict[str, _Events] = {}
        for name, sequence in history.sequences.items():
            of_kinds = np.array(rows.columns[raw_features.OF_HISTORY_PREFIX + name]) == 1
            first = _one_row_per_impression(request, item, of_kinds)
            self._further[name] = _events(rows, first[of_kinds[first]], sequence.max_length)
            self._audit.further_lengths[name] = []
        self._given: GivenHistoryAuditor | None = None
        if rows.given is not None:
            self._given = GivenHistoryAuditor(rows, request, history.max_length, self._delay_us, ages)
            if drawn:
                self._items += self._given.had
                self._times += self._given.had_at

    def check(self, split: str, data: bytes) -> None:
        """Checks one serialised `tf.Example` that is about to be written to `split`."""
        feature = tf.train.Example.FromString(data).features.feature
        audit = self._audit
        audit.checked += 1
        time = feature[raw_features.REQUEST_TIME].int64_list.value[0]
        history = list(feature[raw_features.HISTORY_ITEM_ID].bytes_list.value)
        ages = list(feature[raw_features.HISTORY_AGE].float_list.value) if self._ages else []
        audit.history_lengths.append(len(history))
        place = bisect.bisect_right(self._cuts, time)
        candidates = list(feature[raw_features.CANDIDATE_ITEM_ID].bytes_list.value)
        labels = list(feature[raw_features.LABEL].int64_list.value)
        if self._given is not None:
            positives = {item for item, label in zip(candidates, labels, strict=False) if label}
            broken, facts, ends = self._given.check(time, history, positives, ages)
            audit.violations.update(broken)
            audit.given.update(facts)
            self._count_ages(*ends)
        else:
            self._check_built(time, history, place, ages, self._events)
        for name, events in self._further.items():
            items = list(feature[raw_features.further_history_items(name)].bytes_list.value)
            since = list(feature[raw_features.further_history_ages(name)].float_list.value) if self._ages else []
            audit.further_lengths[name].append(len(items))
            self._check_built(time, items, place, since, events)
        too_early = self._first_us is not None and time < self._first_us
        if too_early or not split == SPLITS[place] == feature[raw_features.SPLIT].bytes_list.value[0].decode():
            audit.violations["request_in_wrong_split"] += 1
        if self._drawn:
            self._check_drawn(candidates, labels, place)
        if self._context:
            carried = tuple(
                tuple(feature[name].bytes_list.value if kind == "categorical" else feature[name].float_list.value)
                for name, kind in self._context.items()
            )
            if not self._contexts[time][carried]:
                audit.violations["context_not_of_request"] += 1
            self._contexts[time][carried] -= 1
        beside = self._beside(feature, len(labels))
        sizes = {len(candidates), len(labels), *map(len, beside)}
        if len(sizes) > 1 or list(feature[raw_features.USER_ID].bytes_list.value) != [self._user]:
            audit.violations["candidate_label_mismatch"] += max(*sizes, 1)
        for item, label, *own in zip(candidates, labels, *beside, strict=False):
            if label or not self._drawn:
                self._shown.extend((time, self._code_of.get(item, -1), label, *own))

    def _beside(self, feature: Mapping[str, tf.train.Feature], labels: int) -> list[list[int]]:
        """What an example says of its candidates beside item and label, as integers, a list each: the bits of the
        weight, columns, further labels."""
        weights = [_ONE] * labels
        if self._weighted:
            written = feature[raw_features.WEIGHT].float_list.value
            weights = np.array(written, np.float32).view(np.int32).tolist()
        columns = []
        for name, kind in self._kinds.items():
            values = feature[name].bytes_list.value if kind == "categorical" else feature[name].float_list.value
            columns.append(self._codes(name, values))
        return [weights, *columns, *(list(feature[name].int64_list.value) for name in self._labels)]

    def _check_drawn(self, candidates: Sequence[bytes], labels: Sequence[int], place: int) -> None:
        negatives = [item for item, label in zip(candidates, labels, strict=False) if not label]
        end = self._cuts[place] if place < len(self._cuts) else None
        had = {item for item, time in zip(self._items, self._times, strict=True) if end is None or time < end}
        if len(set(negatives)) < len(negatives) or not had.isdisjoint(negatives):
            self._audit.violations["negative_of_the_user"] += 1

    def finish(self) -> Audit:
        """The result, once every example of the user was checked: now what is missing is known too."""
        shown = np.frombuffer(self._shown, dtype=np.int64).reshape(-1, self._expected.shape[1])
        wrong = _unmatched(shown, self._expected)
        if wrong:
            self._audit.violations["candidate_label_mismatch"] += wrong
        return self._audit

    def _check_built(self, time: int, history: list[bytes], place: int, ages: list[float], events: _Events) -> None:
        """Checks a history that is made of the user's events, of a request behind so many of the cuts."""
        begin, end = self._known(time, events)
        if history != events.items[begin:end]:
            later_from = self._cuts[place] if place < len(self._cuts) else None
            self._audit.violations.update(_what_is_wrong(history, end, later_from, events))
            return
        if self._ages and ages != seconds_before(time, np.array(events.times[begin:end], np.int64)):
            self._audit.violations["history_age_wrong"] += 1
        if history and events is self._events:
            self._count_ages(time - events.times[end - 1], time - events.times[begin])

    def _known(self, time: int, events: _Events) -> tuple[int, int]:
        """Where in the events the right history of a request begins and ends."""
        end = bisect.bisect_right(events.times, time - max(self._delay_us, 1))
        return max(0, end - events.max_length), end

    def _count_ages(self, newest: int | None = None, oldest: int | None = None) -> None:
        audit = self._audit
        if newest is not None and oldest is not None:
            audit.newest_age_us = newest if audit.newest_age_us is None else min(newest, audit.newest_age_us)
            audit.oldest_age_us = oldest if audit.oldest_age_us is None else max(oldest, audit.oldest_age_us)

    def _codes(self, name: str, values: Iterable[Any]) -> list[int]:
        """Values of a candidate column as integers, equal where the values are; missing ones are all equal."""
        if self._kinds[name] == "categorical":
            return [self._names.setdefault(value or b"", len(self._names)) for value in values]
        numbers = np.array([np.nan if value is None else value for value in values], np.float32)
        # NaNs have many bit patterns.
        bits: list[int] = np.where(np.isnan(numbers), np.float32(np.nan), numbers).view(np.int32).tolist()
        return bits


def _events(rows: UserRows, index: np.ndarray, max_length: int) -> _Events:
    return _Events(rows.time_us[index].tolist(), [rows.item[place] for place in index.tolist()], max_length)


def _what_is_wrong(history: list[bytes], end: int, later_from: int | None, events: _Events) -> list[str]:
    """The rules that a history other than the expected one breaks; `end` is where its request is among the events."""
    found = ["history_too_long"] if len(history) > events.max_length else []
    # What is in the history more often than it was known at the request can only come from after it.
    surplus = Counter(history) - Counter(events.items[:end])
    first_after: dict[bytes, int] = {}
    for item, time in zip(events.items[end:], events.times[end:], strict=True):
        if item in surplus:
            first_after.setdefault(item, time)
    if first_after:
        found.append("history_not_before_request")
        if later_from is not None and max(first_after.values()) >= later_from:
            found.append("history_from_later_split")
    if surplus.keys() - first_after.keys() or not first_after:
        found.append("history_not_most_recent")
    return found


def _as_written(value: Any) -> tuple[Any, ...]:
    """A value of a column as an example has it: none where it is missing, and of several all."""
    if isinstance(value, list):
        return tuple(value)
    return () if value is None or value != value else (value,)


def _request_codes(rows: UserRows, cuts: list[int]) -> np.ndarray:
    """int64 [n]: equal for rows of one request; rows in different splits are never of one request."""
    request = np.unique(rows.time_us, return_inverse=True)[1].astype(np.int64)
    if rows.request is not None:
        named = np.array([key is not None for key in rows.request])
        names = np.array([key or b"" for key in rows.request], dtype=object)
        request[named] = np.unique(names, return_inverse=True)[1][named] + len(rows.item)
    split = np.array([bisect.bisect_right(cuts, time) for time in rows.time_us.tolist()], dtype=np.int64)
    return request * (len(cuts) + 1) + split


def _one_row_per_impression(request: np.ndarray, item: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the row that stands for each (request, item): its first positive row, else its first."""
    order = np.lexsort((np.arange(len(item)), -label.astype(np.int64), item, request))
    new_request = np.diff(request[order], prepend=-1) != 0
    new_item = np.diff(item[order], prepend=-1) != 0
    return np.sort(order[new_request | new_item])


def _unmatched(shown: np.ndarray, expected: np.ndarray) -> int:
    """How many lines of either have no equal line in the other, each line used once; the larger of the two sides."""
    # Without a fault they mostly are, in this order too, and need no sorting.
    if np.array_equal(shown, expected):
        return 0
    both = np.concatenate([shown, expected])
    order = np.lexsort(both.T)
    starts = np.flatnonzero((np.diff(both[order], axis=0) != 0).any(axis=1)) + 1
    balance = np.add.reduceat(np.where(order < len(shown), 1, -1), [0, *starts]) if len(both) else np.array([0])
    return int(max(balance[balance > 0].sum(), -balance[balance < 0].sum()))
