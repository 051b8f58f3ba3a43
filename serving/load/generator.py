"""The generator: threads that share one blocking client.

Threads cost the processor as much per request as asyncio does, about 0.5 ms with 10 candidates and 1.5 ms with 1200,
and are what most services ask with. `LoadReport.generator_cpu` tells whether that was little enough.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import itertools
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from serving import contract
from serving.client import CallRecord, ClientOptions, RankingClient, RankingError, UserState
from serving.client.ranking import Ranking
from serving.load.report import LoadReport, WireTotals
from serving.load.requests import RankRequest

# Of a request and of the version that answered: its right scores, float32 [N], or None where they are not known.
ExpectedScores = Callable[[int, int], NDArray[np.float32] | None]

_EXAMPLES = 5
_PROGRESS_SECONDS = 0.5


class CallMode(enum.StrEnum):
    """How a request is asked."""

    RANK = "rank"
    """`RankingClient.rank`."""
    KEPT_STATE = "kept-state"
    """The user is encoded once; `RankingClient.score` with the state that the last answer gave back."""
    MIXED = "mixed"
    """Both in turn."""


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """How much, and how.

    Attributes:
        requests: how many to send; None to go by `seconds`.
        seconds: how long to send; None to go by `requests`.
        concurrency: requests under way at most.
        rate: requests per second, sent when they are due whatever the server does (open loop) as far as `concurrency`
            lets them. None sends the next one when an answer has come (closed loop).
        warm_up: requests before the run that do not count.
        mode: how a request is asked.
        deadline: of a request, seconds.
        tolerance: how far a score may lie from the right one: over the wire it is that of the model, bit by bit, up to
            how its threads divided a sum.

    Raises:
        ValueError: both or neither of `requests` and `seconds`, or a size below 1.
    """

    requests: int | None = None
    seconds: float | None = None
    concurrency: int = 1
    rate: float | None = None
    warm_up: int = 20
    mode: CallMode = CallMode.RANK
    deadline: float = 10.0
    tolerance: float = contract.SCORE_TOLERANCE[contract.FLOAT32]

    def __post_init__(self) -> None:
        if (self.requests is None) == (self.seconds is None):
            raise ValueError(f"give either requests or seconds, got {self.requests} and {self.seconds}")
        for name in ("requests", "seconds", "concurrency", "rate", "deadline", "tolerance"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0, got {value}")
        if self.warm_up < 0:
            raise ValueError(f"warm_up must not be negative, got {self.warm_up}")


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        seconds: since its start.
        answered: rankings so far.
        failed: requests without one.
        wrong: rankings with wrong scores.
        qps: rankings per second since the last report.
        p50_ms: of the answers since the last report; None when there were none.
        version: that answered last; None before.
    """

    seconds: float
    answered: int
    failed: int
    wrong: int
    qps: float
    p50_ms: float | None
    version: int | None


