"""What a call and what the server itself can fail with."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import grpc

# TensorFlow Serving cuts here too; a longer text would not pass as an HTTP/2 trailer.
_LONGEST_MESSAGE = 1024


class LocalServerError(Exception):
    """The server cannot start: no such folder, a port that is taken, an option that makes no sense."""


class StatusError(Exception):
    """How a call ends that is not answered.

    Args:
        code: gRPC status; its numbers are those of TensorFlow's error codes.
        message: what the client reads.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "...TRUNCATED"

    @property
    def number(self) -> int:
        """The code as TensorFlow's `error.Code`."""
        return int(self.code.value[0])


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def status_of(number: int, message: str) -> StatusError:
    """The status of a TensorFlow error code."""
    return StatusError(_CODES.get(number, grpc.StatusCode.UNKNOWN), message)


def check_base_dir(base_dir: Path) -> None:
    """Refuses what cannot be a base path.

    Raises:
        LocalServerError: it does not exist, may not be read, or is one version instead of the folder of versions.
    """
    try:
        if not base_dir.is_dir():
            what = "is not a folder" if base_dir.exists() else "does not exist"
            raise LocalServerError(
                f"{base_dir} {what}; a model base path is a folder with one numbered folder per version"
            )
        is_version = any(path.name == "saved_model.pb" for path in base_dir.iterdir())
    except OSError as error:
        raise LocalServerError(f"{base_dir} cannot be read: {error.strerror}") from error
    if is_version:
        raise LocalServerError(f"{base_dir} is one version; give the folder that holds it: {base_dir.resolve().parent}")


def cannot_listen(host: str, port: int, error: OSError | None = None) -> LocalServerError:
    """The error about a port that cannot be bound, with what the system has against it.

    Args:
        host: address that was asked for.
        port: likewise.
        error: the system's; None asks it once more, since gRPC keeps it to itself.
    """
    if error is None:
        plain = host.strip("[]")
        with socket.socket(socket.AF_INET6 if ":" in plain else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((plain, port))
            except OSError as found:
                error = found
    if error is None or error.errno == errno.EADDRINUSE:
        advice = "; is another server running there? Take another port (0: a free one)"
    elif error.errno == errno.EACCES:
        advice = f": {error.strerror}; ports below 1024 are the system's, take another one"
    else:
        advice = f": {error.strerror}; is {host} an address of this machine?"
    return LocalServerError(f"cannot listen at {host}:{port}{advice}")
