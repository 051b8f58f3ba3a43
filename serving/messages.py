"""Words for errors that other libraries raise."""

from __future__ import annotations

import re

# What TensorFlow puts above the message of an operation that failed, for example of the one that reads variables.
_HEADING = "Graph execution error:"
# What it puts around that of an operation that it ran at once.
_AROUND = re.compile(r"^\{\{function_node [^}]*\}\} | \[Op:\w+\](?: name:)?$")


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, or its type: TensorFlow's go on with node names."""
    lines = (line.strip() for line in str(error).splitlines())
    return _AROUND.sub("", next((line for line in lines if line not in ("", _HEADING)), type(error).__name__))
