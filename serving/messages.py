"""Words for errors that other libraries raise."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type: TensorFlow's go on for pages of node names."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
