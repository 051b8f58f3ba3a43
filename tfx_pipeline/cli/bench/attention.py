"""`dmf bench attention`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, positive
from tfx_pipeline.cli.bench.measuring import measured, print_report
from tfx_pipeline.cli.options import Commands, add_json
from tfx_pipeline.cli.output import print_json

if TYPE_CHECKING:
    from tfx_pipeline.studies.bench.attention import AttentionReport


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands` of `dmf bench`."""
    parser = commands.add_parser(
        "attention", help="factored attention and DMF against textbook form, early fusion and ID-only"
    )
    parser.add_argument("--history", type=count, nargs="+", default=[100, 500], metavar="L", help="default: 100 500")
    parser.add_argument("--candidates", type=count, default=1200, metavar="N", help="default: 1200")
    parser.add_argument("--id-dim", type=count, default=64, metavar="D", help="width of item embeddings; default: 64")
    parser.add_argument(
        "--similarity-dim",
        type=count,
        default=64,
        metavar="E",
        help="width of what early fusion adds; default: 64",
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=30.0,
        metavar="S",
        help="how long to measure per length of history; default: 30",
    )
    parser.add_argument(
        "--operations", action="store_true", help="also what the factored form consists of, each operation alone"
    )
    add_json(parser, instead_of="a table")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Measures and prints the report; returns the exit status."""

    def measure() -> AttentionReport:
        from tfx_pipeline.studies.bench.attention import bench_attention

        return bench_attention(
            parsed.history,
            candidates=parsed.candidates,
            id_dim=parsed.id_dim,
            similarity_dim=parsed.similarity_dim,
            seconds=parsed.seconds,
            operations=parsed.operations,
        )

    report = measured(measure)
    if parsed.json:
        print_json(report.to_json())
    else:
        from tfx_pipeline.console import console_on
        from tfx_pipeline.studies.bench.attention import attention_summary, attention_table, operations_table

        for result in report.results if parsed.operations else ():
            console_on(sys.stdout).print(operations_table(result))
        print_report(report.machine, attention_table(report), attention_summary(report))
    return exit_status.OK
