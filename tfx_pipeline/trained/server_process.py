"""The local server in a process of its own, for what asks it and should not share its Python.

The child is this module: it serves at a free port, tells its parent which, and stops when its standard input ends. So
it ends with its parent, however that ends.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tfx_pipeline.errors import ModelError

_START_SECONDS = 120.0
_STOP_SECONDS = 15.0


class ServerProcess:
    """A local server over a base path of versions; a context manager: inside it `target` answers.

    ```
    start() -> wait_until_ready() -> stop()
    ```

    Args:
        base_dir: the folder of numbered folders.
        model: the name to serve under.
        poll_seconds: how often the server looks for versions.

    Raises:
        ModelError: in the `with` statement: no version of the model can be served; the server's own sentence.
    """

    def __init__(self, base_dir: Path, model: str, *, poll_seconds: float = 1.0):
        self.base_dir = base_dir
        self.model = model
        self._poll_seconds = poll_seconds
        self._process: subprocess.Popen[str] | None = None
        self._target = ""

    @property
    def target(self) -> str:
        """Where gRPC is; "" until the server is ready."""
        return self._target

    @property
    def pid(self) -> int:
        """Of the process; 0 where none runs."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the process and does not wait for it: several can load at once."""
        settings = {"base_dir": str(self.base_dir), "name": self.model, "poll_seconds": self._poll_seconds}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for the parent, which then ends this process in order.
            start_new_session=True,
        )

    def wait_until_ready(self, timeout: float = _START_SECONDS) -> None:
        """Waits for the first version.

        Raises:
            ModelError: there is none, or nothing was heard for `timeout` seconds.
        """
        assert self._process is not None and self._process.stdout is not None, "start the server first"
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            heard = selector.select(timeout)
        line = self._process.stdout.readline() if heard else ""
        if not line:
            what = "has ended" if heard else f"was not ready after {timeout:g} seconds"
            self.stop()
            raise ModelError(f"the server for {self.base_dir} {what}; `dmf serve {self.base_dir}` shows more")
        told: dict[str, str] = json.loads(line)
        if "problem" in told:
            self.stop()
            raise ModelError(f"the model cannot be served: {told['problem']}")
        self._target = told["target"]

    def stop(self) -> None:
        """Lets calls under way end, then the process; at once where it serves nothing yet."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if not self._target:
            process.kill()
        self._target = ""
        assert process.stdin is not None
        with process:
            process.stdin.close()
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


def _serve(settings: dict[str, Any]) -> None:
    from tfx_pipeline.console import quiet_libraries

    parent = os.fdopen(os.dup(1), "w")

    def tell(**message: str) -> None:
        print(json.dumps(message), file=parent, flush=True)

    with quiet_libraries(Path(os.devnull)):
        from serving.local_server.errors import LocalServerError
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
                    tell(problem=f"{server.base_dir} has no numbered folder, a version" if empty else problems[-1])
                    return
                tell(target=server.target)
                # Ends when the parent closes it, or ends itself.
                sys.stdin.read()
        except LocalServerError as error:
            tell(problem=str(error))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(json.loads(sys.argv[1]))
    # All is closed; what is left is TensorFlow taking itself down, for seconds.
    os._exit(0)
