"""Words for errors that other libraries raise."""

from __future__ import annotations

# What TensorFlow puts above the message of an operation that failed, for example of the one that reads variables.
_HEADING = "Graph execution error:"


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, or its type: TensorFlow's go on with node names."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line not in ("", _HEADING)), type(error).__name__)
