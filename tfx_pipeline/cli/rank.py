"""`dmf rank`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import identifier
from tfx_pipeline.cli.options import Commands, add_history, add_json, add_model, add_user
from tfx_pipeline.cli.output import print_json
from tfx_pipeline.console import Console


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser("rank", help="rank candidates for one user with an exported model")
    add_model(parser)
    add_user(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--candidates", type=identifier, metavar="A,B,C", help="item ids")
    which.add_argument(
        "--candidates-from",
        type=Path,
        metavar="FILE",
        help="item ids: one a line (- is standard input), or the column of them in a CSV, JSONL or Parquet file, which "
        "may have the candidate columns that the model takes",
    )
    which.add_argument("--top", type=int, metavar="K", help="the best K of the whole catalogue")
    parser.add_argument(
        "--only",
        type=Path,
        metavar="FILE",
        help="items that may be shown, as in --candidates-from",
    )
    parser.add_argument(
        "--exclude-seen", action="store_true", help="leave out what the user clicked in the logs, or has in --history"
    )
    add_history(parser)
    add_json(parser, instead_of="a table")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Ranks candidates and prints them; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries
    from tfx_pipeline.trained.candidate_columns import is_table, read_candidate_columns
    from tfx_pipeline.trained.candidates import item_column, read_item_ids
    from tfx_pipeline.trained.rank import print_ranking, rank
    from tfx_pipeline.trained.version import Version

    version = Version.find(parsed.model)
    with quiet_libraries(Path("/dev/null")), console().status("loading the model"):
        candidates = parsed.candidates.split(",") if parsed.candidates is not None else None
        columns = None
        if parsed.candidates_from is not None:
            candidates = read_item_ids(parsed.candidates_from, version)
            if version.contract.candidate_inputs and is_table(parsed.candidates_from):
                item = item_column(parsed.candidates_from, version)
                columns = read_candidate_columns(parsed.candidates_from, item, version)
        only = read_item_ids(parsed.only, version) if parsed.only is not None else None
        ranking = rank(
            version,
            parsed.user,
            candidates=candidates,
            top=parsed.top,
            history=parsed.history,
            sequences=dict(parsed.sequence),
            exclude_seen=parsed.exclude_seen,
            only=only,
            columns=columns,
        )
    if parsed.json:
        print_json(ranking.to_json())
    else:
        print_ranking(ranking, Console())
    return exit_status.OK
