"""`dmf serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfx_pipeline.cli import exit_status
from tfx_pipeline.cli.arguments import count, label, port, positive
from tfx_pipeline.cli.options import Commands


def add(commands: Commands) -> None:
    """Adds it to the sub-parsers `commands`."""
    parser = commands.add_parser(
        "serve", help="serve a folder of exported versions over gRPC and REST, for development"
    )
    parser.add_argument(
        "base_dir",
        type=Path,
        metavar="MODEL_BASE_DIR",
        help="the folder of numbered versions; of one on an object store the newest is fetched, once",
    )
    parser.add_argument("--name", help="of the model; default: that of its warm-up requests, or the folder's")
    parser.add_argument("--host", help="address to listen at; default: 127.0.0.1; tensorflow-serving takes every one")
    parser.add_argument("--port", type=port, default=8500, help="of gRPC; 0 takes a free one; default: 8500")
    parser.add_argument("--rest-port", type=port, metavar="PORT", help="of REST; 0 takes a free one; default: no REST")
    parser.add_argument(
        "--engine",
        choices=("local", "tensorflow-serving"),
        default="local",
        help="'tensorflow-serving' starts tensorflow_model_server from PATH or $TENSORFLOW_MODEL_SERVER",
    )
    parser.add_argument(
        "--versions", default="latest", metavar="WHICH", help="latest, latest:N, all, or numbers; default: latest"
    )
    parser.add_argument(
        "--label", action="append", type=label, default=[], metavar="NAME=VERSION", help="may be repeated"
    )
    parser.add_argument(
        "--batch", action="store_true", help="run concurrent calls together, padded as TensorFlow Serving does"
    )
    parser.add_argument(
        "--max-concurrent",
        type=count,
        metavar="N",
        help="calls that may run and wait; more are refused; default: 256, of tensorflow-serving 1024",
    )
    parser.add_argument(
        "--max-message-bytes",
        type=count,
        metavar="BYTES",
        help="largest request; default: 2 GB; tensorflow-serving has no other",
    )
    parser.add_argument(
        "--poll-seconds",
        type=positive,
        default=1.0,
        metavar="S",
        help="how often to look for versions; default: 1",
    )
    parser.set_defaults(command=run)


def run(parsed: argparse.Namespace) -> int:
    """Serves until it is told to stop; returns the exit status."""
    from tfx_pipeline.console import console
    from tfx_pipeline.files.mirror import mirrored
    from tfx_pipeline.files.stored_versions import bring_versions
    from tfx_pipeline.trained.serve import ServeOptions, serve

    base_dir = mirrored(parsed.base_dir)
    bring_versions(base_dir)
    options = ServeOptions(
        base_dir,
        name=parsed.name,
        host=parsed.host,
        port=parsed.port,
        rest_port=parsed.rest_port,
        engine=parsed.engine,
        versions=parsed.versions,
        labels=dict(parsed.label),
        batch=parsed.batch,
        max_concurrent=parsed.max_concurrent,
        max_message_bytes=parsed.max_message_bytes,
        poll_seconds=parsed.poll_seconds,
    )
    try:
        serve(options)
    except KeyboardInterrupt:
        console().print("stopped at once", highlight=False, soft_wrap=True)
        return exit_status.INTERRUPTED
    return exit_status.OK
