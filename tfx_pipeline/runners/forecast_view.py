"""What a run would do, on the console."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tfx_pipeline.config.schema import PipelineConfig
from tfx_pipeline.console import console_on

if TYPE_CHECKING:
    # With it comes TFX, which a table wants nothing of.
    from tfx_pipeline.runners.forecast import Forecast


def print_forecast(steps: Sequence[Forecast], config: PipelineConfig) -> None:
    """Prints what `tfx_pipeline.runners.forecast.forecast` found."""
    out = console_on(sys.stdout)
    table = Table(title="steps", title_justify="left")
    table.add_column("step")
    table.add_column("state")
    table.add_column("why", overflow="fold")
    for step in steps:
        table.add_row(*step)
    out.print(table)
    out.print(
        f"dry run: nothing was run or written; the output would lie in {config.output}", highlight=False, soft_wrap=True
    )
