"""Interleaving, medians and the end of a measurement, on a clock that stands still unless told."""

from __future__ import annotations

import gc
import itertools

import pytest

from tfx_pipeline.studies.bench.timing import MIN_ROUNDS, Timing, interleaved


class FakeClock:
    """A clock that only `pass_` moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def recorder(clock: FakeClock, called: list[str], name: str, durations: list[float]):
    """A function that takes one of `durations` after the other, then the last for ever."""
    left = list(durations)

    def function() -> None:
        called.append(name)
        clock.pass_(left.pop(0) if len(left) > 1 else left[0])

    return function


def measure(clock: FakeClock, seconds: float, **durations: list[float]) -> tuple[dict[str, Timing], list[str]]:
    called: list[str] = []
    functions = {name: recorder(clock, called, name, times) for name, times in durations.items()}
    return interleaved(functions, seconds=seconds, title="test", clock=clock), called


def test_every_round_calls_each_once_after_the_warm_up(clock):
    timings, called = measure(clock, 30.0, a=[1.0], b=[1.0], c=[1.0])
    warm_up, rounds = called[:6], called[6:]
    assert warm_up == ["a", "a", "b", "b", "c", "c"]
    rounds = [rounds[start : start + 3] for start in range(0, len(rounds), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(rounds) == 10
    assert {name: timing.calls for name, timing in timings.items()} == {"a": 10, "b": 10, "c": 10}


def test_every_function_follows_every_other(clock):
    _, called = measure(clock, 300.0, a=[1.0], b=[1.0], c=[1.0])
    followed = set(itertools.pairwise(called[6:]))
    assert {(one, other) for one in "abc" for other in "abc" if one != other} <= followed


def test_the_order_is_the_same_in_every_run():
    orders = [measure(FakeClock(), 50.0, a=[1.0], b=[2.0], c=[3.0])[1] for _ in range(2)]
    assert orders[0] == orders[1]


def test_times_are_milliseconds_without_the_warm_up(clock):
    # Two slow first calls; then 1 to 11 ms and a constant.
    rising = [9.0, 9.0, *(millisecond / 1000 for millisecond in range(1, 12))]
    timings, _ = measure(clock, 0.066 + 11 * 0.004, rising=rising, constant=[0.004])
    assert list(timings) == ["rising", "constant"]
    rising_times = timings["rising"]
    assert rising_times.calls == 11
    assert (rising_times.p10, rising_times.median, rising_times.p90) == pytest.approx((2.0, 6.0, 10.0))
    assert timings["constant"].median == pytest.approx(4.0)


def test_one_slow_call_does_not_move_the_median(clock):
    timings, _ = measure(clock, 0.0, a=[0.001, 0.001, 0.001, 0.001, 50.0, 0.001])
    assert timings["a"].median == pytest.approx(1.0)


def test_there_are_enough_rounds_however_short_the_time(clock):
    timings, _ = measure(clock, 0.0, slow=[100.0], fast=[0.1])
    assert {timing.calls for timing in timings.values()} == {MIN_ROUNDS}


def test_the_garbage_collector_rests_and_comes_back(clock):
    seen = []

    def function() -> None:
        seen.append(gc.isenabled())
        clock.pass_(1.0)

    interleaved({"f": function}, seconds=1.0, title="test", clock=clock)
    assert not any(seen[2:])
    assert gc.isenabled()

    def failing() -> None:
        if len(seen) > 12:
            raise RuntimeError("broken")
        function()

    with pytest.raises(RuntimeError, match="broken"):
        interleaved({"f": failing}, seconds=100.0, title="test", clock=clock)
    assert gc.isenabled()
