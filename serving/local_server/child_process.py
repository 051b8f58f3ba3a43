"""The local server in a child process, for what asks it and should not share its Python.

The child is this module. A socket joins it to its parent: it carries what they tell each other, and when it closes the
child ends. So the child ends with its parent, however that ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from serving.local_server.errors import LocalServerError

START_SECONDS = 120.0
_STOP_SECONDS = 15.0


class ProcessEnded(LocalServerError):
    """The child has ended without a word, or said nothing in time."""


class ServerProcess:
    """A local server over a base path of versions; a context manager: inside it `target` answers.

    What the child writes to its standard streams is dropped.

    ```
    start() -> wait_until_ready() -> stop()
    ```

    Args:
        base_dir: the folder of numbered folders.
        name: of the model, to serve it under.
        poll_seconds: how often the server looks for versions.
        beside: what the child does once the server answers, with its end of `connection`; the server stops when it
            returns, and it must return when the connection is closed. A function that can be pickled. None waits.

    Raises:
        LocalServerError: in the `with` statement: no version of the model can be served; the server's own sentence.
        ProcessEnded: likewise: the child gave no reason.
    """

    def __init__(
        self,
        base_dir: Path,
        name: str,
        *,
        poll_seconds: float = 1.0,
        beside: Callable[[Connection], None] | None = None,
    ):
        self.base_dir = base_dir
        self.name = name
        self._poll_seconds = poll_seconds
        self._beside = beside
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._target = ""

    @property
    def target(self) -> str:
        """Where gRPC is; "" until the server is ready."""
        return self._target

    @property
    def pid(self) -> int:
        """Of the process; 0 where none runs."""
        return 0 if self._process is None else self._process.pid

    @property
    def connection(self) -> Connection:
        """The parent's end of the connection that `beside` is given."""
        assert self._connection is not None, "start the server first"
        return self._connection

    def start(self) -> None:
        """Starts the process and does not wait for it: several can load at once."""
        self._connection, theirs = Pipe()
        # Only the child keeps its end open: when the child ends, this side is told.
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C is for the parent, which then ends this process in order.
                start_new_session=True,
            )
        settings = {"base_dir": str(self.base_dir), "name": self.name, "poll_seconds": self._poll_seconds}
        self._connection.send((settings, self._beside))

    def wait_until_ready(self, timeout: float = START_SECONDS) -> None:
        """Waits for the first version.

        Raises:
            LocalServerError: there is none.
            ProcessEnded: the process has ended, or nothing was heard for `timeout` seconds.
        """
        try:
            if not self.connection.poll(timeout):
                raise ProcessEnded(f"the server for {self.base_dir} was not ready after {timeout:g} seconds")
            told: str | LocalServerError = self.connection.recv()
            if isinstance(told, LocalServerError):
                raise told
            self._target = told
        except (EOFError, OSError):
            self.stop()
            raise ProcessEnded(f"the server for {self.base_dir} has ended") from None
        except LocalServerError:
            self.stop()
            raise

    def stop(self) -> None:
        """Lets calls under way end, then the process; at once where it serves nothing yet."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if not self._target:
            process.kill()
        self._target = ""
        self.connection.close()
        with process:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _serve(connection: Connection, settings: dict[str, Any], beside: Callable[[Connection], None] | None) -> None:
    from serving.local_server.server import LocalServer
    from serving.local_server.watch import VersionEvent, version_folders

    problems: list[str] = []

    def listen(event: VersionEvent) -> None:
        if event.problem:
            problems.append(event.message)

    try:
        with LocalServer(**settings, on_event=listen) as server:
            if not server.available:
                empty = not version_folders(server.base_dir)
                raise LocalServerError(
                    f"{server.base_dir} has no numbered folder, a version" if empty else problems[-1]
                )
            connection.send(server.target)
            if beside is None:
                # Ends when the parent closes it, or ends itself.
                connection.poll(None)
            else:
                beside(connection)
    except LocalServerError as error:
        connection.send(error)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = Connection(int(sys.argv[1]))
    _serve(parent, *parent.recv())
    # All is closed; what is left is TensorFlow taking itself down, for seconds.
    os._exit(0)
