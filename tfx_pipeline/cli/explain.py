"""`dmf explain`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import identifier
from tfx_pipeline.cli.options import Commands, add_history, add_json, add_model, add_run, add_user
from tfx_pipeline.cli.output import print_json
from tfx_pipeline.console import Console


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "explain", help="what carried the score of a candidate for a user: history items, branches, item, user"
    )
    add_model(parser)
    add_user(parser)
    parser.add_argument("--candidate", type=identifier, required=True, metavar="ID", help="item id")
    parser.add_argument(
        "--column",
        type=_column,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of a candidate column that the model takes; may be repeated; without it the value is missing",
    )
    add_history(parser)
    add_run(parser)
    add_json(parser, instead_of="tables")
    parser.set_defaults(command=run)


def _column(text: str) -> tuple[str, str]:
    """NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE as in price_shown=3.5, got {text!r}")
    return name, value


def run(parsed: argparse.Namespace) -> int:
    """Explains a score and prints the explanation; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries
    from tfx_pipeline.trained.explain.view import print_explanation
    from tfx_pipeline.trained.version import Version

    version = Version.find(parsed.model)
    with quiet_libraries(Path("/dev/null")), console().status("loading the model"):
        from tfx_pipeline.trained.explain.explanation import explain

        explanation = explain(
            version,
            parsed.user,
            parsed.candidate,
            history=parsed.history,
            sequences=dict(parsed.sequence),
            columns=dict(parsed.column),
            run=parsed.run,
        )
    if parsed.json:
        print_json(explanation.to_json())
    else:
        print_explanation(explanation, Console())
    return exit_status.OK
