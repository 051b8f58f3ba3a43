"""`dmf demo`."""

from __future__ import annotations

import argparse

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import output_file
from tfx_pipeline.cli.options import Commands, add_config, add_overrides, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "demo", help="write synthetic logs, run the pipeline on them, serve the model, rank for one user"
    )
    add_config(parser)
    parser.add_argument("--summary-json", type=output_file, metavar="FILE", help="also write the summary to FILE")
    add_overrides(parser)
    parser.set_defaults(command=run, resumes=True)


def run(parsed: argparse.Namespace) -> int:
    """Runs the demo; returns the exit status."""
    from tfx_pipeline.console import console
    from tfx_pipeline.studies.worlds.demo import demo, print_answer

    result = demo(configuration(parsed), summary_json=parsed.summary_json)
    if result.answer is None:
        return exit_status.NOT_PUSHED
    print_answer(result.answer, console())
    return exit_status.OK
