"""gRPC health that lets the server end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health


class Health(health.HealthServicer):
    """Health whose `Watch` streams end when the server does; otherwise each would hold it up for the whole grace."""

    def __init__(self) -> None:
        super().__init__(experimental_non_blocking=True)
        self._streams: set[Callable[[Any], None]] = set()

    def Watch(self, request: Any, context: grpc.ServicerContext, send_response_callback: Callable[[Any], None]) -> None:
        """Sends the status now and at every change."""
        with self._lock:
            self._streams.add(send_response_callback)
        context.add_callback(lambda: self._streams.discard(send_response_callback))
        super().Watch(request, context, send_response_callback)

    def end(self) -> None:
        """From now on NOT_SERVING; whoever watches is told, and their streams end."""
        self.enter_graceful_shutdown()
        with self._lock:
            streams = list(self._streams)
        for send in streams:
            send(None)
