"""Servers that the conformance tests run against, and the clients that ask them.

Every engine gives the same handle: it starts with version 1 of a model that takes `USER`, and its scores depend on the
version. `DirectoryServer` is the base of engines that serve a folder of SavedModels.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Protocol

import numpy as np

from serving.approximate_index import ApproximateIndex
from serving.client import AsyncRankingClient, ClientOptions, RankingClient, RankingError, RestRankingClient
from serving.export.approximate_index import write_index
from serving.testing import FakeRankingServer, FakeRequest
from serving.testing.fake_model import hash_vector

MODEL = "conformance"
FEATURES = {"gender": "string", "age": "float32"}
USER = {"user_id": "u1", "history_item_id": ["i3", "i1", "i2"], "gender": "f", "age": 34.0}
# As tests/serving/client/small_saved_model.py has them.
CATALOGUE = [f"i{number}" for number in range(60)]
RANKED = 20
# Long enough for a slow machine; no test measures time.
PATIENT = ClientOptions(deadline=30.0)


def items(count: int, start: int = 0) -> list[str]:
    return [f"i{number}" for number in range(start, start + count)]


class ServerHandle(Protocol):
    """A running server of `MODEL`."""

    target: str
    rest_target: str

    def set_versions(self, *versions: int) -> None:
        """Serves exactly these versions; returns when the server answers so."""

    def index(self, version: int) -> ApproximateIndex:
        """The approximate index of a version."""

    def kill(self) -> None:
        """Ends it at once, as a crash does."""

    def restart(self) -> None:
        """Starts it again at the same ports; returns when it answers."""

    def close(self) -> None:
        """Ends it for good."""


class FakeServer:
    """The in-process fake."""

    def __init__(self) -> None:
        self.index = index_of_fake
        self.fake = FakeRankingServer(
            MODEL,
            features=FEATURES,
            catalogue=CATALOGUE,
            ranked_candidates=RANKED,
            retriever=products_of_fake,
            index=index_of_fake(1),
        )
        self.fake.start()
        self.target, self.rest_target = self.fake.target, self.fake.rest_target
        self.kill, self.restart, self.close = self.fake.kill, self.fake.restart, self.fake.kill
        self._versions = {1}

    def set_versions(self, *versions: int) -> None:
        # As a server does: what is new comes first, what is old goes then.
        for version in set(versions) - self._versions:
            self.fake.add_version(version, index=index_of_fake(version))
        for version in self._versions - set(versions):
            self.fake.remove_version(version)
        self._versions = set(versions)


def vectors_of_fake(version: int) -> np.ndarray:
    """Of the items of `CATALOGUE`, other ones in each version."""
    return np.random.default_rng(version).standard_normal((len(CATALOGUE), 8)).astype(np.float32)


def products_of_fake(request: FakeRequest) -> list[float]:
    """The exact scores of what `index_of_fake` is searched for."""
    rows = [CATALOGUE.index(item) for item in request.candidates]
    return (vectors_of_fake(request.version)[rows] @ hash_vector(request, 8)).tolist()


@functools.cache
def index_of_fake(version: int) -> ApproximateIndex:
    folder = Path(tempfile.mkdtemp(prefix="index-of-fake-"))
    vectors = vectors_of_fake(version)
    write_index(folder, CATALOGUE, vectors, vectors, ranked_candidates=RANKED)
    return ApproximateIndex.load(folder)


class DirectoryServer:
    """A server over a base path with a folder per version; sub-classes say how it starts and ends."""

    def __init__(self, models: Path, folder: Path):
        self._models = models
        self._base = folder / MODEL
        self._port, self._rest_port = free_port(), free_port()
        self.target, self.rest_target = f"localhost:{self._port}", f"localhost:{self._rest_port}"
        self._base.mkdir(parents=True)
        self._running = False
        self.reset()

    def launch(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def log(self) -> str:
        """What the server wrote; raises once it has ended by itself."""
        raise NotImplementedError

    def kill(self) -> None:
        if self._running:
            self.end()
        self._running = False

    def restart(self) -> None:
        self.kill()
        self.launch()
        self._running = True
        self._wait(self._there())

    def reset(self) -> None:
        """As it began: running, with version 1."""
        self._place({1})
        if self._running:
            self._wait({1})
        else:
            self.restart()

    def close(self) -> None:
        self.kill()

    def index(self, version: int) -> ApproximateIndex:
        return ApproximateIndex.load(self._models / str(version))

    def set_versions(self, *versions: int) -> None:
        self._place(set(versions))
        self._wait(set(versions))

    def _there(self) -> set[int]:
        return {int(path.name) for path in self._base.iterdir() if path.name.isdigit()}

    def _place(self, versions: set[int]) -> None:
        there = self._there()
        for version in versions - there:
            partial = self._base / f"{version}.partial"
            shutil.copytree(self._models / str(version), partial)
            partial.rename(self._base / str(version))
        for version in there - versions:
            shutil.rmtree(self._base / str(version))

    def _wait(self, versions: set[int]) -> None:
        wanted, ends = sorted(versions, reverse=True), time.monotonic() + 600
        with RankingClient(self.target, MODEL) as client:
            while True:
                try:
                    found: object = list(client.model_status().available)
                except RankingError as error:
                    found = error
                if found == wanted:
                    return
                log = self.log()
                assert time.monotonic() < ends, f"{wanted} != {found}\n{log}"
                time.sleep(0.05)


class TensorFlowServing(DirectoryServer):
    """The real `tensorflow_model_server`: all versions of the base path, batching as docs/SERVING.md has it."""

    def __init__(self, models: Path, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        self._config, self._batching = folder / "models.config", folder / "batching.txt"
        self._config.write_text(
            f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{folder / MODEL}" '
            'model_platform: "tensorflow" model_version_policy { all {} } } }\n'
        )
        self._batching.write_text(
            "max_batch_size { value: 16 }\nbatch_timeout_micros { value: 2000 }\n"
            "num_batch_threads { value: 2 }\npad_variable_length_inputs: true\n"
        )
        super().__init__(models, folder)

    def launch(self) -> None:
        command = [
            str(tensorflow_model_server()),
            f"--port={self._port}",
            f"--rest_api_port={self._rest_port}",
            f"--model_config_file={self._config}",
            f"--batching_parameters_file={self._batching}",
            "--enable_batching=true",
            "--file_system_poll_wait_seconds=1",
            # The tests ask with many threads at once; the server's own choice is 4 per core.
            "--grpc_max_threads=1024",
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        text = self._log.read_text(errors="replace")[-3000:]
        assert self._process.poll() is None, f"the server ended\n{text}"
        return text


class LocalEngine(DirectoryServer):
    """`serving.local_server`, in this process: it loads TensorFlow once for all tests."""

    def launch(self) -> None:
        from serving.local_server.batching import BatchingOptions
        from serving.local_server.policy import VersionPolicy
        from serving.local_server.server import LocalServer

        self._server = LocalServer(
            self._base,
            MODEL,
            port=self._port,
            rest_port=self._rest_port,
            policy=VersionPolicy(latest=None),
            batching=BatchingOptions(timeout_seconds=0.002),
            poll_seconds=0.05,
        )
        self._server.start()

    def end(self) -> None:
        self._server.stop(grace=0)

    def log(self) -> str:
        return f"available: {self._server.available}"


def tensorflow_model_server() -> str | None:
    """The server's binary, by variable or on PATH."""
    return os.environ.get("TENSORFLOW_MODEL_SERVER") or shutil.which("tensorflow_model_server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def write_models(folder: Path, versions: int) -> Path:
    """SavedModels 1 to `versions` in sub-folders of `folder`, which it returns.

    In a process of its own, because it imports TensorFlow.
    """
    script = Path(__file__).with_name("small_saved_model.py")
    subprocess.run([sys.executable, str(script), str(folder), str(versions)], check=True, capture_output=True)
    return folder


class LoopClient:
    """An `AsyncRankingClient` in an event loop of its own, with blocking methods: the tests are the same for all."""

    def __init__(self, target, model: str, options: ClientOptions | None = None):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = AsyncRankingClient(target, model, options)

    def __getattr__(self, name: str):
        method = getattr(self._client, name)
        return lambda *args, **kwargs: asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self._loop).result()

    def __enter__(self) -> LoopClient:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


CLIENTS = {"grpc": RankingClient, "asyncio": LoopClient, "rest": RestRankingClient}


def connect(kind: str, server: ServerHandle, options: ClientOptions = PATIENT, model: str = MODEL):
    """A client of the kind; REST looks for new versions before each call, so that all kinds see them at once."""
    if kind == "rest":
        return RestRankingClient(server.rest_target, model, options, newest_for=0.0)
    return CLIENTS[kind](server.target, model, options)
