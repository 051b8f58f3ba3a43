"""The pipeline prints by `tfx_pipeline.console`: nowhere else can a string become markup, or reach the terminal raw."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "tfx_pipeline"

# What rich has that leaves texts to the console; its other modules read markup, or write by themselves.
MODULES = ("rich.table", "rich.measure", "rich.live", "rich.progress")
READ_MARKUP = ("TextColumn", "SpinnerColumn", "track", "open", "wrap_file")
# A tag as rich has it: `[/]`, or words of a style.
MARKUP = re.compile(r"\[/[a-z ]*\]|\[(?:(?:bold|dim|italic|red|green|yellow|blue|cyan|magenta|white|black) ?)+\]")


def habits(source: str) -> Iterator[tuple[str, int]]:
    """What in a file could print a string as anything but itself, with line numbers."""
    tree = ast.parse(source)
    for_types = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in for_types:
            base = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                module = f"{base}.{alias.name}".strip(".")
                if module.partition(".")[0] == "rich" and (base not in MODULES or alias.name in READ_MARKUP):
                    yield f"import of {module}", node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MARKUP.search(node.value):
            yield "markup", node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield "print", node.lineno


def test_the_pipeline_prints_by_its_console():
    wrong = [
        f"tfx_pipeline/{path.relative_to(PIPELINE).as_posix()}:{line}: {habit}"
        for path in sorted(PIPELINE.rglob("*.py"))
        if path != PIPELINE / "console.py"
        for habit, line in habits(path.read_text(encoding="utf-8"))
    ]
    assert wrong == [], "use tfx_pipeline.console: console(), Console, styled, lines, task_column"


@pytest.mark.parametrize(
    ("line", "habit"),
    [
        ("from rich.console import Console", "import of rich.console.Console"),
        ("import rich", "import of rich"),
        ("import rich.console", "import of rich.console"),
        ("from rich import print", "import of rich.print"),
        ("def late():\n    from rich.text import Text", "import of rich.text.Text"),
        ("from rich.panel import Panel", "import of rich.panel.Panel"),
        ("from rich.progress import TextColumn", "import of rich.progress.TextColumn"),
        ("out.print(f'[bold]{name}')", "markup"),
        ("title = f'{name}[/]'", "markup"),
        ("table.add_row('[red bold]stopped')", "markup"),
        ("print(title)", "print"),
    ],
)
def test_rules_see_what_they_forbid(line, habit):
    assert [name for name, _ in habits(line)] == [habit]


@pytest.mark.parametrize(
    "line",
    [
        "from rich.table import Table",
        "from rich.progress import BarColumn, Progress",
        "if TYPE_CHECKING:\n    from rich.text import Text",
        "out.print(f'[{number}/{count}] {name}')",
        "styled((name, 'red bold'))",
        "pattern = '[a-z]+'",
    ],
)
def test_rules_leave_the_rest_alone(line):
    assert list(habits(line)) == []
