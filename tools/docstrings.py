"""Reads docstrings with sections as `Args:` and `Returns:`, as this repository writes them."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import NamedTuple

SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Examples", "References")

_HEADING = re.compile(rf"^({'|'.join(SECTIONS)}):\n", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): ", re.MULTILINE)


class Entry(NamedTuple):
    """What is said of one or more names: `keys, values: of the history`."""

    names: tuple[str, ...]
    meaning: str

    @property
    def label(self) -> str:
        """The names as code."""
        return ", ".join(f"`{name}`" for name in self.names)


@dataclass(frozen=True)
class Docstring:
    """A docstring in parts.

    Attributes:
        text: all that stands before the first section.
        sections: heading -> body, without indentation, in the order of the docstring.
    """

    text: str
    sections: dict[str, str]

    def entries(self, *headings: str) -> list[Entry]:
        """The entries of the sections under `headings`, those that exist.

        Raises:
            ValueError: a section that does not begin with an entry.
        """
        found: list[Entry] = []
        for heading in headings:
            before, *parts = _ENTRY.split(self.sections.get(heading, ""))
            if before.strip():
                raise ValueError(f"{heading}: must begin with `name: meaning`. Received: {before.strip()!r}")
            for names, meaning in zip(parts[::2], parts[1::2], strict=True):
                found.append(Entry(tuple(names.split(", ")), " ".join(meaning.split())))
        return found


def parse(docstring: str) -> Docstring:
    """The parts of a docstring that `inspect.getdoc` has cleaned; an empty one gives an empty text."""
    text, *parts = _HEADING.split(docstring)
    bodies = (inspect.cleandoc("\n" + body).strip() for body in parts[1::2])
    return Docstring(text.strip(), dict(zip(parts[::2], bodies, strict=True)))
