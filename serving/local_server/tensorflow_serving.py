"""Starts the real TensorFlow Serving, `tensorflow_model_server`, where it is installed."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc
from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

from serving.local_server.batching import BatchingOptions
from serving.local_server.errors import LocalServerError, check_base_dir
from serving.local_server.policy import VersionPolicy

BINARY = "tensorflow_model_server"
VARIABLE = "TENSORFLOW_MODEL_SERVER"
_POLICY = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy
# Any number in the configuration of threads that run batches; the models use all cores by themselves.
_BATCH_THREADS = 2
# That of docs/DEPLOYMENT.md.
DEFAULT_MAX_CONCURRENT = 1024
_LOAD_RETRIES = 3
_LOAD_RETRY_MICROS = 1_000_000


def find_model_server() -> Path:
    """The binary: what the variable TENSORFLOW_MODEL_SERVER names, or else `tensorflow_model_server` on PATH.

    Raises:
        LocalServerError: there is none, with how to get it.
    """
    named = os.environ.get(VARIABLE)
    found = shutil.which(named or BINARY)
    if found is not None:
        return Path(found)
    where = f"{VARIABLE}={named} is no program" if named else f"no {BINARY} on PATH, and {VARIABLE} is not set"
    raise LocalServerError(
        f"TensorFlow Serving is not installed here: {where}. Install it (Debian and Ubuntu: package "
        "tensorflow-model-server of TensorFlow Serving's own repository), run the container "
        "tensorflow/serving (docs/SERVING.md), or leave out --engine for the local server"
    )


@dataclasses.dataclass(frozen=True)
class ModelServerOptions:
    """What `LocalServer` takes, for TensorFlow Serving.

    Attributes:
        name: of the model.
        policy: which versions are served.
        labels: names for version numbers.
        batching: None runs every call by itself.
        max_concurrent: gRPC calls that may run; not a bound to the call, since gRPC's own threads count as well.
        poll_seconds: how often the base path is looked at; whole seconds, rounded up.
    """

    name: str
    policy: VersionPolicy = dataclasses.field(default_factory=VersionPolicy)
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    batching: BatchingOptions | None = None
    max_concurrent: int = DEFAULT_MAX_CONCURRENT
    poll_seconds: float = 1.0


def model_server_arguments(
    base_dir: Path, port: int, rest_port: int, options: ModelServerOptions, folder: Path
) -> list[str]:
    """Command-line arguments of `tensorflow_model_server`; its configuration files are written to `folder`.

    A `rest_port` of 0 means no REST.
    """
    config = folder / "models.config"
    config.write_text(_models_config(base_dir, options), encoding="utf-8")
    arguments = [
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={config}",
        f"--file_system_poll_wait_seconds={max(1, math.ceil(options.poll_seconds))}",
        # At the start no version is available yet, and every label would be refused.
        "--allow_version_labels_for_unavailable_models=true",
        # gRPC's threads that wait for calls come out of the same number, and calls above it are refused.
        f"--grpc_max_threads={options.max_concurrent + _spare_threads()}",
        # Of its own it tries for minutes, at the start without an answer at any port; then it ends.
        f"--max_num_load_retries={_LOAD_RETRIES}",
        f"--load_retry_interval_micros={_LOAD_RETRY_MICROS}",
    ]
    if options.batching is not None:
        batching = folder / "batching_parameters.txt"
        batching.write_text(
            f"max_batch_size {{ value: {options.batching.max_batch_size} }}\n"
            f"batch_timeout_micros {{ value: {round(options.batching.timeout_seconds * 1e6)} }}\n"
            f"num_batch_threads {{ value: {_BATCH_THREADS} }}\n"
            "pad_variable_length_inputs: true\n",
            encoding="utf-8",
        )
        arguments += ["--enable_batching=true", f"--batching_parameters_file={batching}"]
    return arguments


def _models_config(base_dir: Path, options: ModelServerOptions) -> str:
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(
        name=options.name, base_path=str(base_dir.resolve()), model_platform="tensorflow"
    )
    if options.policy.specific is not None:
        versions = sorted(options.policy.specific)
        model.model_version_policy.CopyFrom(_POLICY(specific=_POLICY.Specific(versions=versions)))
    elif options.policy.latest is not None:
        model.model_version_policy.CopyFrom(_POLICY(latest=_POLICY.Latest(num_versions=options.policy.latest)))
    else:
        model.model_version_policy.CopyFrom(_POLICY(all=_POLICY.All()))
    model.version_labels.update(options.labels)
    return str(text_format.MessageToString(config))


class TensorFlowServing:
    """`tensorflow_model_server` as a child process; a context manager like `LocalServer`.

    Args:
        base_dir: the folder of numbered folders.
        options: what is served, and how.
        port: of gRPC; 0 takes a free one. TensorFlow Serving listens at every address of the machine.
        rest_port: likewise, of REST; None for no REST.

    Raises:
        LocalServerError: the base path is none, or the binary is not there.
    """

    def __init__(
        self, base_dir: str | Path, options: ModelServerOptions, *, port: int = 0, rest_port: int | None = None
    ):
        self.base_dir = Path(base_dir)
        check_base_dir(self.base_dir)
        self._binary = find_model_server()
        self._options = options
        self._port = port or _free_port()
        self._rest_port = _free_port() if rest_port == 0 else rest_port
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        """Where gRPC is."""
        return f"127.0.0.1:{self._port}"

    @property
    def rest_target(self) -> str | None:
        """Where REST is, None without it."""
        return None if self._rest_port is None else f"127.0.0.1:{self._rest_port}"

    def start(self) -> None:
        """Starts the process; it writes its log where this process writes its errors."""
        self._folder = tempfile.TemporaryDirectory(prefix="tensorflow-serving-")
        folder = Path(self._folder.name)
        arguments = model_server_arguments(self.base_dir, self._port, self._rest_port or 0, self._options, folder)
        # A group of its own: Ctrl-C reaches it through `stop`, once, not twice.
        self._process = subprocess.Popen([str(self._binary), *arguments], start_new_session=True)

    def wait_until_available(self, timeout: float) -> bool:
        """Waits for any version; whether there is one.

        Raises:
            LocalServerError: the process has ended.
        """
        ends = time.monotonic() + timeout
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._options.name
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        with grpc.insecure_channel(self.target) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            while time.monotonic() < ends:
                status = self.poll()
                if status is not None:
                    raise LocalServerError(f"{self._binary} has ended with status {status}; its log says why")
                try:
                    answer = stub.GetModelStatus(request, timeout=1)
                    if any(version.state == available for version in answer.model_version_status):
                        return True
                except grpc.RpcError:
                    pass
                time.sleep(0.1)
        return False

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return None if self._process is None else self._process.poll()

    def wait(self) -> int:
        """Waits for the process to end by itself; its exit status."""
        return 0 if self._process is None else self._process.wait()

    def stop(self, grace: float = 10.0) -> None:
        """Asks the process to end, and ends it after `grace` seconds."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace)
            finally:
                # Also after Ctrl-C: nothing is left behind.
                self._process.kill()
                self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._folder = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _spare_threads() -> int:
    """Threads beside those of the calls: as many as the server takes in all when it is not told."""
    return 4 * (os.cpu_count() or 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
