"""The asyncio gRPC client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc.aio

from serving.approximate_index import ApproximateIndex
from serving.client.candidates import Candidates, Columns, Content
from serving.client.grpc_channel import GrpcMessages, call_failed, channel_arguments, channel_credentials
from serving.client.model_info import ModelMetadata, ModelStatus
from serving.client.options import ClientOptions
from serving.client.ranking import Ranking
from serving.client.requests import Selector
from serving.client.retrieval import Recommendation, Retrieval
from serving.client.retrieval_engine import RetrievalEngine
from serving.client.transport import CallFailed, Payload, Step, check_targets
from serving.client.user import UserLike
from serving.client.user_state import UserState
from serving.client.wanted import Wanted

T = TypeVar("T")


class AsyncGrpcTransport(GrpcMessages):
    """One channel per target, opened with the first call in the running event loop and kept.

    Args:
        targets: one or several "host:port".
        options: of the client.
    """

    def __init__(self, targets: str | Sequence[str], options: ClientOptions):
        self.targets = check_targets(targets)
        self._options = options
        self._closed = False
        # Read now: a missing file is an error of the constructor, not of the first call.
        self._credentials = None if options.tls is None else channel_credentials(options.tls)
        self._channels: dict[str, Any] = {}
        self._calls: dict[tuple[str, str], Any] = {}

    async def send(self, target: str, payload: Payload, timeout: float) -> bytes:
        """Awaits the answer.

        Raises:
            CallFailed: with gRPC's status.
        """
        key = (target, payload.path)
        if key not in self._calls:
            self._calls[key] = self._channel(target).unary_unary(payload.path)
        metadata = tuple(self._options.call_metadata().items())
        try:
            answer: bytes = await self._calls[key](payload.body, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise call_failed(error, target) from error
        except grpc.aio.UsageError as error:
            # The channel was closed between the engine's check and this call.
            raise CallFailed("UNAVAILABLE", str(error), target) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            # Not the caller's doing: closing a channel cancels its calls.
            raise CallFailed("UNAVAILABLE", "the channel was closed", target) from error
        return answer

    async def sleep(self, seconds: float) -> None:
        """Lets other tasks run."""
        await asyncio.sleep(seconds)

    async def compute(self, work: Callable[[], T]) -> T:
        """Computes in another thread."""
        return await asyncio.to_thread(work)

    async def gather(self, steps: Sequence[Step[T]]) -> list[T]:
        """Runs the steps as tasks; the first error cancels the others."""
        slots = asyncio.Semaphore(self._options.max_parallel_calls)

        async def in_slot(step: Step[T]) -> T:
            async with slots:
                return await step()

        tasks = [asyncio.ensure_future(in_slot(step)) for step in steps]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def close(self) -> None:
        """Closes the channels; calls under way fail."""
        self._closed = True
        for channel in self._channels.values():
            await channel.close()

    def _channel(self, target: str) -> Any:
        if target not in self._channels:
            arguments = channel_arguments(self._options)
            self._channels[target] = (
                grpc.aio.insecure_channel(target, **arguments)
                if self._credentials is None
                else grpc.aio.secure_channel(target, self._credentials, **arguments)
            )
        return self._channels[target]


class AsyncRankingClient:
    """`RankingClient` for asyncio: the same methods as coroutines, an asynchronous context manager.

    ```
    async with AsyncRankingClient("localhost:8500", "demo") as client:
        ranking = await client.rank(user, ["i3", "i4", "i5"])
    ```
    A client belongs to the event loop of its first call. Cancelling a task cancels its calls.

    Args:
        target: as in `RankingClient`.
        model: as in `RankingClient`.
        options: as in `RankingClient`; `on_call` runs in the event loop and must not block.

    Raises:
        BadRequest: no target, or no model name.
        ValueError: a file of the TLS options cannot be read.
    """

    def __init__(self, target: str | Sequence[str], model: str, options: ClientOptions | None = None):
        options = options or ClientOptions()
        self._transport = AsyncGrpcTransport(target, options)
        self._engine = RetrievalEngine(self._transport, model, options)

    async def rank(
        self,
        user: UserLike,
        candidates: Iterable[str],
        *,
        content: Content | None = None,
        columns: Columns | None = None,
        objectives: bool = False,
        version: int | None = None,
        label: str | None = None,
        deadline: float | None = None,
    ) -> Ranking:
        """Scores candidates for a user; see `RankingClient.rank`."""
        limit = self._engine.deadline(deadline)
        return await self._engine.rank(
            user, Candidates.of(candidates, content, columns), Selector(version, label), limit, objectives
        )

    async def encode_user(
        self,
        user: UserLike,
        *,
        version: int | None = None,
        label: str | None = None,
        deadline: float | None = None,
    ) -> UserState:
        """Encodes a user once; see `RankingClient.encode_user`."""
        return await self._engine.encode_user(user, Selector(version, label), self._engine.deadline(deadline))

    async def score(
        self,
        state: UserState,
        candidates: Iterable[str],
        *,
        content: Content | None = None,
        columns: Columns | None = None,
        objectives: bool = False,
        deadline: float | None = None,
    ) -> Ranking:
        """Scores candidates with a kept state; see `RankingClient.score`."""
        return await self._engine.score(
            state, Candidates.of(candidates, content, columns), self._engine.deadline(deadline), objectives
        )

    async def retrieve(
        self,
        user: UserLike,
        k: int,
        *,
        exclude: Iterable[str] = (),
        exclude_history: bool = False,
        version: int | None = None,
        label: str | None = None,
        index: ApproximateIndex | None = None,
        deadline: float | None = None,
    ) -> Retrieval:
        """Items of the whole catalogue for a user; see `RankingClient.retrieve`."""
        limit = self._engine.deadline(deadline)
        wanted = Wanted.of(k, exclude, exclude_history)
        return await self._engine.retrieve(user, wanted, Selector(version, label), limit, index)

    async def recommend(
        self,
        user: UserLike,
        k: int,
        *,
        exclude: Iterable[str] = (),
        exclude_history: bool = False,
        objectives: bool = False,
        version: int | None = None,
        label: str | None = None,
        index: ApproximateIndex | None = None,
        deadline: float | None = None,
    ) -> Recommendation:
        """A page for a user out of the whole catalogue; see `RankingClient.recommend`."""
        limit = self._engine.deadline(deadline)
        wanted = Wanted.of(k, exclude, exclude_history)
        return await self._engine.recommend(user, wanted, Selector(version, label), limit, objectives, index)

    async def model_status(self, *, deadline: float | None = None) -> ModelStatus:
        """The model's versions; see `RankingClient.model_status`."""
        return await self._engine.status(self._engine.deadline(deadline))

    async def metadata(
        self, *, version: int | None = None, label: str | None = None, deadline: float | None = None
    ) -> ModelMetadata:
        """The signatures of a version; see `RankingClient.metadata`."""
        return await self._engine.metadata(Selector(version, label), self._engine.deadline(deadline))

    async def close(self) -> None:
        """Closes the connections; calls under way fail with `ClientClosed`."""
        self._engine.close()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
