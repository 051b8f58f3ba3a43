"""Where the parts of a drawing lie, read from its SVG."""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.etree import ElementTree

_LINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'


class Box(NamedTuple):
    """Left, top, right and bottom in the drawing's units; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have a point in common."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def plot_area(svg: str) -> Box:
    """Inside the axes, where curves are."""
    (frame,) = [group for group in _groups(svg, "axes_1")[0] if group.get("id", "").endswith("patch_2")]
    return _around(_points(frame))


def legend(svg: str) -> Box | None:
    """With its handles and texts; None where there is none."""
    found = _groups(svg, "legend_1")
    if not found:
        return None
    points = _points(found[0])
    for text in found[0].iter("text"):
        x, y = float(text.get("x", 0)), float(text.get("y", 0))
        size = float(re.findall(r"font-size: ([\d.]+)", text.get("style", ""))[0])
        # No letter is wider than its font's size.
        points += [(x, y - size), (x + size * len(text.text or ""), y + 0.3 * size)]
    return _around(points)


def _groups(svg: str, name: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg.replace("<svg", f"<svg {_LINK}", 1))
    return [group for group in root.iter("g") if re.fullmatch(rf"(.+-)?{name}", group.get("id", ""))]


def _points(group: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = [pair for path in group.iter("path") for pair in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d", ""))]
    placed = [(use.get("x", 0), use.get("y", 0)) for use in group.iter("use")]
    return [(float(x), float(y)) for x, y in (*pairs, *placed)]


def _around(points: list[tuple[float, float]]) -> Box:
    across, down = zip(*points, strict=True)
    return Box(min(across), min(down), max(across), max(down))
