"""Options that several commands have: each is declared here once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tfx_pipeline.cli.arguments import identifier, item_ids

if TYPE_CHECKING:
    from tfx_pipeline.config import PipelineConfig

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

# Options whose values are ids, which may begin with a dash.
_OF_IDS = ("--user", "--candidate", "--candidates", "--history", "--exclude")

VERSION = "a version, or the folder of versions"


def with_ids_taken_whole(arguments: Sequence[str]) -> list[str]:
    """`--candidates -5,-6` as `--candidates=-5,-6`: argparse takes a value that begins with a dash for an option.

    A word that is `-h` or begins with two dashes stays an option: such an id is written with `=`.
    """
    whole: list[str] = []
    for word in arguments:
        is_value = word.startswith("-") and not word.startswith("--") and word != "-h"
        if is_value and whole and whole[-1] in _OF_IDS:
            whole[-1] += f"={word}"
        else:
            whole.append(word)
    return whole


def add_group(commands: Commands, name: str, help: str) -> Commands:
    """Adds a command that has commands of its own; returns where they are added."""
    group = commands.add_parser(name, help=help)
    return group.add_subparsers(dest=f"{name}_command", required=True, metavar="COMMAND")


def add_config(parser: argparse._ActionsContainer, default: Path | None = Path("pipeline_config.yaml")) -> None:
    """--config FILE."""
    parser.add_argument("--config", type=Path, default=default, metavar="FILE")


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """--set KEY.PATH=VALUE."""
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="override a key of the configuration; may be repeated",
    )


def configuration(parsed: argparse.Namespace) -> PipelineConfig:
    """The validated configuration of a command with `--config` and `--set`.

    Raises:
        ConfigError: it cannot be read or is wrong; the message has all problems.
    """
    from tfx_pipeline.config import load_config

    return load_config(parsed.config, parsed.overrides)


def add_model(parser: argparse._ActionsContainer, *, required: bool = True) -> None:
    """--model DIR."""
    parser.add_argument("--model", type=Path, required=required, metavar="DIR", help=VERSION)


def add_user(parser: argparse.ArgumentParser) -> None:
    """--user ID."""
    parser.add_argument("--user", type=identifier, required=True, metavar="ID")


def add_history(parser: argparse.ArgumentParser) -> None:
    """--history A,B,C, and --sequence NAME=A,B,C."""
    parser.add_argument(
        "--history", type=item_ids, metavar="A,B,C", help="item ids, oldest first; default: the user's, from the logs"
    )
    parser.add_argument(
        "--sequence",
        type=_sequence,
        action="append",
        default=[],
        metavar="NAME=A,B,C",
        help="item ids, oldest first, of a further history that the model takes; may be repeated; NAME= is an empty "
        "one; default: the user's, from the logs",
    )


def _sequence(text: str) -> tuple[str, list[str]]:
    name, equals, items = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"must be NAME=A,B,C as in buys=i3,i8, got {text!r}")
    return name, item_ids(items)


def add_run(parser: argparse.ArgumentParser) -> None:
    """--run OUTPUT."""
    parser.add_argument(
        "--run", type=Path, metavar="OUTPUT", help="output folder of the run that trained it, if it was moved"
    )


def add_json(parser: argparse.ArgumentParser, *, instead_of: str) -> None:
    """--json, on standard output."""
    parser.add_argument("--json", action="store_true", help=f"print JSON instead of {instead_of}")
