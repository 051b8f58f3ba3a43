"""How series are told apart, in every picture of the project."""

from __future__ import annotations

from typing import Any

# Okabe and Ito: told apart by those who do not see all colours; in grey, line styles and markers do it.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")


def colour(number: int) -> str:
    """Colour of a series by its number, from 0."""
    return COLOURS[number % len(COLOURS)]


def line(number: int) -> dict[str, Any]:
    """Keyword arguments of a line: colour and line style."""
    return {"color": colour(number), "linestyle": STYLES[_turn(number) % len(STYLES)]}


def points(number: int) -> dict[str, Any]:
    """Keyword arguments of single points: colour and marker; no two of the first 36 are alike."""
    return {"color": colour(number), "marker": MARKERS[_turn(number) % len(MARKERS)]}


def _turn(number: int) -> int:
    """Moves on by one whenever the colours begin again."""
    return number + number // len(COLOURS)
