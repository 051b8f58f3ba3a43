"""`dmf submit`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.options import Commands


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser("submit", help="start a run of a compiled pipeline on a Kubeflow cluster")
    parser.add_argument("pipeline", type=Path, metavar="FILE", help="YAML that `dmf compile` wrote")
    parser.add_argument("--host", required=True, metavar="URL", help="of Kubeflow Pipelines' API")
    parser.add_argument(
        "--parameter",
        type=_parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the run, in place of its default; may be repeated",
    )
    parser.add_argument("--name", metavar="NAME", help="of the run")
    parser.add_argument("--experiment", metavar="NAME")
    parser.add_argument("--namespace", metavar="NAME")
    parser.add_argument("--service-account", metavar="NAME")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds a bearer token for the API")
    parser.add_argument("--no-cache", action="store_true", help="run every step, whatever the cluster's cache has")
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Starts the run and says where it is seen; returns the exit status."""
    from tfx_pipeline.console import console, quiet_libraries
    from tfx_pipeline.runners.kubeflow.submit import submit

    token = None if parsed.token_file is None else parsed.token_file.read_text(encoding="utf-8").strip()
    with quiet_libraries(Path(os.devnull)), console().status(f"asking {parsed.host}"):
        submitted = submit(
            parsed.pipeline,
            parsed.host,
            parameters=dict(parsed.parameter),
            run_name=parsed.name,
            experiment=parsed.experiment,
            namespace=parsed.namespace,
            service_account=parsed.service_account,
            token=token,
            cache=not parsed.no_cache,
        )
    console().print(f"run {submitted.run_id}: {submitted.url}", highlight=False, soft_wrap=True)
    return exit_status.OK


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE as in seed=7, got {text!r}")
    return name, value
