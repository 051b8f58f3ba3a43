"""`dmf config check`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.options import Commands, add_group, add_overrides, configuration
from tfx_pipeline.console import Console, styled


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    group = add_group(commands, "config", "work with configuration files")
    check = group.add_parser("check", help="validate a configuration; exit status 2 when it is refused")
    check.add_argument("config", metavar="FILE", type=Path)
    check.add_argument(
        "--data",
        action="store_true",
        help="look at the files too: columns, first rows as they are read, ids that meet; status 1 when refused",
    )
    add_overrides(check)
    check.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Validates a configuration; returns the exit status."""
    config = configuration(parsed)
    rest = f", pipeline '{config.name}', output {config.output}"
    Console().print(f"{parsed.config}: ", styled(("ok", "green")), rest, sep="", soft_wrap=True)
    if parsed.data:
        from tfx_pipeline.data.preview_view import look_at_data

        look_at_data(config)
    return exit_status.OK
