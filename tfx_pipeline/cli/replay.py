"""`dmf replay`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import positive
from tfx_pipeline.cli.options import Commands, add_json, add_model, add_run
from tfx_pipeline.cli.output import print_json
from tfx_pipeline.console import Console


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "replay",
        help="score captured requests again in Keras and through the exported model; exit status 1 if they differ",
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="TFRecords of PredictionLog, or JSON lines (.jsonl); default: the model's warm-up requests",
    )
    add_model(parser)
    add_run(parser)
    parser.add_argument(
        "--tolerance",
        type=positive,
        metavar="X",
        help="allowed difference; default: 0.0001, of a model that is served in bfloat16 0.02",
    )
    add_json(parser, instead_of="tables")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Replays requests and prints how they compare; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries
    from tfx_pipeline.trained.replay.view import print_replay
    from tfx_pipeline.trained.version import Version

    version = Version.find(parsed.model)
    with quiet_libraries(Path("/dev/null")), console().status("replaying requests"):
        from tfx_pipeline.trained.replay.replay import replay

        report = replay(version, parsed.file, run=parsed.run, tolerance=parsed.tolerance)
    if parsed.json:
        print_json(report.to_json())
    else:
        print_replay(report, Console())
    return exit_status.OK if report.equal else exit_status.DIFFERENT
