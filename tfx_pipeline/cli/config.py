"""`dmf config check`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.options import Commands, add_group, add_overrides, configuration
from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import Console, console_on, styled


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
        _look_at_data(config)
    return exit_status.OK


def _look_at_data(config: PipelineConfig) -> None:
    from rich.table import Table

    from tfx_pipeline.data.preview import preview

    started = time.monotonic()
    seen, out = preview(config), console_on(sys.stdout)
    table = Table(title="first rows of the log", title_justify="left")
    for column in ("user", "item", "time (UTC)", "label"):
        table.add_column(column)
    for row in seen.first:
        table.add_row(row.user, row.item, row.time, str(row.label))
    out.print(table)
    users = "" if seen.unknown_users is None else f"; {seen.unknown_users:.1%} of a user without a profile"
    out.print(
        f"data: ok in {time.monotonic() - started:.1f} s; {seen.files} files of the log, {seen.rows:,} rows looked at, "
        f"{seen.usable:,} usable; {seen.unknown_items:.1%} of an item that the catalogue lacks{users}",
        highlight=False,
        soft_wrap=True,
    )
