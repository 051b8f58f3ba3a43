"""Quoted CSV fields that hold line breaks: which of them are text, and which swallowed rows.

A `"` that was never meant as a quote makes one field of everything up to the next one: rows vanish, and what is left is
well-formed. So the lines of a file are counted apart from the records that the parser makes of them, and where the two
differ every field that holds line breaks is looked at.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from tfx_pipeline.errors import DataError

_BLOCK_BYTES = 8 << 20
# A field of more bytes, or of more lines, is no value of a table.
_LONGEST_FIELD = 64 << 20
_MOST_LINES = 1000
# As many separators in their right places are no coincidence.
_EVIDENCE = 4
_SHOWN = 60
WAY_OUT = (
    "If quotes are plain characters there, set quoting: none; if quotes inside of values follow a backslash, set "
    "escape: '\\'; otherwise repair the line"
)


@dataclasses.dataclass(frozen=True)
class CsvRules:
    """How a CSV file is written: see `LogFile`. `columns`: how many it has; `added`: lines before its own."""

    separator: str
    quoted: bool
    escape: str | None
    columns: int
    added: int = 0


@dataclasses.dataclass
class LineCounts:
    """Lines of a file that are not blank, and those of them that end inside a field."""

    lines: int = 0
    inside_fields: int = 0

    @property
    def records(self) -> int:
        """What the lines are, the header among them."""
        return self.lines - self.inside_fields


def count_lines(stream: BinaryIO, path: str, rules: CsvRules) -> LineCounts:
    """Reads a CSV file once more, field by field where there are quotes.

    Args:
        stream: UTF-8, from the file's beginning.
        path: for messages.
        rules: how the file is written.

    Raises:
        DataError: a quoted field swallowed rows: it never ends, text follows the quote that ends it, it is longer than
            any value, or most fields of several lines look like rows. The message has the line where it begins.
    """
    counts = LineCounts()
    above = broken = like_rows = 0
    first_like_rows = ""
    for part, fields in _parts(stream, _fields(rules), path):
        for match in fields:
            field = match.group()
            breaks = _lines_that_end(field)
            counts.inside_fields += breaks
            if not (breaks and field.startswith(b'"')):
                continue
            broken += 1
            line = 1 - rules.added + above + part.count(b"\n", 0, match.start())
            fault = _fault(match, part, rules, breaks)
            if fault:
                raise DataError(_message(path, line, fault, field))
            if _looks_like_rows(field, rules, breaks):
                like_rows += 1
                first_like_rows = first_like_rows or _message(
                    path, line, f"holds {breaks + 1} lines that look like rows of {rules.columns} columns", field
                )
        counts.lines += _lines_that_end(part + b"\n")
        above += part.count(b"\n")
    # In a catalogue of texts some look like rows by chance.
    if 2 * like_rows > broken:
        raise DataError(first_like_rows)
    return counts


def _fields(rules: CsvRules) -> re.Pattern[bytes]:
    """Finds, from left to right, quoted fields (group 1: their closing quote) and escaped characters."""
    begin = rb'(?<![^\r\n%s])"' % re.escape(rules.separator.encode())
    if rules.escape is None:
        pattern = begin + rb'[^"]*(?:""[^"]*)*("?)' if rules.quoted else rb"(?!)()"
    else:
        escape = re.escape(rules.escape.encode())
        quoted = rb'%s[^"%s]*(?:(?:""|%s.)[^"%s]*)*("?)|' % (begin, escape, escape, escape)
        pattern = (quoted if rules.quoted else rb"(?!)()") + escape + rb"(?:\r\n|.)"
    return re.compile(pattern, re.DOTALL)


def _parts(stream: BinaryIO, fields: re.Pattern[bytes], path: str) -> Iterator[tuple[bytes, list[re.Match[bytes]]]]:
    """Parts of the file that end with a line outside of any field, and the fields that they hold."""
    rest = stream.read(3).removeprefix(b"\xef\xbb\xbf")
    while block := stream.read(_BLOCK_BYTES):
        part = rest + block
        found = list(fields.finditer(part))
        # A field that touches the end may go on, and so may a quote that ends it.
        end = found[-1].start() if found and found[-1].end() >= len(part) - 1 else len(part)
        cut = _after_last_line(part, end)
        while (over := next((match for match in found if match.start() < cut < match.end()), None)) is not None:
            cut = _after_last_line(part, over.start())
        whole = [match for match in found if match.end() <= cut]
        yield part[:cut], whole
        rest = part[cut:]
        if len(rest) > _LONGEST_FIELD:
            raise DataError(f"{path}: a line or a quoted field is longer than {_LONGEST_FIELD >> 20} MB. {WAY_OUT}")
    if rest:
        yield rest, list(fields.finditer(rest))


def _after_last_line(part: bytes, end: int) -> int:
    # The last byte may be the first half of a Windows line end.
    return max(part.rfind(b"\n", 0, end), part.rfind(b"\r", 0, max(end - 1, 0))) + 1


def _lines_that_end(text: bytes) -> int:
    """Line ends in the text that a line which is not blank comes before."""
    codes = np.frombuffer(text, np.uint8)
    ends = (codes == ord("\n")) | (codes == ord("\r"))
    return int(np.count_nonzero(ends[1:] & ~ends[:-1]))


def _fault(match: re.Match[bytes], part: bytes, rules: CsvRules, breaks: int) -> str | None:
    after = part[match.end() : match.end() + 1]
    if not match.group(1):
        return "is never closed"
    if after not in (b"", b"\r", b"\n", rules.separator.encode()[:1]):
        return f"goes on to a quote {breaks} lines below that text follows, and not a separator"
    if breaks >= _MOST_LINES:
        return f"holds {breaks + 1} lines, more than {_MOST_LINES}"
    return None


def _looks_like_rows(field: bytes, rules: CsvRules, breaks: int) -> bool:
    """Whether whole rows lie in the field, or the parts of two that make a row together."""
    separators, separator = rules.columns - 1, rules.separator.encode()
    inner = [line for line in re.split(rb"[\r\n]+", field) if line][1:-1]
    if any(line.count(separator) != separators for line in inner):
        return False
    begun_and_ended = field.count(separator) == separators * breaks
    return separators * (breaks if begun_and_ended else len(inner)) >= _EVIDENCE


def _message(path: str, line: int, fault: str, field: bytes) -> str:
    shown = field[:_SHOWN].decode("utf-8", "backslashreplace")
    return f"{path}: the quoted field that begins in line {line} {fault}; it swallows rows: {shown!r}. {WAY_OUT}"
