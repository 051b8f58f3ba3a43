"""Histories: what the ranker could have known of a user at the moment of a request."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence


def histories(
    event_times: Sequence[int],
    event_items: Sequence[bytes],
    request_times: Sequence[int],
    max_length: int,
    delay_us: int,
) -> Iterator[list[bytes]]:
    """The history of each request of one user, in one pass that holds at most `max_length` events.

    An event at time e is in the history of a request at time t if e < t and e <= t - delay_us; of those, the most
    recent `max_length`, oldest first.

    Args:
        event_times: microseconds, ascending; ties in the order of the log.
        event_items: item ids, as long as `event_times`.
        request_times: microseconds, ascending.
        max_length: the most items of a history.
        delay_us: an event is known this long after it happened.
    """
    recent: deque[bytes] = deque(maxlen=max_length)
    known = 0
    total = len(event_times)
    for time in request_times:
        newest = min(time - 1, time - delay_us)
        while known < total and event_times[known] <= newest:
            recent.append(event_items[known])
            known += 1
        yield list(recent)
