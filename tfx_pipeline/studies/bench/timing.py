"""Times of several functions, measured side by side.

A machine is not equally fast all the time: neighbours, clock rates, caches. Functions that take turns all see the same
machine, so that the ratio of their medians holds where neither median does.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TimeRemainingColumn

from tfx_pipeline.console import console, task_column

MIN_ROUNDS = 5
_WARM_UP_CALLS = 2


@dataclass(frozen=True)
class Timing:
    """Times of one function in milliseconds per call.

    Attributes:
        median: the middle one.
        p10, p90: a tenth of the calls was at most, at least, this long.
        calls: how many were timed.
    """

    median: float
    p10: float
    p90: float
    calls: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """The statistics of single calls."""
        p10, median, p90 = (1000 * float(value) for value in np.percentile(seconds, [10, 50, 90]))
        return cls(median, p10, p90, len(seconds))


def interleaved(
    functions: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    title: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times functions in the rounds of `interleaved_calls`.

    Args:
        functions: each waits for its result before it returns.
        seconds, title, clock: as in `interleaved_calls`.

    Returns:
        Times by name, in the order of `functions`.
    """
    timed = {name: timed_call(function, clock) for name, function in functions.items()}
    calls = interleaved_calls(timed, seconds=seconds, title=title, clock=clock)
    return {name: Timing.of(times) for name, times in calls.items()}


def timed_call(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """A function that calls `function` and returns how long that took, in seconds of the clock."""

    def timed() -> float:
        before = clock()
        function()
        return clock() - before

    return timed


def in_turn(
    requests: Sequence[tuple[Any, ...]], ask: Callable[..., object], clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """As `timed_call`, of `ask` with the arguments of the requests, one after the other and then again."""
    turns = itertools.cycle(requests)
    return timed_call(lambda: ask(*next(turns)), clock)


def p50_ms(seconds: Sequence[float]) -> float:
    """The median in milliseconds."""
    return round(1000 * float(np.median(seconds)), 3)


def p99_ms(seconds: Sequence[float]) -> float:
    """The 99th percentile in milliseconds."""
    return round(1000 * float(np.percentile(seconds, 99)), 3)


def per_second(seconds: Sequence[float]) -> float:
    """Calls per second, one at a time."""
    return round(1 / float(np.mean(seconds)), 2)


def interleaved_calls(
    functions: Mapping[str, Callable[[], float]],
    *,
    seconds: float,
    title: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Calls functions in rounds: in each round every function is called once, in an order drawn for that round.

    The order changes so that no function always finds the caches as the same other one has left them. Every function is
    called twice before, as the first call traces and allocates. The garbage collector rests meanwhile.

    Args:
        functions: each returns how long its work took, as it is not always done here.
        seconds: rounds begin until this time has passed, and there are at least `MIN_ROUNDS`.
        title: of the progress line, which is shown where standard error is a terminal.
        clock: seconds that pass.

    Returns:
        What the calls returned by name, in the order of `functions`, without the first two.
    """
    names = list(functions)
    order = random.Random(0)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        for _ in range(_WARM_UP_CALLS):
            functions[name]()
    with _progress_line() as progress, _garbage_collector_off():
        task = progress.add_task(title, total=seconds)
        started = clock()
        rounds = 0
        while rounds < MIN_ROUNDS or clock() - started < seconds:
            for name in order.sample(names, len(names)):
                taken[name].append(functions[name]())
            rounds += 1
            progress.update(task, completed=clock() - started, refresh=True)
    return taken


def _progress_line() -> Progress:
    # Drawn between rounds alone: a thread that redraws would take its time from what is measured.
    return Progress(
        task_column("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console(),
        transient=True,
        auto_refresh=False,
        disable=not console().is_terminal,
    )


@contextlib.contextmanager
def _garbage_collector_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
