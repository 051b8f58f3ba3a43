"""What a page is made of, and how it is written: blocks in sections, one template, one file without any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import jinja2
from markupsafe import Markup

from tfx_pipeline.files.writing import write_text

# How much of a page's width a block needs beside others. No page of the style sheet is wider than the first.
_PAGE_REM, _REM_PER_PANEL, _REM_PER_LETTER, _REM_BETWEEN_COLUMNS = 90, 22, 0.58, 0.8
# In a cell more letters are broken into lines, in a paragraph into two columns of text where there is room for them.
_LINE_OF_A_CELL, _LONG_TEXT = 48, 400
Tone = Literal["plain", "good", "warning", "bad"]


@dataclass(frozen=True)
class Prose:
    """A paragraph; any tone but "plain" sets it off from the others."""

    text: str
    tone: Tone = "plain"
    kind: ClassVar[str] = "prose"
    least_rem: ClassVar[float] = 20

    @property
    def is_long(self) -> bool:
        """Whether its lines would be too long in one column as wide as the page."""
        return self.tone == "plain" and len(self.text) > _LONG_TEXT


@dataclass(frozen=True)
class Table:
    """A table that scrolls inside itself where the page is too narrow.

    Attributes:
        caption: what the rows are.
        columns: headers, each with its unit.
        rows: cells as they are shown.
        numbers: how many columns, counted from the right, hold numbers.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 0
    kind: ClassVar[str] = "table"

    @property
    def least_rem(self) -> float:
        """The width below which it gets a row of the page for itself."""
        widths = []
        for number, header in enumerate(self.columns):
            longest = max((len(row[number]) for row in self.rows), default=0)
            # Headers are broken between words.
            widths.append(max(min(longest, _LINE_OF_A_CELL), *map(len, header.split() or [""])))
        return round(min(_REM_PER_LETTER * sum(widths) + _REM_BETWEEN_COLUMNS * len(widths), _PAGE_REM), 1)


@dataclass(frozen=True)
class Panel:
    """One drawing as an SVG element; see `figures.draw`."""

    svg: Markup
    wide: bool = False


@dataclass(frozen=True)
class Picture:
    """Drawings side by side, and the sentence that a reader should take from them."""

    panels: Sequence[Panel]
    caption: str
    kind: ClassVar[str] = "picture"

    @property
    def tall(self) -> bool:
        """Whether its panels fill the width of a page, so that the sentence stands below them and not beside."""
        return len(self.panels) > 2 or any(panel.wide for panel in self.panels)

    @property
    def is_long(self) -> bool:
        """Whether the sentence's lines would be too long in one column as wide as the page."""
        return len(self.caption) > _LONG_TEXT

    @property
    def least_rem(self) -> float:
        """The width below which it gets a row of the page for itself."""
        return _PAGE_REM if self.tall else _REM_PER_PANEL * len(self.panels)


@dataclass(frozen=True)
class Details:
    """Long text that is folded away until somebody opens it."""

    summary: str
    text: str
    kind: ClassVar[str] = "details"


Block = Prose | Table | Picture | Details


@dataclass(frozen=True)
class Section:
    """A part of the page with an entry in its contents list; `anchor` is its id."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Figure:
    """A number that the page begins with: what it is, its value, and what to know of it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: of the page and of its tab.
        subtitle: what it is about, in a line.
        verdicts: what must not be missed, shown first.
        figures: the few numbers that matter most.
        sections: in order.
    """

    title: str
    subtitle: str
    verdicts: Sequence[Prose]
    figures: Sequence[Figure]
    sections: Sequence[Section] = field(default_factory=tuple)


def render(page: Page) -> str:
    """The page as one HTML document: no script, no font, no file but itself. Text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfx_pipeline.pages.kit"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(environment.get_template("page.css").render())  # a file of this package
    return environment.get_template("page.html.j2").render(page=page, style=style)


def write(page: Page, path: Path) -> None:
    """Writes the page; the file appears whole.

    Raises:
        OSError: the folder may not be written.
    """
    write_text(path, render(page))
