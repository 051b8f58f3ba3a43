"""The sub-command `dmf explain`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tfx_pipeline.cli.arguments import identifier, item_ids


def add_command(commands: Any) -> None:
    """Adds it to the sub-parsers `commands`. What it needs is imported when it runs."""
    explain = commands.add_parser(
        "explain", help="what carried the score of a candidate for a user: history items, branches, item, user"
    )
    explain.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="a version, or the folder of versions"
    )
    explain.add_argument("--user", type=identifier, required=True, metavar="ID")
    explain.add_argument("--candidate", type=identifier, required=True, metavar="ID", help="item id")
    explain.add_argument(
        "--history", type=item_ids, metavar="A,B,C", help="item ids, oldest first; default: the user's, from the logs"
    )
    explain.add_argument(
        "--run", type=Path, metavar="OUTPUT", help="output folder of the run that trained it, if it was moved"
    )
    explain.add_argument("--json", action="store_true", help="print JSON instead of tables")
    explain.set_defaults(command=_explain)


def _explain(parsed: argparse.Namespace) -> int:
    from tfx_pipeline.trained.explain.view import explain_from_command_line

    return explain_from_command_line(
        parsed.model,
        parsed.user,
        parsed.candidate,
        history=parsed.history,
        run=parsed.run,
        as_json=parsed.json,
    )
