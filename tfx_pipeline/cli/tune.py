"""`dmf tune`."""

from __future__ import annotations

import argparse

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import comma_separated, count, positive
from tfx_pipeline.cli.options import Commands, add_config, add_overrides, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "tune",
        help="search for the best hyper-parameters on the eval split",
        description="Tries what `tuning.space` of the configuration says, on the eval split alone. The same command "
        "goes on where a search was stopped: finished trials are not trained again.",
    )
    add_config(parser)
    parser.add_argument(
        "--models",
        type=comma_separated,
        metavar="A,B",
        help="each with the same budget; MODEL@MODALITY+MODALITY gives it these alone; default: that of the "
        "configuration",
    )
    parser.add_argument("--trials", type=count, metavar="N", help="per model; default: tuning.trials")
    parser.add_argument("--seconds", type=positive, metavar="S", help="per model; no trial begins later")
    add_overrides(parser)
    parser.set_defaults(command=run, resumes=True)


def run(parsed: argparse.Namespace) -> int:
    """Searches, prints and writes what was found; returns the exit status."""
    from tfx_pipeline.studies.tune import tune

    tune(configuration(parsed), models=parsed.models, trials=parsed.trials, seconds=parsed.seconds)
    return exit_status.OK
