"""A model in a process of its own, which answers over gRPC and can be told to run the same model itself.

What gRPC adds is the difference of the two only if both meet a process in the same state: one that has been idle while
others were measured is slower, its caches are cold.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tfx_pipeline.errors import ModelError

Arrays = Mapping[str, np.ndarray]
_READY_SECONDS, _STOP_SECONDS = 180.0, 15.0


class ServedModel:
    """Context manager; the process starts with the object, so that several load at once, and is ready in the block.

    Args:
        version: an exported model, version 1 of its base path.
        name: to serve it under.

    Attributes:
        name: of the model.
        target: where gRPC is.
    """

    def __init__(self, version: Path, name: str):
        self.name = name
        self.target = ""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, str(version), name), daemon=True)
        self._process.start()
        # Only the child holds its end: when it ends, this side is told.
        theirs.close()

    def run(self, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """Outputs of a signature, run in the process without gRPC."""
        outputs: dict[str, np.ndarray] = self._ask("run", signature, dict(inputs))
        return outputs

    def keep(self, signature: str, requests: Sequence[Arrays]) -> None:
        """Inputs for `time`, in place of earlier ones."""
        self._ask("keep", signature, [dict(inputs) for inputs in requests])

    def time(self, signature: str) -> float:
        """Seconds that the process takes for the next of the kept inputs; getting word there and back is no part."""
        seconds: float = self._ask("time", signature)
        return seconds

    def _ask(self, *command: Any) -> Any:
        try:
            self._connection.send(command)
            return self._connection.recv()
        except (EOFError, OSError):
            raise ModelError(f"the process that serves '{self.name}' has ended during '{command[0]}'") from None

    def __enter__(self) -> Self:
        try:
            if self._connection.poll(_READY_SECONDS):
                self.target = self._connection.recv()
        except (EOFError, OSError):
            pass
        if not self.target:
            self.close()
            raise ModelError(f"the process that should serve '{self.name}' has ended, or never became ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join(_STOP_SECONDS if self.target else 0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(connection: Connection, version: str, name: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from tfx_pipeline.console import quiet_libraries

    with quiet_libraries(Path(os.devnull)):
        from serving.export.servable import Servable
        from serving.local_server.server import LocalServer

        with LocalServer(Path(version).parent, name) as server, Servable(version) as servable:
            if server.available:
                connection.send(server.target)
                _obey(connection, servable)
    # All is closed; what is left is TensorFlow taking itself down, for seconds.
    os._exit(0)


def _obey(connection: Connection, servable: Any) -> None:
    kept: dict[str, Any] = {}
    while True:
        try:
            command, signature, *rest = connection.recv()
        except EOFError:
            return
        answer: Any = None
        if command == "run":
            answer = servable.run(signature, rest[0])
        elif command == "keep":
            kept[signature] = itertools.cycle(rest[0])
        else:
            inputs = next(kept[signature])
            begun = time.perf_counter()
            servable.run(signature, inputs)
            answer = time.perf_counter() - begun
        connection.send(answer)
