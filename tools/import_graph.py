"""The house as it stands: rooms, the imports between them, and whether those keep the order of docs/ARCHITECTURE.md.

A room is an entry of `dmf_keras/`, `serving/` or `tfx_pipeline/`: a folder or a file. An arrow says that some file of
one room imports some file of another, wherever the import stands. A layer is what the arrows alone say of a room's
height: one above the highest room that it imports. Storeys are the order that is meant: arrows lead down.

    .venv/bin/python -m tools.import_graph                    # figures, layers, and what breaks the order
    .venv/bin/python -m tools.import_graph --arrows           # also every arrow, with the files behind it
    .venv/bin/python -m tools.import_graph --root ../other    # of another checkout, such as an older one
    .venv/bin/python -m tools.import_graph --picture          # writes docs/images/storeys.svg
"""

from __future__ import annotations

import argparse
import ast
import functools
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dmf_keras", "serving", "tfx_pipeline")
ARCHITECTURE = Path("docs/ARCHITECTURE.md")
PICTURE = Path("docs/images/storeys.svg")

Graph = dict[str, set[str]]

_CAPTION = "Imports lead down, and to the right: tfx_pipeline knows serving and dmf_keras, serving knows dmf_keras."
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"
  role="img">
  <title>The rooms of the three packages, storey by storey</title>
  <style>
    text {{ font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2328; }}
    .name {{ font-weight: 600; }}
    .small {{ font-size: 11.5px; fill: #57606a; }}
    .page {{ fill: #ffffff; }}
    .tfx_pipeline {{ fill: #ddf4ff; stroke: #54aeff; }}
    .serving {{ fill: #dafbe1; stroke: #4ac26b; }}
    .dmf_keras {{ fill: #fff8c5; stroke: #d4a72c; }}
    @media (prefers-color-scheme: dark) {{
      text {{ fill: #e6edf3; }}
      .small {{ fill: #9da7b3; }}
      .page {{ fill: #0d1117; }}
      .tfx_pipeline {{ fill: #10294a; stroke: #388bfd; }}
      .serving {{ fill: #12301d; stroke: #2ea043; }}
      .dmf_keras {{ fill: #3a2d0b; stroke: #bb8009; }}
    }}
  </style>
  <rect class="page" width="{width}" height="{height}" rx="8"/>
  {shapes}
</svg>
"""


@dataclass(frozen=True)
class House:
    """What was read of a checkout.

    Attributes:
        files: by file, the files that it imports; both relative to the root, POSIX.
        rooms: by room, such as `serving/client`, its files.
        storeys: rooms by storey, the lowest first; none where the checkout has no order written down.
    """

    files: Graph
    rooms: dict[str, list[str]]
    storeys: list[list[str]]

    @functools.cached_property
    def arrows(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """By pair of rooms, importer first, the pairs of files behind the arrow."""
        found: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for file, imported in sorted(self.files.items()):
            for other in sorted(imported):
                ends = room_of(file), room_of(other)
                if ends[0] != ends[1] and all(end in self.rooms for end in ends):
                    found.setdefault(ends, []).append((file, other))
        return found

    @functools.cached_property
    def room_circles(self) -> list[list[str]]:
        """Rooms by circle, a room of none by itself; each comes after what it imports."""
        graph: Graph = {room: set() for room in self.rooms}
        for room, imported in self.arrows:
            graph[room].add(imported)
        return components(graph)

    @functools.cached_property
    def layers(self) -> list[list[str]]:
        """Rooms by height, the lowest first; the rooms of a circle share one."""
        heights: dict[str, int] = {}
        for circle in self.room_circles:
            below = [heights[other] for room, other in self.arrows if room in circle and other not in circle]
            heights |= dict.fromkeys(circle, 1 + max(below, default=0))
        layers: list[list[str]] = [[] for _ in range(max(heights.values(), default=0))]
        for room in sorted(self.rooms):
            layers[heights[room] - 1].append(room)
        return layers

    @functools.cached_property
    def circles(self) -> list[list[str]]:
        """Files that import each other, by circle."""
        return [circle for circle in components(self.files) if len(circle) > 1]

    @functools.cached_property
    def upward(self) -> list[tuple[str, str]]:
        """Arrows that do not lead down. Where no order is written, those between rooms of one circle: some must."""
        height = {room: number for number, storey in enumerate(self.storeys) for room in storey}
        if height:
            return [(a, b) for a, b in self.arrows if height.get(a, -1) <= height.get(b, len(height))]
        return [(a, b) for a, b in self.arrows if any(a in circle and b in circle for circle in self.room_circles)]


def read_house(root: Path) -> House:
    """Reads the sources of a checkout; generated `_pb2` files count as part of their room.

    Args:
        root: the folder that holds the packages.
    """
    files: Graph = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            files[path.relative_to(root).as_posix()] = imported_files(path, root)
    for file, imported in files.items():
        imported.discard(file)
    rooms: dict[str, list[str]] = {}
    for file in files:
        # The face of a package lies in no room.
        if file.count("/") > 1 or not file.endswith("/__init__.py"):
            rooms.setdefault(room_of(file), []).append(file)
    return House(files, rooms, read_storeys(root / ARCHITECTURE))


def read_storeys(page: Path) -> list[list[str]]:
    """The order of storeys from the table below the heading `Storeys` of a page, the lowest first; none without it."""
    _, heading, text = page.read_text(encoding="utf-8").partition("\n## Storeys\n") if page.exists() else ("", "", "")
    rows = re.findall(r"^\| ((?:`[\w/.]+`(?:, )?)+) \|", text.partition("\n## ")[0], re.MULTILINE) if heading else []
    return [re.findall(r"`([\w/.]+?)/?`", row) for row in reversed(rows)]


def imported_files(path: Path, root: Path) -> set[str]:
    """The project's files that a file takes names from; of `from a import b` that is `a.b` where `b` is a module."""
    names = {name for name, _ in imported_modules(path, root)}
    found = {name: file for name in names if (file := source_of(root, name)) is not None}
    taken_whole = {name.rpartition(".")[0] for name in found}
    return {file for name, file in found.items() if not (file.endswith("/__init__.py") and name in taken_whole)}


def imported_modules(path: Path, root: Path) -> Iterator[tuple[str, int]]:
    """Full names of the modules that a file imports, also inside functions, with line numbers.

    `from a import b` gives both `a` and `a.b`, as `b` may be a module.
    """
    package = list(path.relative_to(root).with_suffix("").parts)[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base, node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def source_of(root: Path, module: str) -> str | None:
    """The file of a module of this project; None for what is not one."""
    if module.partition(".")[0] not in PACKAGES:
        return None
    base = root.joinpath(*module.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file.relative_to(root).as_posix()
    return None


def room_of(file: str) -> str:
    """`serving/client` of `serving/client/base.py`, `serving/contract.py` of itself."""
    return "/".join(file.split("/")[:2])


def components(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components (Tarjan), each sorted; a component comes after those that it leads to."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            circle = stack[stack.index(node) :]
            del stack[len(stack) - len(circle) :]
            found.append(sorted(circle))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def figures(house: House) -> str:
    """The house in one line."""
    return (
        f"{len(house.rooms)} rooms, {len(house.layers)} layers, {len(house.arrows)} arrows, "
        f"{len(house.upward)} upward, {len(house.circles)} circles of files"
    )


def picture(house: House) -> str:
    """The storeys as SVG: a column for each package, in it a row for each storey, the highest first.

    Args:
        house: whose order is written.
    """
    row, column, gap, top = 34, 270, 40, 52
    columns = {
        package: [[room for room in storey if room.startswith(f"{package}/")] for storey in reversed(house.storeys)]
        for package in reversed(PACKAGES)
    }
    columns = {package: [storey for storey in storeys if storey] for package, storeys in columns.items()}
    tallest = max(len(storeys) for storeys in columns.values())
    width, height = len(columns) * (column + gap), top + tallest * row + 34
    shapes = []
    for place, (package, storeys) in enumerate(columns.items()):
        left = gap // 2 + place * (column + gap)
        first = top + (tallest - len(storeys)) * row
        shapes.append(f'<text class="name" x="{left}" y="{first - 12}">{package}</text>')
        for number, storey in enumerate(storeys):
            share = column / len(storey)
            for position, room in enumerate(storey):
                x, y = left + position * share, first + number * row
                shapes += [
                    f'<rect class="{package}" x="{x:.0f}" y="{y}" width="{share - 4:.0f}" height="{row - 6}" rx="4"/>',
                    f'<text x="{x + 8:.0f}" y="{y + 19}">{escape(room.partition("/")[2])}</text>',
                ]
    shapes.append(f'<text class="small" x="{gap // 2}" y="{height - 12}">{_CAPTION}</text>')
    return _SVG.format(width=width, height=height, shapes="\n  ".join(shapes))


def main(arguments: list[str] | None = None) -> int:
    """Prints the house; exit status 1 when an arrow leads upward or files import each other in a circle."""
    parser = argparse.ArgumentParser(prog="tools.import_graph", description="Rooms, and the imports between them.")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="DIR", help="the checkout; default: this one")
    parser.add_argument("--arrows", action="store_true", help="also print every arrow with the files behind it")
    parser.add_argument("--picture", action="store_true", help=f"write {PICTURE} in place of printing")
    parsed = parser.parse_args(arguments)
    house = read_house(parsed.root)
    if parsed.picture:
        (parsed.root / PICTURE).write_text(picture(house), encoding="utf-8")
        return 0
    print(figures(house))
    for number, layer in reversed(list(enumerate(house.layers, start=1))):
        print(f"  {number:>2}  {', '.join(layer)}")
    for above, below in house.upward:
        print(
            f"upward: {above} -> {below}: {house.arrows[above, below][0][0]} imports {house.arrows[above, below][0][1]}"
        )
    for circle in house.circles:
        print(f"circle: {', '.join(circle)}")
    if parsed.arrows:
        for (above, below), files in sorted(house.arrows.items()):
            print(f"{above} -> {below}: " + ", ".join(f"{a} -> {b}" for a, b in files))
    return 1 if house.upward or house.circles else 0


if __name__ == "__main__":
    sys.exit(main())
