"""What the measurements of `dmf bench` share: silenced libraries, and reports on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.table import Table

from tfx_pipeline.console import console, console_on, quiet_libraries

if TYPE_CHECKING:
    from tfx_pipeline.studies.bench.machine import Machine

Measured = TypeVar("Measured")


def measured(measure: Callable[[], Measured]) -> Measured:
    """What `measure` returns; TensorFlow is there, and silent."""
    with quiet_libraries(Path("/dev/null")):
        with console().status("loading TensorFlow"):
            import tensorflow  # noqa: F401
        return measure()


def print_report(machine: Machine, table: Table, sentences: Sequence[str] = ()) -> None:
    """A report as a table, sentences, and a line about the machine, on standard output."""
    out = console_on(sys.stdout)
    out.print(table)
    for sentence in sentences:
        out.print(sentence, highlight=False, soft_wrap=True)
    out.print(machine.name, highlight=False)
