"""What the engine needs of a transport, and what the blocking ones share."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

from serving.client.errors import BadRequest, ClientClosed
from serving.client.model_info import Signature
from serving.client.text import check_text, shown

T = TypeVar("T")
Step = Callable[[], Coroutine[Any, Any, T]]


class CallFailed(Exception):
    """One call to one server failed; the engine makes a `RankingError` of it or tries again.

    Args:
        code: name of the gRPC status.
        details: the server's or the transport's words.
        target: the server that was asked.
        answered: the status came over the wire; False where nobody was reached.
    """

    def __init__(self, code: str, details: str, target: str, *, answered: bool = False):
        super().__init__(f"{code} from {target}: {details}")
        self.code = code
        self.details = details
        self.target = target
        self.answered = answered


@dataclasses.dataclass(frozen=True)
class Payload:
    """One request as it goes over the wire.

    Attributes:
        path: gRPC method or URL path.
        body: empty for an HTTP GET.
    """

    path: str
    body: bytes


class Transport(Protocol):
    """Carries requests to servers; the messages of `serving.protos` are its language, whatever the wire's is.

    Attributes:
        targets: servers that all have the model.
        names_version: an answer says which version gave it.
    """

    targets: tuple[str, ...]
    names_version: bool

    def encode(self, request: Any) -> Payload:
        """A request message for the wire."""

    def decode(self, request: Any, raw: bytes, signature: Signature | None) -> Any:
        """The answer message to `request`; `signature` is that of a Predict call.

        Raises:
            InvalidAnswer: when the bytes are none.
        """

    async def send(self, target: str, payload: Payload, timeout: float) -> bytes:
        """The answer of one server within `timeout` seconds.

        Raises:
            CallFailed: with the status.
        """

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    async def gather(self, steps: Sequence[Step[T]]) -> list[T]:
        """Runs steps at once, a bounded number of them; their results in order, or the first one's error."""

    async def compute(self, work: Callable[[], T]) -> T:
        """What a function gives that takes milliseconds of this machine; an event loop goes on meanwhile."""


def run(step: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine of the engine on a blocking transport, which never suspends: it is done after one step.

    So one engine, written with `async`, serves blocking and asyncio clients.
    """
    try:
        step.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    step.close()
    raise AssertionError("a blocking transport suspended")


def _run_step(step: Step[T]) -> T:
    return run(step())


class BlockingTransport:
    """Waiting and parallel steps by threads.

    Args:
        max_parallel_calls: threads at most; they start with the first split list.
    """

    def __init__(self, max_parallel_calls: int):
        self._max_parallel_calls = max_parallel_calls
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    async def sleep(self, seconds: float) -> None:
        """Blocks the calling thread."""
        time.sleep(seconds)

    async def compute(self, work: Callable[[], T]) -> T:
        """Computes in the calling thread."""
        return work()

    async def gather(self, steps: Sequence[Step[T]]) -> list[T]:
        """Runs each step in a thread of the pool."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._max_parallel_calls, "ranking-client")
            futures = [self._pool.submit(_run_step, step) for step in steps]
        wait(futures)
        try:
            return [future.result() for future in futures]
        except CancelledError as error:
            raise ClientClosed("the client was closed during the call") from error

    def close(self) -> None:
        """Ends the threads; calls that run in them go on until the connections are closed."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None


def check_targets(targets: str | Sequence[str]) -> tuple[str, ...]:
    """One target or several as a tuple without repetitions.

    Raises:
        BadRequest: when there is none, or one is no text.
    """
    listed = (targets,) if isinstance(targets, str) else tuple(targets)
    if not listed or not all(isinstance(target, str) and target for target in listed):
        raise BadRequest.of("target", f"target must be 'host:port' or a list of such, got {shown(targets)}")
    for target in listed:
        check_text("target", target)
    return tuple(dict.fromkeys(listed))
