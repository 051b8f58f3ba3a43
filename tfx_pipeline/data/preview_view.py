"""What a look at the data saw, on the console."""

from __future__ import annotations

import sys
import time

from rich.table import Table

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console_on
from tfx_pipeline.data.preview import preview


def look_at_data(config: PipelineConfig) -> None:
    """Looks at the data of a configuration and prints what it sees.

    Raises:
        DataError: what a run would refuse; see `preview`.
    """
    started = time.monotonic()
    seen, out = preview(config), console_on(sys.stdout)
    what = "rows" if seen.impressions is None else "impressions"
    table = Table(title=f"first {what} of the log", title_justify="left")
    given = any(row.history is not None for row in seen.first)
    for column in ("user", "item", "time (UTC)", "label", *(["history given"] if given else [])):
        table.add_column(column)
    for row in seen.first:
        table.add_row(row.user, row.item, row.time, str(row.label), *([f"{row.history} items"] if given else []))
    out.print(table)
    users = "" if seen.unknown_users is None else f"; {seen.unknown_users:.1%} of a user without a profile"
    lists = "" if seen.impressions is None else f", of {seen.impressions:,} impressions"
    out.print(
        f"data: ok in {time.monotonic() - started:.1f} s; {seen.files} files of the log, {seen.rows:,} rows looked at, "
        f"{seen.usable:,} usable{lists}; {seen.unknown_items:.1%} of an item that the catalogue lacks{users}",
        highlight=False,
        soft_wrap=True,
    )
