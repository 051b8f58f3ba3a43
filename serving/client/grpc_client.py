"""The blocking gRPC client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from serving.client.base import BlockingClient
from serving.client.grpc_channel import GrpcMessages, call_failed, channel_arguments, channel_credentials
from serving.client.options import ClientOptions
from serving.client.retrieval_engine import RetrievalEngine
from serving.client.transport import BlockingTransport, CallFailed, Payload, check_targets


class GrpcTransport(GrpcMessages, BlockingTransport):
    """One channel per target, opened with the first call and kept.

    Args:
        targets: one or several "host:port".
        options: of the client.
    """

    def __init__(self, targets: str | Sequence[str], options: ClientOptions):
        super().__init__(options.max_parallel_calls)
        self.targets = check_targets(targets)
        self._options = options
        arguments = channel_arguments(options)
        if options.tls is None:
            self._channels = {target: grpc.insecure_channel(target, **arguments) for target in self.targets}
        else:
            credentials = channel_credentials(options.tls)
            self._channels = {target: grpc.secure_channel(target, credentials, **arguments) for target in self.targets}
        self._calls: dict[tuple[str, str], Any] = {}

    async def send(self, target: str, payload: Payload, timeout: float) -> bytes:
        """Calls and blocks until the answer is there.

        Raises:
            CallFailed: with gRPC's status.
        """
        key = (target, payload.path)
        if key not in self._calls:
            self._calls[key] = self._channels[target].unary_unary(payload.path)
        metadata = tuple(self._options.call_metadata().items())
        try:
            answer: bytes = self._calls[key](payload.body, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise call_failed(error, target) from error
        except ValueError as error:
            # "Cannot invoke RPC on closed channel!": closed between the engine's check and this call.
            raise CallFailed("UNAVAILABLE", str(error), target) from error
        return answer

    def close(self) -> None:
        """Closes the channels and ends the threads."""
        super().close()
        for channel in self._channels.values():
            channel.close()


class RankingClient(BlockingClient):
    """Ranks through TensorFlow Serving's gRPC API.

    ```
    user = {"user_id": "u1", "history_item_id": ["i1", "i2"], "gender": "f", "age": 34}
    with RankingClient("localhost:8500", "demo") as client:
        for item, score in client.rank(user, ["i3", "i4", "i5"]).top(2):
            print(item, score)
    ```
    The connection opens with the first call and is kept; make one client and share it between threads.

    Args:
        target: "host:port", or several of servers that all have the model. They take turns; one that is unreachable,
            or lacks the version, is passed over for the next.
        model: the name that the model is served under.
        options: see `ClientOptions`.

    Raises:
        BadRequest: no target, or no model name.
        ValueError: a file of the TLS options cannot be read.
    """

    def __init__(self, target: str | Sequence[str], model: str, options: ClientOptions | None = None):
        options = options or ClientOptions()
        transport = GrpcTransport(target, options)
        super().__init__(RetrievalEngine(transport, model, options), transport)
