"""Which encoding a text looks like that is not UTF-8."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = "windows-1252"


def foreign_encoding(head: bytes) -> str | None:
    """The encoding that the beginning of a file looks like; None where it is UTF-8 as far as its first line goes.

    A text in one of the many encodings of a byte per character looks like `WESTERN`, the most frequent of them.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if b"\0" in head[1:2]:
        return "utf-16-le"
    if head[:1] == b"\0":
        return "utf-16-be"
    first_line = head.splitlines()[0] if head else b""
    try:
        # A file without line ends may be cut in the middle of a character.
        codecs.getincrementaldecoder("utf-8")().decode(first_line)
    except UnicodeDecodeError:
        return WESTERN
    return None
