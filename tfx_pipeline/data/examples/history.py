"""Histories: what the ranker could have known of a user at the moment of a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_MICROSECONDS = 1e6


def histories(
    event_times: Sequence[int],
    event_items: Sequence[bytes],
    request_times: Sequence[int],
    max_length: int,
    delay_us: int,
) -> Iterator[tuple[Sequence[bytes], Sequence[int]]]:
    """The history of each request of one user, in one pass: its items, and when these events were.

    An event at time e is in the history of a request at time t if e < t and e <= t - delay_us; of those, the most
    recent `max_length`, oldest first.

    Args:
        event_times: microseconds, ascending; ties in the order of the log.
        event_items: item ids, as long as `event_times`.
        request_times: microseconds, ascending.
        max_length: the most items of a history.
        delay_us: an event is known this long after it happened.
    """
    known = 0
    total = len(event_times)
    for time in request_times:
        newest = min(time - 1, time - delay_us)
        while known < total and event_times[known] <= newest:
            known += 1
        recent = slice(max(0, known - max_length), known)
        yield event_items[recent], event_times[recent]


def ages_s(request_us: int, event_us: Sequence[int] | np.ndarray) -> np.ndarray:
    """Seconds, float32 [L], from events to a request, all given in microseconds.

    The difference is exact: a time since 1970 has more digits than a float32, or the age would have less.
    """
    return ((request_us - np.asarray(event_us, np.int64)) / _MICROSECONDS).astype(np.float32)
