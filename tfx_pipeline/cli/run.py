"""`dmf run`."""

from __future__ import annotations

import argparse
import os

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import output_file
from tfx_pipeline.cli.options import Commands, add_config, add_overrides, configuration


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser("run", help="run the pipeline of a configuration")
    add_config(parser)
    parser.add_argument("--summary-json", type=output_file, metavar="FILE", help="also write the summary to FILE")
    parser.add_argument(
        "--no-cache",
        metavar="STEPS",
        default="",
        help="comma-separated steps to run even if nothing changed, or 'all'",
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare what earlier steps left by checksum, and not only by size"
    )
    parser.add_argument(
        "--rebuild-metadata",
        action="store_true",
        help="set the store of earlier runs and their artifacts aside, and run every step anew",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="look at the data as 'config check --data' does, say which steps would run, and write nothing; status 1 "
        "when the data is refused",
    )
    add_overrides(parser)
    parser.set_defaults(command=run, resumes=True)


def run(parsed: argparse.Namespace) -> int:
    """Runs the pipeline, or says what that would do; returns the exit status."""
    from tfx_pipeline.console import console
    from tfx_pipeline.errors import ConfigError
    from tfx_pipeline.runners.run import dry_run
    from tfx_pipeline.runners.run import run as run_pipeline
    from tfx_pipeline.training.workers.cluster import Cluster

    if parsed.dry_run and parsed.summary_json is not None:
        raise ConfigError("--summary-json: --dry-run runs nothing that a summary could tell of; leave out one of them")
    config = configuration(parsed)
    cluster = Cluster.from_environment()
    if cluster is not None and not parsed.dry_run:
        cluster.check_role(chief=True)
        # The process that trains with the others needs the GPU that this one sees too.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        console().print(f"{cluster}: RankingTrainer trains with all of them, every other step is of this process alone")
    uncached = [step.strip() for step in parsed.no_cache.split(",") if step.strip()]
    if parsed.dry_run:
        dry_run(config, uncached=uncached, verify=parsed.verify, rebuild_metadata=parsed.rebuild_metadata)
        return exit_status.OK
    summary = run_pipeline(
        config,
        uncached=uncached,
        verify=parsed.verify,
        rebuild_metadata=parsed.rebuild_metadata,
        summary_json=parsed.summary_json,
    )
    return exit_status.OK if summary.pushed else exit_status.NOT_PUSHED
