"""The server itself: services, health, reflection, REST, and an orderly end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.local_server import descriptors
from serving.local_server.batching import BatchingOptions
from serving.local_server.errors import LocalServerError, cannot_listen, check_base_dir
from serving.local_server.health import Health
from serving.local_server.loading import warmup_model_name
from serving.local_server.model_service import ModelService
from serving.local_server.policy import VersionPolicy
from serving.local_server.prediction_service import PredictionService
from serving.local_server.rest import RestApi
from serving.local_server.versions import ModelVersions
from serving.local_server.watch import VersionEvent, VersionWatch, log_event, version_folders
from serving.rest_server import RestServer

# TensorFlow Serving's own: requests of any size that protobuf can hold.
ANY_SIZE = 2**31 - 1
DEFAULT_MAX_CONCURRENT = 256


class LocalServer:
    """Serves a base path of versions over gRPC and REST, as TensorFlow Serving does; for development and CI.

    A context manager: inside it `target` answers, and every version that lay there at the start has been tried.

    ```
    with LocalServer("runs/demo/serving/demo") as server:
        channel = grpc.insecure_channel(server.target)
    ```

    Args:
        base_dir: the folder of numbered folders.
        name: of the model; None takes the one in the newest version's warm-up requests, or else the folder's.
        host: address to listen at.
        port: of gRPC; 0 takes a free one, which stays the same over `stop` and `start`.
        rest_port: likewise, of REST; None for no REST.
        policy: which versions are served; the newest by default.
        labels: names for version numbers.
        batching: None runs every call by itself.
        max_concurrent: calls that may run and wait, of gRPC and of REST each; one more is answered with
            RESOURCE_EXHAUSTED.
        max_message_bytes: largest request.
        poll_seconds: how often the base path is looked at.
        on_event: told of version changes and problems; the default is Python's logging.

    Raises:
        LocalServerError: the base path is none, or an option makes no sense.
    """

    def __init__(
        self,
        base_dir: str | Path,
        name: str | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int | None = None,
        policy: VersionPolicy | None = None,
        labels: Mapping[str, int] | None = None,
        batching: BatchingOptions | None = None,
        max_concurrent: int = DEFAULT_MAX_CONCURRENT,
        max_message_bytes: int = ANY_SIZE,
        poll_seconds: float = 1.0,
        on_event: Callable[[VersionEvent], None] = log_event,
    ):
        if max_concurrent < 1 or max_message_bytes < 1 or not 0 < poll_seconds < float("inf"):
            raise LocalServerError(
                "max_concurrent and max_message_bytes must be at least 1 and poll_seconds above 0; got "
                f"{max_concurrent}, {max_message_bytes} and {poll_seconds}"
            )
        if port and port == rest_port:
            raise LocalServerError(f"gRPC and REST want a port each; got {port} for both")
        self.base_dir = Path(base_dir)
        check_base_dir(self.base_dir)
        self.name = name or default_name(self.base_dir)
        # An IPv6 address stands in brackets before a port.
        self._host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        self._port = port
        self._rest_port = rest_port
        self._policy = policy
        self._labels = dict(labels or {})
        self._batching = batching
        self._max_concurrent = max_concurrent
        self._max_message_bytes = max_message_bytes
        self._poll_seconds = poll_seconds
        self._on_event = on_event
        self._server: grpc.Server | None = None
        self._rest: RestServer | None = None
        self._versions = ModelVersions(self.name, self._labels)
        self._watch: VersionWatch | None = None
        self._health: Health | None = None

    @property
    def target(self) -> str:
        """Where gRPC is; with `port=0` known once the server has started."""
        return f"{self._host}:{self._port}"

    @property
    def rest_target(self) -> str | None:
        """Where REST is, None without it; with `rest_port=0` known once the server has started."""
        return None if self._rest_port is None else f"{self._host}:{self._rest_port}"

    @property
    def available(self) -> list[int]:
        """Versions that answer, ascending."""
        return self._versions.available

    @property
    def signatures(self) -> list[str]:
        """What the newest version can be asked; empty while there is none."""
        return self._versions.signatures

    def set_label(self, label: str, version: int) -> None:
        """Gives a version a name by which clients can ask for it, or moves the name."""
        self._labels[label] = version
        self._versions.set_label(label, version)

    def wait_until_available(self, timeout: float) -> bool:
        """Waits for any version; whether there is one."""
        return self._versions.wait_until_available(timeout)

    def start(self) -> None:
        """Binds the ports, loads what is there, then answers.

        Raises:
            LocalServerError: a port is taken.
        """
        self._versions = ModelVersions(self.name, self._labels)
        self._health = Health()
        self._rest = self._bind_rest(self._versions)
        try:
            self._server = self._bind(self._versions, self._health)
        except LocalServerError:
            self._stop_rest(0)
            raise
        self._watch = VersionWatch(
            self.base_dir,
            self._versions,
            policy=self._policy,
            batching=self._batching,
            on_event=self._changed,
        )
        self._tell_health()
        try:
            self._watch.poll()
        except BaseException:
            self.stop(grace=0)
            raise
        self._tell_health()
        self._server.start()
        if self._rest is not None:
            self._rest.start()
        self._watch.start(self._poll_seconds)

    def stop(self, grace: float = 10.0) -> None:
        """Drains: health says NOT_SERVING, new calls are refused, those under way have `grace` seconds to end."""
        if self._server is None or self._watch is None or self._health is None:
            return
        self._health.end()
        ended = self._server.stop(grace)
        self._stop_rest(grace)
        ended.wait()
        self._watch.stop()
        self._server = self._watch = self._health = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _bind(self, versions: ModelVersions, health_servicer: Health) -> grpc.Server:
        # A call that waits for its batch holds a thread.
        threads = (os.cpu_count() or 1) + 4
        if self._batching is not None:
            threads = max(threads, 2 * self._batching.max_batch_size)
        server = grpc.server(
            futures.ThreadPoolExecutor(threads, "local-server"),
            options=[
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # Without this a second server would share the port, and each would get half of the calls.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=self._max_concurrent,
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(versions), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(versions), server)
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        descriptors.register()
        services = (descriptors.PREDICTION_SERVICE, descriptors.MODEL_SERVICE)
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            self._port = server.add_insecure_port(self.target)
        except RuntimeError as error:
            server.stop(None)
            raise cannot_listen(self._host, self._port) from error
        return server

    def _bind_rest(self, versions: ModelVersions) -> RestServer | None:
        if self._rest_port is None:
            return None
        try:
            server = RestServer(
                self._host,
                self._rest_port,
                RestApi(versions),
                max_concurrent=self._max_concurrent,
                max_body_bytes=self._max_message_bytes,
            )
        except OSError as error:
            raise cannot_listen(self._host, self._rest_port, error) from error
        self._rest_port = server.port
        return server

    def _stop_rest(self, grace: float) -> None:
        if self._rest is not None:
            self._rest.stop(grace)
            self._rest = None

    def _changed(self, event: VersionEvent) -> None:
        self._tell_health()
        self._on_event(event)

    def _tell_health(self) -> None:
        if self._health is None:
            return
        status = health_pb2.HealthCheckResponse
        now = status.SERVING if self._versions.available else status.NOT_SERVING
        for service in (health.OVERALL_HEALTH, descriptors.PREDICTION_SERVICE, descriptors.MODEL_SERVICE):
            self._health.set(service, now)


def default_name(base_dir: Path) -> str:
    """The model name in the newest version's warm-up requests, or else the folder's name."""
    folders = version_folders(base_dir)
    name = warmup_model_name(folders[max(folders)]) if folders else None
    return name or base_dir.resolve().name
