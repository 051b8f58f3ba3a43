"""`dmf bench` on a terminal: measures with the libraries silenced, prints a table or one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.table import Table

from dmf_keras.models import model_config, model_names
from tfx_pipeline.console import console, quiet_libraries
from tfx_pipeline.errors import ConfigError
from tfx_pipeline.studies.bench.machine import Machine

if TYPE_CHECKING:
    from tfx_pipeline.studies.bench.attention import AttentionReport
    from tfx_pipeline.studies.bench.training import TrainingReport

Measured = TypeVar("Measured")


def attention(
    histories: Sequence[int], *, candidates: int, id_dim: int, similarity_dim: int, seconds: float, as_json: bool
) -> int:
    """Prints what `tfx_pipeline.studies.bench.attention.bench_attention` returns; returns the exit status."""

    def measure() -> AttentionReport:
        from tfx_pipeline.studies.bench.attention import bench_attention

        return bench_attention(
            histories, candidates=candidates, id_dim=id_dim, similarity_dim=similarity_dim, seconds=seconds
        )

    report = measured(measure)
    if as_json:
        return print_json(report.to_json())
    from tfx_pipeline.studies.bench.attention import attention_summary, attention_table

    return print_report(report.machine, attention_table(report), attention_summary(report))


def training(models: Sequence[str] | None, *, seconds: float, as_json: bool) -> int:
    """Prints what `tfx_pipeline.studies.bench.training.bench_training` returns; returns the exit status.

    Raises:
        ConfigError: no model has one of the names; the message lists those that exist.
    """
    names = list(dict.fromkeys(models)) if models is not None else model_names()
    for name in names:
        try:
            model_config(name, {})
        except ValueError as error:
            raise ConfigError(f"--models: {error}") from None

    def measure() -> TrainingReport:
        from tfx_pipeline.studies.bench.training import bench_training

        return bench_training(names, seconds=seconds)

    report = measured(measure)
    if as_json:
        return print_json(report.to_json())
    from tfx_pipeline.studies.bench.training import training_table

    return print_report(report.machine, training_table(report))


def measured(measure: Callable[[], Measured]) -> Measured:
    """What `measure` returns; TensorFlow is there, and silent."""
    with quiet_libraries(Path("/dev/null")):
        with console().status("loading TensorFlow"):
            import tensorflow  # noqa: F401
        return measure()


def print_json(report: dict[str, Any]) -> int:
    """The report as one JSON object on standard output; returns the exit status 0."""
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 0


def print_report(machine: Machine, table: Table, sentences: Sequence[str] = ()) -> int:
    """A report as a table, sentences, and a line about the machine, on standard output; returns the exit status 0."""
    # Wide enough for the tables where there is no terminal.
    out = Console(width=None if sys.stdout.isatty() else 140)
    out.print(table)
    for sentence in sentences:
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    out.print(machine.name, highlight=False)
    return 0
