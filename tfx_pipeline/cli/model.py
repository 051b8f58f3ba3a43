"""`dmf model inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.options import VERSION, Commands, add_group, add_json
from tfx_pipeline.cli.output import print_json
from tfx_pipeline.console import Console


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    group = add_group(commands, "model", "look at an exported model")
    inspect = group.add_parser("inspect", help="signatures, sizes, metrics, training data and versions of a model")
    inspect.add_argument("model", type=Path, metavar="DIR", help=VERSION)
    inspect.add_argument(
        "--verify", action="store_true", help="compare the files with those that were pushed, by checksum"
    )
    add_json(inspect, instead_of="tables")
    inspect.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Prints what lies beside an exported model; returns the exit status."""
    from tfx_pipeline.trained.inspection import inspect_model, print_model
    from tfx_pipeline.trained.version import Version

    version = Version.find(parsed.model)
    if parsed.verify:
        version.verify()
    found = inspect_model(version)
    if parsed.json:
        print_json(found.to_json())
    else:
        print_model(found, Console())
    return exit_status.OK
