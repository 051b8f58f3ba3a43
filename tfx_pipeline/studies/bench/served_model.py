"""A model in a process of its own, which answers over gRPC and can be told to run the same model itself.

What gRPC adds is the difference of the two only if both meet a process in the same state: one that has been idle while
others were measured is slower, its caches are cold.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from serving.local_server.child_process import ServerProcess
from serving.local_server.errors import LocalServerError
from tfx_pipeline.errors import ModelError

Arrays = Mapping[str, np.ndarray]
_READY_SECONDS = 180.0


class ServedModel:
    """Context manager; the process starts with the object, so that several load at once, and is ready in the block.

    Args:
        version: an exported model, version 1 of its base path.
        name: to serve it under.

    Attributes:
        name: of the model.
        load_seconds: that the process took to load the model once more, for what runs without gRPC; 0 before.
    """

    def __init__(self, version: Path, name: str):
        self.name = name
        self.load_seconds = 0.0
        self._process = ServerProcess(version.parent, name, beside=functools.partial(_obey, str(version)))
        self._process.start()

    @property
    def target(self) -> str:
        """Where gRPC is; "" until the server is ready."""
        return self._process.target

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
            self._process.connection.send(command)
            return self._process.connection.recv()
        except (EOFError, OSError):
            raise ModelError(f"the process that serves '{self.name}' has ended during '{command[0]}'") from None

    def __enter__(self) -> Self:
        try:
            self._process.wait_until_ready(_READY_SECONDS)
            ready = self._process.connection.poll(_READY_SECONDS)
            if ready:
                self.load_seconds = self._process.connection.recv()
        except (LocalServerError, EOFError, OSError):
            ready = False
        if not ready:
            self.close()
            raise ModelError(f"the process that should serve '{self.name}' has ended, or never became ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        self._process.stop()


def _obey(version: str, connection: Connection) -> None:
    """Runs the model as it is told, beside the server; says first how many seconds it took to load."""
    from serving.export.servable import Servable

    kept: dict[str, Any] = {}
    begun = time.perf_counter()
    with Servable(version) as servable:
        connection.send(time.perf_counter() - begun)
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
