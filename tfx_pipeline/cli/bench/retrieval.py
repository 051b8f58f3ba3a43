"""`dmf bench retrieval`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, different_counts, positive
from tfx_pipeline.cli.bench.measuring import measured, print_report
from tfx_pipeline.cli.options import Commands, add_json
from tfx_pipeline.cli.output import print_json
from tfx_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from tfx_pipeline.studies.bench.retrieval import RetrievalReport


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands` of `dmf bench`."""
    parser = commands.add_parser(
        "retrieval",
        help="latency, memory and size of retrieval over synthetic catalogues",
        description="DMF with a two-tower stage, exported with random weights for each size of the catalogue: "
        "retrieve, recommend, and rank of as many candidates, over gRPC and in process. Answers are first compared "
        "with those of NumPy. All sizes are served at the same time, each twice in its process: there must be memory "
        "for that.",
    )
    parser.add_argument(
        "--items",
        type=different_counts,
        default=[100_000, 1_000_000],
        metavar="I,I",
        help="sizes of the catalogue; default: 100000,1000000",
    )
    parser.add_argument("--k", type=count, default=500, help="items that are retrieved, and ranked; default: 500")
    parser.add_argument(
        "--history",
        type=count,
        default=100,
        metavar="L",
        help="items of a request's history, which are excluded from the answer; default: 100",
    )
    parser.add_argument(
        "--seconds", type=positive, default=60.0, metavar="S", help="how long to measure in all; default: 60"
    )
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="also make an approximate index of each catalogue, and measure it beside the exact search; of 1,000,000 "
        "items that takes tens of minutes on two cores",
    )
    add_json(parser, instead_of="a table")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Measures and prints the report; returns the exit status.

    Raises:
        ConfigError: a catalogue that cannot answer.
        ModelError: no server, or answers that must be equal and are not.
    """
    smallest = min(parsed.items)
    # Before the minutes of measuring.
    if parsed.k + parsed.history > smallest:
        raise ConfigError(
            f"--items {smallest}: expected at least --k and --history together, {parsed.k} + {parsed.history}: a "
            "history is excluded from its answer"
        )

    def measure() -> RetrievalReport:
        from tfx_pipeline.studies.bench.retrieval import bench_retrieval

        return bench_retrieval(
            parsed.items,
            k=parsed.k,
            history=parsed.history,
            seconds=parsed.seconds,
            approximate=parsed.approximate,
        )

    report = measured(measure)
    if parsed.json:
        print_json(report.to_json())
    else:
        from tfx_pipeline.studies.bench.retrieval import retrieval_summary, retrieval_table

        print_report(report.machine, retrieval_table(report), retrieval_summary(report))
    return exit_status.OK
