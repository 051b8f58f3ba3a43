"""`dmf bench`: one file per measurement."""

from __future__ import annotations

from tfx_pipeline.cli.bench import attention, ingestion, retrieval, serving, training
from tfx_pipeline.cli.options import Commands, add_group


def add(commands: Commands) -> None:
    """Adds it, with its measurements, to the sub-parsers `commands`."""
    group = add_group(commands, "bench", "measure speed on this machine")
    for measurement in (attention, training, serving, retrieval, ingestion):
        measurement.add(group)
