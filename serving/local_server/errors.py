"""What a call and what the server itself can fail with."""

from __future__ import annotations

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
        LocalServerError: it does not exist, or is one version instead of the folder of versions.
    """
    if not base_dir.is_dir():
        what = "is not a folder" if base_dir.exists() else "does not exist"
        raise LocalServerError(f"{base_dir} {what}; a model base path is a folder with one numbered folder per version")
    if (base_dir / "saved_model.pb").exists():
        raise LocalServerError(f"{base_dir} is one version; give the folder that holds it: {base_dir.resolve().parent}")
