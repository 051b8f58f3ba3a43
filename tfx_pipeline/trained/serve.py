"""`dmf serve`: a base path of versions over gRPC and REST, by the local server or by TensorFlow Serving itself."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving.local_server.errors import LocalServerError, check_base_dir
from serving.local_server.policy import VersionPolicy
from tfx_pipeline.console import console, quiet_libraries, styled
from tfx_pipeline.errors import ModelError

LOCAL = "local"
_GRACE_SECONDS = 10.0
# How often the wait for a signal looks whether TensorFlow Serving is still there.
_LOOK_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class ServeOptions:
    """What to serve, and how; see `dmf serve --help`. None leaves the choice to the server."""

    base_dir: Path
    name: str | None = None
    host: str | None = None
    port: int = 8500
    rest_port: int | None = None
    engine: str = LOCAL
    versions: str = "latest"
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    batch: bool = False
    max_concurrent: int | None = None
    max_message_bytes: int | None = None
    poll_seconds: float = 1.0


def serve(options: ServeOptions) -> None:
    """Serves until SIGTERM or Ctrl-C, then lets the calls under way end.

    Raises:
        ModelError: the server cannot start.
        KeyboardInterrupt: it was told twice, and has ended the calls.
    """
    try:
        # Before the seconds that importing TensorFlow takes.
        check_base_dir(options.base_dir)
        policy = VersionPolicy.parse(options.versions)
        with _stop_signals() as stopped:
            if options.engine == LOCAL:
                _serve_locally(options, policy, stopped)
            else:
                _serve_by_tensorflow_serving(options, policy, stopped)
    except LocalServerError as error:
        raise ModelError(str(error)) from None


def _serve_locally(options: ServeOptions, policy: VersionPolicy, stopped: _Stopped) -> None:
    with quiet_libraries(Path("/dev/null")):
        with console().status("loading TensorFlow"):
            from serving.local_server.batching import BatchingOptions
            from serving.local_server.server import ANY_SIZE, DEFAULT_MAX_CONCURRENT, LocalServer
            from serving.local_server.watch import VersionEvent

        def tell(event: VersionEvent) -> None:
            console().print(event.message, style="yellow" if event.problem else "", highlight=False, soft_wrap=True)

        server = LocalServer(
            options.base_dir,
            options.name,
            host=options.host or "127.0.0.1",
            port=options.port,
            rest_port=options.rest_port,
            policy=policy,
            labels=options.labels,
            batching=BatchingOptions() if options.batch else None,
            max_concurrent=options.max_concurrent or DEFAULT_MAX_CONCURRENT,
            max_message_bytes=options.max_message_bytes or ANY_SIZE,
            poll_seconds=options.poll_seconds,
            on_event=tell,
        )
        server.start()
        try:
            _banner(server.name, options.base_dir, server.target, server.rest_target)
            if server.signatures:
                _say(f"signatures: {', '.join(server.signatures)}")
            _say(
                "This is the local server, for development and tests; production runs TensorFlow Serving: "
                "docs/SERVING.md. Ctrl-C stops it."
            )
            stopped.wait()
            _say("stopping; calls under way may end, a second Ctrl-C ends them")
        finally:
            try:
                server.stop(_GRACE_SECONDS)
            except KeyboardInterrupt:
                server.stop(0)
                raise
            if stopped.twice:
                # What a signal handler raises is lost where it meets a callback of the garbage collector.
                raise KeyboardInterrupt


def _serve_by_tensorflow_serving(options: ServeOptions, policy: VersionPolicy, stopped: threading.Event) -> None:
    if options.host is not None:
        raise LocalServerError(
            f"--host {options.host} cannot be kept: TensorFlow Serving listens at every address of this machine. Leave "
            "it out, or take --engine local"
        )
    if options.max_message_bytes is not None:
        raise LocalServerError(
            f"--max-message-bytes {options.max_message_bytes} cannot be kept: TensorFlow Serving takes requests of up "
            "to 2 GB, whatever it is told. Leave it out, or take --engine local"
        )
    with quiet_libraries(Path("/dev/null")), console().status("loading TensorFlow"):
        from serving.local_server.batching import BatchingOptions
        from serving.local_server.server import default_name
        from serving.local_server.tensorflow_serving import (
            DEFAULT_MAX_CONCURRENT,
            ModelServerOptions,
            TensorFlowServing,
        )

        name = options.name or default_name(options.base_dir)
        server = TensorFlowServing(
            options.base_dir,
            ModelServerOptions(
                name,
                policy=policy,
                labels=options.labels,
                batching=BatchingOptions() if options.batch else None,
                max_concurrent=options.max_concurrent or DEFAULT_MAX_CONCURRENT,
                poll_seconds=options.poll_seconds,
            ),
            port=options.port,
            rest_port=options.rest_port,
        )
    with server:
        _banner(name, options.base_dir, server.target, server.rest_target)
        _say("This is TensorFlow Serving, which listens at every address of this machine. Ctrl-C stops it.")
        while not stopped.wait(_LOOK_SECONDS):
            status = server.poll()
            if status is not None:
                raise LocalServerError(
                    f"TensorFlow Serving has ended with status {status}; what it wrote says why (at the start it also "
                    "ends where no version can be loaded)"
                )


def _banner(name: str, base_dir: Path, target: str, rest_target: str | None) -> None:
    banner = styled((name, "bold"), f" from {base_dir} at ", (target, "bold"), " (gRPC)")
    if rest_target is not None:
        banner += styled(" and ", (rest_target, "bold"), " (REST)")
    console().print(banner, highlight=False, soft_wrap=True)


def _say(message: str) -> None:
    console().print(message, highlight=False, soft_wrap=True)


class _Stopped(threading.Event):
    """Set by the first signal; `twice` by the second."""

    twice = False


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Stopped]:
    """An event that SIGTERM and Ctrl-C set, in place of ending the process where it stands, as the second one does."""
    stopped = _Stopped()

    def stop(number: int, frame: Any) -> None:
        if stopped.is_set():
            stopped.twice = True
            raise KeyboardInterrupt
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
