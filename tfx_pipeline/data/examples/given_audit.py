"""The leakage audit of histories that the log gives: each against the row that gives it, on a path of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfx_pipeline.data.examples.requests import UserRows

FACTS = ("requests", "events", "from_future", "held_back", "ends_in_own_positive")
"""That are counted of the requests written: `events` that the log gives them, those of them at or after the request,
those within `history.delay_s` before it, and requests whose newest history item is one of their own positives."""


def seconds_before(time_us: int, moments_us: np.ndarray) -> list[float]:
    """Seconds from moments, int64 [L] microseconds, to a time, as float32 has them."""
    between = np.subtract(np.int64(time_us), moments_us)
    seconds: list[float] = np.divide(between, 1_000_000).astype(np.float32).tolist()
    return seconds


class _Given(NamedTuple):
    """Of one request: what its history must be, what was known too late for it, and what there is to count."""

    history: list[bytes]
    ages: list[float]
    late: Counter[bytes]
    events: int
    from_future: int
    newest_us: int | None
    oldest_us: int | None


class Finding(NamedTuple):
    """Of one history.

    Attributes:
        broken: the rules that it breaks.
        facts: counts of `FACTS`.
        ages_us: how long before the request its newest and its oldest event were; empty where that is not known.
    """

    broken: list[str]
    facts: Counter[str]
    ages_us: list[int]


class GivenHistoryAuditor:
    """Checks the histories of one user's requests, one at a time.

    Args:
        rows: of the user, with histories that the log gives.
        request: int64 [n]: of each row, a number that rows of its request share.
        max_length: the most items of a history.
        delay_us: an event is known this long after it happened.
        ages: whether histories must have ages.

    Attributes:
        had, had_at: items that histories say the user had before a request, and the request's time in microseconds.
    """

    def __init__(self, rows: UserRows, request: np.ndarray, max_length: int, delay_us: int, ages: bool = False) -> None:
        assert rows.given is not None, "the log gives histories"
        self._max_length = max_length
        self._of: dict[int, list[_Given]] = defaultdict(list)
        self.had: list[bytes] = []
        self.had_at: list[int] = []
        # Rows are in the order of time, so the first of a request is its earliest.
        for row in np.unique(request, return_index=True)[1].tolist():
            time = int(rows.time_us[row])
            self._of[time].append(_expected(rows, row, time, max_length, delay_us, ages))
            items, times = rows.given.at(row)
            known = [item for place, item in enumerate(items) if times is None or times[place] < time]
            self.had += known
            self.had_at += [time] * len(known)

    def check(self, time: int, history: list[bytes], positives: set[bytes], ages: Sequence[float] = ()) -> Finding:
        """Checks one history.

        Args:
            time: of the request, in microseconds.
            history: as it is about to be written.
            positives: candidates of the request with label 1.
            ages: of the history's items in seconds.
        """
        there = self._of[time]
        # Requests of one moment, told apart by their ids, each have a history of their own.
        alike = [at for at, given in enumerate(there) if given.history == history]
        place = next((at for at in alike if there[at].ages == list(ages)), None)
        if place is None and alike:
            return Finding(["history_age_wrong"], Counter(), [])
        if place is None:
            late = sum((given.late for given in there), Counter[bytes]())
            return Finding(self._what_is_wrong(history, there, late), Counter(), [])
        given = there.pop(place)
        facts = Counter(
            requests=1,
            events=given.events,
            from_future=given.from_future,
            held_back=given.late.total() - given.from_future,
            ends_in_own_positive=int(bool(history) and history[-1] in positives),
        )
        ends = [time - moment for moment in (given.newest_us, given.oldest_us) if moment is not None]
        return Finding([], facts, ends)

    def _what_is_wrong(self, history: list[bytes], there: list[_Given], late: Counter[bytes]) -> list[str]:
        found = ["history_too_long"] if len(history) > self._max_length else []
        known = sum((Counter(given.history) for given in there), Counter[bytes]())
        from_later = (Counter(history) - known) & late
        return [*found, "history_not_before_request" if from_later else "history_not_as_given"]


def _expected(rows: UserRows, row: int, time: int, max_length: int, delay_us: int, ages: bool) -> _Given:
    assert rows.given is not None, "the log gives histories"
    items, times = rows.given.at(row)
    if times is None:
        return _Given(items[-max_length:], [], Counter(), len(items), 0, None, None)
    future = times >= time
    late = future | (times > time - delay_us)
    order = [place for place in np.argsort(times, kind="stable").tolist() if not late[place]][-max_length:]
    return _Given(
        [items[place] for place in order],
        seconds_before(time, times[order]) if ages else [],
        Counter(items[place] for place in np.flatnonzero(late).tolist()),
        len(items),
        int(future.sum()),
        int(times[order[-1]]) if order else None,
        int(times[order[0]]) if order else None,
    )
