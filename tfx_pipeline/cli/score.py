"""`dmf score`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, output_file
from tfx_pipeline.cli.options import Commands, add_json, add_model
from tfx_pipeline.cli.output import print_json
from tfx_pipeline.console import Console


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser("score", help="score every request of a log with an exported model")
    parser.add_argument(
        "log", type=Path, metavar="LOG", help="a file, a folder or a glob, written as the log of the model's training"
    )
    add_model(parser)
    parser.add_argument(
        "-o", "--output", type=output_file, required=True, metavar="FILE", help="Parquet, a row for each row of the log"
    )
    parser.add_argument(
        "--batch", type=count, default=256, metavar="N", help="requests that the model is asked at once; default: 256"
    )
    add_json(parser, instead_of="a table")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Scores a log and prints what became of it; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries
    from tfx_pipeline.trained.version import Version

    version = Version.find(parsed.model)
    with quiet_libraries(Path("/dev/null")):
        with console().status("loading libraries"):
            from tfx_pipeline.trained.score.report import print_report, progress_line
            from tfx_pipeline.trained.score.score import score
        with progress_line() as watch:
            report = score(version, parsed.log, parsed.output, watch, batch=parsed.batch)
    if parsed.json:
        print_json(report.to_json())
    else:
        print_report(report, Console())
    return exit_status.OK
