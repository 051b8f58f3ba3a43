"""`dmf bench ingestion`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, different_counts
from tfx_pipeline.cli.bench.measuring import measured, print_report
from tfx_pipeline.cli.options import Commands, add_json
from tfx_pipeline.cli.output import print_json

if TYPE_CHECKING:
    from tfx_pipeline.studies.bench.ingestion import IngestionBenchReport


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands` of `dmf bench`."""
    parser = commands.add_parser(
        "ingestion",
        help="events per second from a log to examples, beside Polars",
        description="Synthetic logs become examples: by the step of the pipeline on Beam's DirectRunner, by the "
        "project's own functions in it without Beam, and by Polars as the yardstick of one machine. The examples of "
        "the smallest log are compared with the rows of Polars. Each job has a process of its own.",
    )
    parser.add_argument(
        "--events",
        type=different_counts,
        default=[100_000, 1_000_000],
        metavar="E,E",
        help="rows of the logs; default: 100000,1000000",
    )
    parser.add_argument(
        "--workers",
        type=different_counts,
        default=[1, 2],
        metavar="W,W",
        help="processes of Beam's DirectRunner; Polars has as many threads as the most; default: 1,2",
    )
    parser.add_argument(
        "--candidates", type=count, default=5, metavar="N", help="rows of a request, of different items; default: 5"
    )
    parser.add_argument(
        "--largest-user",
        type=count,
        default=0,
        metavar="E",
        help="rows of one user beside those; default: none, users are as active as a Pareto distribution says",
    )
    add_json(parser, instead_of="a table")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Measures and prints the report; returns the exit status.

    Raises:
        ConfigError: Polars is not installed, or a log is too small.
        PipelineError: a job fails, or the examples are not those of Polars.
    """

    def measure() -> IngestionBenchReport:
        from tfx_pipeline.studies.bench.ingestion import bench_ingestion

        return bench_ingestion(parsed.events, parsed.workers, parsed.candidates, parsed.largest_user)

    report = measured(measure)
    if parsed.json:
        print_json(report.to_json())
    else:
        from tfx_pipeline.studies.bench.ingestion import ingestion_sentences, ingestion_table

        print_report(report.machine, ingestion_table(report), ingestion_sentences(report))
    return exit_status.OK
