from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_pipeline.data.examples.history import ages_s, histories


def _histories(
    events: list[tuple[int, bytes]], requests: list[int], length: int = 3, delay: int = 0
) -> list[list[bytes]]:
    found = list(histories([t for t, _ in events], [i for _, i in events], requests, length, delay))
    assert all(set(zip(times, items, strict=True)) <= set(events) for items, times in found)
    return [list(items) for items, _ in found]


def test_an_event_at_or_after_the_request_is_not_history() -> None:
    events = [(9, b"before"), (10, b"same instant"), (11, b"after")]
    assert _histories(events, [9, 10, 11]) == [[], [b"before"], [b"before", b"same instant"]]


def test_truncation_drops_the_oldest() -> None:
    events = [(t, str(t).encode()) for t in range(1, 6)]
    assert _histories(events, [3, 6], length=3) == [[b"1", b"2"], [b"3", b"4", b"5"]]
    assert _histories(events, [6], length=1) == [[b"5"]]


def test_ties_keep_the_order_of_the_log() -> None:
    assert _histories([(1, b"b"), (1, b"a"), (1, b"c")], [2], length=2) == [[b"a", b"c"]]


@pytest.mark.parametrize(("delay", "expected"), [(0, [b"x"]), (1, [b"x"]), (5, [b"x"]), (6, [])])
def test_delay_hides_what_happened_lately(delay: int, expected: list[bytes]) -> None:
    assert _histories([(5, b"x")], [10], delay=delay) == [expected]


def test_several_requests_of_one_instant_see_the_same() -> None:
    assert _histories([(1, b"a"), (5, b"b")], [5, 5, 5, 6]) == [[b"a"], [b"a"], [b"a"], [b"a", b"b"]]


@given(
    events=st.lists(st.tuples(st.integers(0, 20), st.binary(min_size=1, max_size=1)), max_size=30),
    requests=st.lists(st.integers(0, 25), max_size=10),
    length=st.integers(1, 8),
    delay=st.integers(0, 10),
)
def test_equals_the_definition(events: list, requests: list[int], length: int, delay: int) -> None:
    events.sort(key=lambda event: event[0])
    requests.sort()
    expected = [[i for t, i in events if t < time and t <= time - delay][-length:] for time in requests]
    assert _histories(events, requests, length, delay) == expected


def test_ages_are_differences_of_times_and_not_of_rounded_times() -> None:
    request = 1_600_000_000_000_000
    found = ages_s(request, [request - 3_000_000_000_000, request - 1_500_000, request - 1])
    assert found.dtype == np.float32
    assert found.tolist() == [3_000_000, 1.5, np.float32(1e-6)]
    assert ages_s(request, []).shape == (0,)
