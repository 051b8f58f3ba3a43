"""`dmf worker`."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, positive
from tfx_pipeline.cli.options import Commands

_WAIT_SECONDS = 6 * 3600.0


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "worker",
        help="take part in the training of a 'dmf run' elsewhere, as TF_CONFIG says",
        description="One of several workers that train a model together. TF_CONFIG names all of them and says which "
        "one this is; the first is the chief, where `dmf run` is started. Waits for the chief's training, takes part, "
        "ends. Reads the chief's output folder under the same path, and writes nothing there.",
    )
    parser.add_argument(
        "--trainings",
        type=count,
        default=1,
        metavar="N",
        help="how many trainings to take part in, one after the other; 2 with training.refit; default: 1",
    )
    parser.add_argument(
        "--wait",
        type=positive,
        default=_WAIT_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait for each training to begin; default: {_WAIT_SECONDS:g}",
    )
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Takes part; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries
    from tfx_pipeline.errors import ConfigError, PipelineError
    from tfx_pipeline.files.output_folder import set_up_libraries
    from tfx_pipeline.training.workers.cluster import VARIABLE, Cluster
    from tfx_pipeline.training.workers.launch import work

    cluster = Cluster.from_environment()
    if cluster is None:
        raise ConfigError(f"{VARIABLE} names no second worker, which `dmf worker` would be; see docs/SCALE.md")
    cluster.check_role(chief=False)
    set_up_libraries()
    descriptor, log = tempfile.mkstemp(prefix="dmf-worker-", suffix=".log")
    os.close(descriptor)
    console().print(f"{cluster}: waits for the chief at {cluster.addresses[0]}; log: {log}", soft_wrap=True)
    try:
        with quiet_libraries(Path(log)):
            work(cluster, parsed.trainings, parsed.wait)
    except PipelineError as error:
        raise type(error)(f"{error}\nlog: {log}") from error
    return exit_status.OK