def run_load(
    target: str,
    model: str,
    requests: Sequence[RankRequest],
    options: LoadOptions,
    *,
    expected: ExpectedScores | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> LoadReport:
    """Puts load on a server.

    Args:
        target: "host:port" of its gRPC.
        model: the name that the model is served under.
        requests: taken in turn.
        options: how much, and how.
        expected: right scores by number of the request and version; every answer whose scores it knows is compared.
        on_progress: called twice a second in this thread.

    Returns:
        What came of all requests or, after Ctrl-C, of those until then.

    Raises:
        RankingError: the server or the model is not there at the start. Later errors are counted.
        KeyboardInterrupt: during the warm-up.
    """
    wire = _Wire()
    # Users of golden requests may lack columns, and made-up ones have none.
    client_options = ClientOptions(deadline=options.deadline, fill_missing=True, on_call=wire)
    with RankingClient(target, model, client_options) as client:
        client.metadata()
        asker = _Asker(client, requests, options.mode)
        if options.warm_up:
            threads = min(options.concurrency, options.warm_up)
            warm_up = dataclasses.replace(
                options, requests=options.warm_up, seconds=None, rate=None, concurrency=threads
            )
            if _Run(asker, warm_up, None, None).report(wire).interrupted:
                raise KeyboardInterrupt
        wire.reset()
        return _Run(asker, options, expected, on_progress).report(wire)


class _Asker:
    """Asks request after request; keeps users' states between calls."""

    def __init__(self, client: RankingClient, requests: Sequence[RankRequest], mode: CallMode):
        self._client = client
        self._requests = requests
        self._mode = mode
        self._states: dict[int, UserState] = {}

    def __call__(self, ticket: int) -> Ranking:
        request = self._requests[self.request_of(ticket)]
        if not self._keeps_state(ticket):
            return self._client.rank(request.user, request.candidates, columns=request.columns)
        # Threads may encode one user twice; both states are right.
        state = self._states.get(self.request_of(ticket)) or self._client.encode_user(request.user)
        ranking = self._client.score(state, request.candidates, columns=request.columns)
        self._states[self.request_of(ticket)] = ranking.state or state
        return ranking

    def request_of(self, ticket: int) -> int:
        """Number of the request that a ticket stands for."""
        return ticket % len(self._requests)

    def _keeps_state(self, ticket: int) -> bool:
        if self._mode is not CallMode.MIXED:
            return self._mode is CallMode.KEPT_STATE
        # In every other round a request is asked in the other way.
        return (ticket + ticket // len(self._requests)) % 2 == 1


class _Schedule:
    """Which requests there are, and when each is due."""

    def __init__(self, options: LoadOptions):
        self._options = options
        self._lock = threading.Lock()
        self._issued = 0
        self._stopped = threading.Event()
        self.start = time.perf_counter()
        self._end = float("inf") if options.seconds is None else self.start + options.seconds

    def take(self) -> tuple[int, float | None] | None:
        """A ticket and, in an open loop, the moment it is due, once that has come; None when there are no more."""
        with self._lock:
            now = time.perf_counter()
            due = None if self._options.rate is None else self.start + self._issued / self._options.rate
            over = self._issued == self._options.requests or max(due or now, now) >= self._end
            if over or self._stopped.is_set():
                return None
            ticket, self._issued = self._issued, self._issued + 1
        if due is not None and due > now and self._stopped.wait(due - now):
            return None
        return ticket, due

    def stop(self) -> None:
        """No more tickets; none is due after this moment."""
        self._end = min(self._end, time.perf_counter())
        self._stopped.set()

    @property
    def unsent(self) -> int:
        """Tickets of an open loop that were due and not taken in time."""
        if self._options.rate is None or self._options.seconds is None:
            return 0
        due = int(np.ceil(round((self._end - self.start) * self._options.rate, 6)))
        return max(due - self._issued, 0)


class _Run:
    """One run, from the first request to the report."""

    def __init__(
        self,
        ask: _Asker,
        options: LoadOptions,
        expected: ExpectedScores | None,
        on_progress: Callable[[Progress], None] | None,
    ):
        self._ask = ask
        self._options = options
        self._expected = expected
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._latencies: list[float] = []
        self._lateness: list[float] = []
        self._errors: collections.Counter[str] = collections.Counter()
        self._versions: collections.Counter[int] = collections.Counter()
        self._checked = self._wrong = 0
        self._largest_difference = 0.0
        self._last_version: int | None = None
        self._examples: list[str] = []
        self._broken: BaseException | None = None

    def report(self, wire: _Wire) -> LoadReport:
        """Sends everything, then says what came of it."""
        processor = time.process_time()
        schedule = _Schedule(self._options)
        threads = [
            threading.Thread(target=self._work, args=(schedule,), name=f"load-{number}", daemon=True)
            for number in range(self._options.concurrency)
        ]
        interrupted = False
        try:
            for thread in threads:
                thread.start()
            self._watch(threads, schedule.start)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            schedule.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        seconds = time.perf_counter() - schedule.start
        if self._broken is not None:
            raise self._broken
        return LoadReport(
            seconds,
            np.array(self._latencies),
            np.array(self._lateness),
            dict(self._errors),
            schedule.unsent,
            dict(self._versions),
            wire.totals(),
            self._checked,
            self._wrong,
            self._largest_difference,
            tuple(self._examples),
            (time.process_time() - processor) / seconds,
            interrupted,
        )

    def _work(self, schedule: _Schedule) -> None:
        try:
            while (taken := schedule.take()) is not None:
                self._one(*taken)
        # A mistake in this code or the caller's; it ends the run.
        except BaseException as error:
            self._broken = error
            schedule.stop()

    def _one(self, ticket: int, due: float | None) -> None:
        begun = time.perf_counter()
        due = begun if due is None else due
        try:
            ranking = self._ask(ticket)
        except RankingError as error:
            with self._lock:
                self._lateness.append(begun - due)
                self._errors[error.code or type(error).__name__] += 1
                self._example(str(error))
            return
        ended = time.perf_counter()
        version = ranking.model_version
        difference = None if version is None else self._difference(ticket, version, ranking)
        with self._lock:
            self._latencies.append(ended - due)
            self._lateness.append(begun - due)
            if version is not None:
                self._versions[version] += 1
                self._last_version = version
            if difference is None:
                return
            self._checked += 1
            self._largest_difference = max(self._largest_difference, difference)
            # Not `difference > tolerance`: that is false for NaN.
            if not difference <= self._options.tolerance:
                self._wrong += 1
                request = self._ask.request_of(ticket)
                self._example(f"scores of request {request} by version {version} differ by {difference:.3g}")

    def _difference(self, ticket: int, version: int, ranking: Ranking) -> float | None:
        right = None if self._expected is None else self._expected(self._ask.request_of(ticket), version)
        return None if right is None else float(np.abs(ranking.scores_in_request_order - right).max())

    def _example(self, sentence: str) -> None:
        if len(self._examples) < _EXAMPLES and sentence not in self._examples:
            self._examples.append(sentence)

    def _watch(self, threads: Sequence[threading.Thread], start: float) -> None:
        """Waits for the threads; tells of the progress meanwhile."""
        told, told_at = 0, start
        for number in itertools.count(1):
            for thread in threads:
                thread.join(max(0.0, start + number * _PROGRESS_SECONDS - time.perf_counter()))
            if not any(thread.is_alive() for thread in threads):
                return
            if self._on_progress is None:
                continue
            now = time.perf_counter()
            with self._lock:
                recent = self._latencies[told:]
                failed, wrong, version = sum(self._errors.values()), self._wrong, self._last_version
            told += len(recent)
            p50 = 1000 * float(np.median(recent)) if recent else None
            self._on_progress(Progress(now - start, told, failed, wrong, len(recent) / (now - told_at), p50, version))
            told_at = now


class _Wire:
    """Calls and bytes by signature, as the client tells of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, list[int]] = {}

    def __call__(self, record: CallRecord) -> None:
        if record.method != "Predict" or record.code != "OK":
            return
        with self._lock:
            total = self._totals.setdefault(record.signature, [0, 0, 0])
            total[0] += 1
            total[1] += record.request_bytes
            total[2] += record.response_bytes

    def reset(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._totals.clear()

    def totals(self) -> dict[str, WireTotals]:
        """By signature."""
        with self._lock:
            return {name: WireTotals(*total) for name, total in self._totals.items()}
