"""The local server in a process of its own, whose problems are a `ModelError`."""

from __future__ import annotations

from serving.local_server import child_process
from serving.local_server.errors import LocalServerError
from tfx_pipeline.errors import ModelError


class ServerProcess(child_process.ServerProcess):
    """A local server over a base path of versions; a context manager: inside it `target` answers.

    Args:
        base_dir: the folder of numbered folders.
        name: to serve the model under.
        poll_seconds: how often the server looks for versions.

    Raises:
        ModelError: in the `with` statement: no version of the model can be served; the server's own sentence.
    """

    def wait_until_ready(self, timeout: float = child_process.START_SECONDS) -> None:
        """Waits for the first version.

        Raises:
            ModelError: there is none, or nothing was heard for `timeout` seconds.
        """
        try:
            super().wait_until_ready(timeout)
        except child_process.ProcessEnded as error:
            raise ModelError(f"{error}; `dmf serve {self.base_dir}` shows more") from error
        except LocalServerError as error:
            raise ModelError(f"the model cannot be served: {error}") from error
