"""There is one way to add a command: a file with `add` and `run`, and its name in one list."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

import pytest

from tfx_pipeline import cli

FOLDER = Path(cli.__file__).parent
# What commands share.
SHARED = ("__init__.py", "__main__.py", "arguments.py", "exit_status.py", "measuring.py", "options.py", "output.py")
COMMAND_FILES = sorted(path for path in FOLDER.rglob("*.py") if path.name not in SHARED)


def relative(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


@pytest.mark.parametrize("file", COMMAND_FILES, ids=relative)
def test_the_file_of_a_command_adds_and_runs_it_and_shows_nothing_else(file):
    names = [
        name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else [target.id for target in node.targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.Assign)
            else []
        )
    ]
    assert [name for name in names if not name.startswith("_")] == ["add", "run"]


def test_every_command_is_in_the_list_and_named_as_its_file():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for command in cli.COMMANDS:
        command.add(commands)
    files = {path.stem for path in COMMAND_FILES if path.parent == FOLDER} | {
        path.parent.name for path in FOLDER.glob("*/__init__.py")
    }
    assert set(commands.choices) == files
    assert list(commands.choices) == [command.__name__.rpartition(".")[2] for command in cli.COMMANDS]


def test_options_are_declared_once():
    for option in ("--config", "--set", "--user", "--history A,B,C"):
        flag, _, metavar = option.partition(" ")
        declared = [
            relative(path)
            for path in sorted(FOLDER.rglob("*.py"))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
            and any(isinstance(value, ast.Constant) and value.value == flag for value in node.args)
            and (not metavar or any(ast.unparse(keyword.value) == repr(metavar) for keyword in node.keywords))
        ]
        assert declared == ["options.py"], option
