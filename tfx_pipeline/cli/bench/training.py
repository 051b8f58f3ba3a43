"""`dmf bench training`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import counts, different_counts, positive
from tfx_pipeline.cli.bench.measuring import measured, print_report
from tfx_pipeline.cli.options import Commands, add_json
from tfx_pipeline.cli.output import print_json

if TYPE_CHECKING:
    from tfx_pipeline.studies.bench.training import TrainingReport


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands` of `dmf bench`."""
    parser = commands.add_parser("training", help="candidates per second of every model's training step")
    parser.add_argument("--models", metavar="A,B", help="default: all that are registered")
    parser.add_argument(
        "--seconds", type=positive, default=60.0, metavar="S", help="how long to measure in all; default: 60"
    )
    parser.add_argument(
        "--items",
        type=_sizes,
        default=[10_000],
        metavar="N,N",
        help="sizes of the table of items, at least 10000 each, of which batches name the same 10000; default: 10000",
    )
    parser.add_argument(
        "--row-updates", action="store_true", help="train as with training.row_updates; default: all rows of a table"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "both"),
        default="float32",
        help="what head and branches compute in, as training.mixed_precision has it; default: float32",
    )
    parser.add_argument(
        "--hidden-units",
        type=counts,
        metavar="H1,H2",
        help="of the head, of models that have one; default: that of each model",
    )
    add_json(parser, instead_of="a table")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Measures and prints the report; returns the exit status."""
    # Before the minutes of measuring.
    names = _models(parsed.models)

    def measure() -> TrainingReport:
        from tfx_pipeline.studies.bench.training import bench_training
        from tfx_pipeline.studies.bench.variant import PRECISIONS

        return bench_training(
            names,
            seconds=parsed.seconds,
            items=parsed.items,
            rows=parsed.row_updates,
            precisions=PRECISIONS[parsed.precision],
            hidden_units=parsed.hidden_units,
        )

    report = measured(measure)
    if parsed.json:
        print_json(report.to_json())
    else:
        from tfx_pipeline.studies.bench.training import training_table

        print_report(report.machine, training_table(report))
    return exit_status.OK


def _sizes(text: str) -> list[int]:
    """Different whole numbers of at least 10,000."""
    sizes = different_counts(text)
    if min(sizes) < 10_000:
        raise argparse.ArgumentTypeError(f"must be at least 10000 each, got {min(sizes)}")
    return sizes


def _models(text: str | None) -> list[str]:
    """Names of the models to measure; each exists."""
    from dmf_keras.models import model_names
    from tfx_pipeline.studies.bench.variant import check_model

    names = list(dict.fromkeys(name.strip() for name in text.split(","))) if text is not None else model_names()
    for name in names:
        check_model(name)
    return names
