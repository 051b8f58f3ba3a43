"""`dmf recommend`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, item_ids
from tfx_pipeline.cli.options import (
    Commands,
    add_config,
    add_history,
    add_json,
    add_model,
    add_overrides,
    add_user,
    configuration,
)
from tfx_pipeline.cli.output import print_json
from tfx_pipeline.console import Console


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "recommend", help="a page for one user out of the whole catalogue, with a model that retrieves and ranks"
    )
    which = parser.add_mutually_exclusive_group(required=True)
    add_model(which, required=False)
    add_config(which, default=None)
    add_overrides(parser)
    add_user(parser)
    parser.add_argument("--top", type=count, default=10, metavar="K", help="items on the page; default: 10")
    parser.add_argument("--exclude", type=item_ids, default=[], metavar="A,B,C", help="item ids to leave out")
    parser.add_argument(
        "--exclude-from",
        type=Path,
        metavar="FILE",
        help="item ids to leave out: one a line (- is standard input), or the column of them in a CSV, JSONL or "
        "Parquet file",
    )
    parser.add_argument(
        "--exclude-seen", action="store_true", help="leave out what the user clicked in the logs, or has in --history"
    )
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="retrieve by the approximate index beside the model, and say how many of the exact search's items it has",
    )
    add_history(parser)
    add_json(parser, instead_of="a table")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Recommends items and prints them; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries
    from tfx_pipeline.errors import ConfigError
    from tfx_pipeline.trained.candidates import read_item_ids
    from tfx_pipeline.trained.recommend import print_page, recommend
    from tfx_pipeline.trained.version import Version

    if parsed.model is not None and parsed.overrides:
        raise ConfigError("--set overrides keys of --config; a model is as it was exported, so leave it out")
    version = Version.find(parsed.model if parsed.model is not None else configuration(parsed).push_dir)
    with quiet_libraries(Path("/dev/null")), console().status("loading the model"):
        listed = read_item_ids(parsed.exclude_from, version) if parsed.exclude_from is not None else []
        page = recommend(
            version,
            parsed.user,
            top=parsed.top,
            history=parsed.history,
            sequences=dict(parsed.sequence),
            exclude=[*parsed.exclude, *listed],
            exclude_seen=parsed.exclude_seen,
            approximate=parsed.approximate,
        )
    if parsed.json:
        print_json(page.to_json())
    else:
        print_page(page, Console())
    return exit_status.OK
