"""Text that is not UTF-8: what it looks like, and how it gets through a parser that takes UTF-8 alone."""

from __future__ import annotations

import codecs
from typing import Any, BinaryIO

import pyarrow as pa

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = "windows-1252"

# Python's characters for the bytes 0x80 to 0xff that are not UTF-8, and the last ones of the plane for private use.
_ESCAPES = range(0xDC80, 0xDD00)
_STAND_INS = range(0x10FF80, 0x110000)
_TO_STAND_INS = dict(zip(_ESCAPES, _STAND_INS, strict=True))
_TO_ESCAPES = dict(zip(_STAND_INS, _ESCAPES, strict=True))


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


class Utf8Stream:
    """A stream whose bytes that are not UTF-8 are read as characters that stand in for them.

    Arrow's CSV reader hands rows of the wrong width to Python as text, and ends where they are none.

    Args:
        stream: bytes in any encoding.

    Attributes:
        replaced: whether a stand-in has been read.
    """

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self.replaced = False
        self._stream = stream
        # Bytes of a character that is not whole yet, and text that is longer than what was asked for.
        self._begun = self._ready = b""

    def read(self, size: int = -1) -> bytes:
        """As the stream does."""
        while not self._ready:
            data = self._stream.read(max(size - len(self._begun), 1) if size >= 0 else -1)
            if data.isascii() and data and not self._begun:
                return data
            if not data and not self._begun:
                return b""
            self._ready = self._as_utf8(self._begun + data, last=not data or size < 0)
        if size < 0:
            size = len(self._ready)
        result, self._ready = self._ready[:size], self._ready[size:]
        return result

    def readable(self) -> bool:
        """Always."""
        return True

    def _as_utf8(self, data: bytes, *, last: bool) -> bytes:
        length = len(data) if last else _whole_characters(data)
        if _is_utf8(data[:length]):
            whole = data[:length]
        else:
            text, length = codecs.utf_8_decode(data, "surrogateescape", last)
            whole, self.replaced = text.translate(_TO_STAND_INS).encode(), True
        self._begun = data[length:]
        return whole


def _whole_characters(data: bytes) -> int:
    """Bytes without those of a last character that is not whole."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte < 0x80 or byte >= 0xC0:
            wanted = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if wanted > back else len(data)
    return len(data)


def _is_utf8(data: bytes) -> bool:
    # Arrow looks at a megabyte in the time in which Python makes a text of a tenth of it.
    try:
        pa.array([data], pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def without_stand_ins(value: Any) -> Any:
    """The bytes that were in the file, of a value that came through a `Utf8Stream`; None stays None."""
    if value is None:
        return None
    return value.decode().translate(_TO_ESCAPES).encode("utf-8", "surrogateescape")
